import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { examine, exitCodeOf, type Finding, type NodeFacts } from '../../../src/commands/doctor-checks.ts';
import { otherRuntimes } from '../../../src/commands/other-runtimes.ts';

const runtime = { handler: 'crun', path: '/usr/bin/crun', installed: true, version: 'crun version 1.30', escapes: [] };
const healthy: NodeFacts = {
  kernel: { version: [6, 1], release: '6.1.0' },
  fileSystems: ['proc', 'overlay'],
  cgroups: 'v2',
  controllers: ['cpu', 'memory', 'pids', 'io'],
  cgroupDriver: 'systemd',
  isSystemds: true,
  disk: { path: '/var/lib/berth', type: 'ext4', bytes: { free: 50, all: 100 }, inodes: { free: 50, all: 100 } },
  defaultHandler: 'crun',
  ociRuntimes: [runtime],
  networks: { folder: '/etc/cni/net.d', names: ['net'], problems: [], missing: [], binDirs: ['/opt/cni/bin'] },
  clock: { isSynchronised: true, now: 1e12, programMade: 1e12 },
  leftovers: [],
  quarantined: [],
  others: [],
  daemon: { socket: '/run/berth/berth.sock', problem: null },
};
const { clock, disk, networks } = healthy;

const notWell = (facts: Partial<NodeFacts>): Finding[] =>
  examine({ ...healthy, ...facts }).filter(({ grade }) => grade !== 'well');

describe('berth doctor', () => {
  test('has nothing to say of a node that is well, and says what it looked at', () => {
    assert.deepEqual(notWell({}), []);
    const findings = examine(healthy);
    assert.equal(exitCodeOf(findings), 0);
    assert.equal(new Set(findings.map(({ check }) => check)).size, 12);
  });

  const cases: [what: string, facts: Partial<NodeFacts>, check: string, grade: string, problem: RegExp][] = [
    ['an old kernel', { kernel: { version: [5, 4], release: '5.4' } }, 'kernel', 'unfit', /openat2/],
    ['a kernel of 5.10', { kernel: { version: [5, 10], release: '5.10' } }, 'kernel', 'warning', /recursive/],
    ['a kernel of 5.15', { kernel: { version: [5, 15], release: '5.15' } }, 'kernel', 'warning', /user namespaces/],
    ['no overlayfs', { fileSystems: ['proc'] }, 'overlayfs', 'unfit', /no root/],
    ['cgroups behind the back of systemd', { cgroupDriver: 'cgroupfs' }, 'cgroups', 'warning', /systemd is not told/],
    ['a controller is missing', { controllers: ['cpu', 'pids'] }, 'cgroups', 'warning', /no controller memory$/],
    ['overlayfs on overlayfs', { disk: { ...disk, type: 'overlay' } }, 'file system', 'unfit', /cannot carry/],
    ['little space', { disk: { ...disk, bytes: { free: 14, all: 100 } } }, 'space', 'warning', /nearly full/],
    ['no inodes', { disk: { ...disk, inodes: { free: 0, all: 100 } } }, 'space', 'unfit', /full/],
    ['no default runtime', { ociRuntimes: [{ ...runtime, installed: false }] }, 'OCI runtimes', 'unfit', /no such/],
    [
      'no other runtime',
      { ociRuntimes: [{ ...runtime, handler: 'x', version: '' }] },
      'OCI runtimes',
      'warning',
      /say/,
    ],
    ['known escapes', { ociRuntimes: [{ ...runtime, escapes: ['CVE-1: x'] }] }, 'OCI runtimes', 'warning', /CVE-1/],
    ['no network', { networks: { ...networks, names: [], problems: ['none'] } }, 'networks', 'unfit', /none/],
    ['a broken conflist', { networks: { ...networks, problems: ['9.conf: bad'] } }, 'networks', 'warning', /9\.conf/],
    ['no plugin', { networks: { ...networks, missing: ['bridge'] } }, 'networks', 'unfit', /none of \/opt\/cni\/bin/],
    ['a clock that runs free', { clock: { ...clock, isSynchronised: false } }, 'clock', 'warning', /right time/],
    ['a clock nobody knows', { clock: { ...clock, isSynchronised: null } }, 'clock', 'warning', /right time/],
    ['a clock of 1970', { clock: { ...clock, now: 0 } }, 'clock', 'unfit', /made later/],
    ['a leftover', { leftovers: [{ what: 'the cgroup', path: '/x' }] }, 'leftovers', 'warning', /no record/],
    ['a wrong record', { quarantined: ['/x.json'] }, 'records', 'warning', /could not be read/],
    [
      'pods of containerd',
      { others: [{ runtime: 'containerd', socket: '/c.sock', keepers: 2 }] },
      'other runtimes',
      'warning',
      /go on/,
    ],
    ['no daemon', { daemon: { socket: '/s', problem: 'gone' } }, 'daemon', 'warning', /gone/],
  ];
  for (const [what, facts, check, grade, problem] of cases) {
    test(`${what}: ${grade}, with what to do`, () => {
      const [found, ...more] = notWell(facts);
      assert.deepEqual(more, []);
      assert.deepEqual({ check: found?.check, grade: found?.grade }, { check, grade });
      assert.match(found!.problem, problem);
      assert.notEqual(found!.todo, '');
      assert.equal(exitCodeOf(examine({ ...healthy, ...facts })), grade === 'unfit' ? 2 : 1);
    });
  }

  test('a daemon that does not answer is started anew, whether it runs or not', () => {
    const [finding] = notWell({ daemon: { socket: '/s', problem: 'late' } });
    assert.match(finding!.todo, /^systemctl restart berth, which starts it too/);
  });

  test('a disk without a number of inodes is not judged by them', () => {
    assert.deepEqual(notWell({ disk: { ...disk, inodes: { free: 0, all: 0 } } }), []);
  });
});

test('shims of Kubernetes are told from those of others', () => {
  const commands = [
    '/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id 01 -address /run/containerd/containerd.sock ',
    '/usr/bin/containerd-shim-runc-v2 -namespace moby -id 02 -address /run/containerd/containerd.sock ',
    '/usr/bin/conmon -b /run/containers/x -c 03 --exit-dir /var/run/crio/exits -l /var/log/pods/y ',
    '/usr/bin/conmon --api-version 1 -c 04 --exit-dir /run/libpod/exits ',
    'vi containerd-shim -namespace k8s.io ',
  ];
  assert.deepEqual(
    otherRuntimes(commands).map(({ runtime, keepers }) => [runtime, keepers]),
    [
      ['containerd', 1],
      ['CRI-O', 1],
    ],
  );
  assert.deepEqual(otherRuntimes(['node x ', ' ']), []);
});
