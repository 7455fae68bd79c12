// config.json as real OCI runtimes read it: the same specs run with crun and with runc.
import assert from 'node:assert/strict';
import { chmodSync, cpSync, linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { gatherSpecInputs } from '../../src/lifecycle/container/inputs.ts';
import { resolveMounts } from '../../src/lifecycle/container/mounts.ts';
import { buildSpec, type OciSeccomp, type SpecInput } from '../../src/oci/index.ts';
import { Looker } from '../../src/shim/index.ts';
import { removeCgroup } from '../../src/sys/cgroups.ts';
import { gatherHostFacts } from '../../src/sys/host.ts';
import { bindMount, mountTmpfs, unmount } from '../../src/sys/mounts.ts';
import { patienceMs } from '../harness/look.ts';
import { ensureProbe } from '../harness/oci-probe.ts';
import { hostName, ownHost } from '../harness/own-host.ts';
import { setPropagation } from '../harness/propagation.ts';
import { ensureBusybox } from '../images/busybox.ts';
import { program, run } from '../images/run.ts';
import { hostNamespaces, mount, podNamespaces, specInput } from '../unit/oci/inputs.ts';

await ownHost(() => Promise.all([ensureBusybox(), ensureProbe()]));

const runtimes = [program('crun', 'crun'), program('runc', 'runc')];
const host = gatherHostFacts();
const applets = 'sh cat echo id grep ls touch hostname stat env pwd awk sort sleep test readlink'.split(' ');
const cgroupParent = `/bt${hostName}x-oci`;
let folder = '';
let serial = 0;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-oci-'));
  chmodSync(folder, 0o711); // the root of a user namespace has to pass through
  const rootfs = join(folder, 'rootfs');
  for (const name of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'run'])
    mkdirSync(join(rootfs, name), { recursive: true });
  cpSync(await ensureBusybox(), join(rootfs, 'bin/busybox'));
  for (const name of applets) linkSync(join(rootfs, 'bin/busybox'), join(rootfs, 'bin', name));
  writeFileSync(join(rootfs, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n');
  writeFileSync(join(rootfs, 'etc/group'), 'root:x:0:\nextra:x:50000:app\n');
  for (const name of ['hosts', 'hostname', 'resolv.conf']) {
    writeFileSync(join(folder, name), `${name} of the pod\n`);
    writeFileSync(join(rootfs, 'etc', name), ''); // a user namespace's root cannot make it here
  }
  mkdirSync(join(folder, 'shm'));
  cpSync(await ensureProbe(), join(rootfs, 'bin/probe'));
});

after(async () => {
  await removeCgroup(cgroupParent);
  rmSync(folder, { recursive: true, force: true });
});

type Changes = Parameters<typeof specInput>[0];

/** Runs a script with this machine's facts and new namespaces; resolves to what it printed. */
async function runSpec(runtime: string, script: string, changes: Changes = {}): Promise<string> {
  const id = `bt${hostName}x-oci-${serial++}`;
  const { host: changedHost, container, ...rest } = changes ?? {};
  const request: SpecInput = specInput({
    host: { ...host, ...changedHost },
    rootfs: join(folder, 'rootfs'),
    namespacePaths: { network: '', ipc: '', uts: '', pid: '' },
    cgroupsPath: `${cgroupParent}/${id}`,
    files: {
      hosts: join(folder, 'hosts'),
      hostname: join(folder, 'hostname'),
      resolvConf: join(folder, 'resolv.conf'),
      shm: join(folder, 'shm'),
    },
    container: { command: ['/bin/sh', '-c', script], ...container },
    ...rest,
  });
  using looker = new Looker(patienceMs);
  const resolved = await resolveMounts(looker, request.container.mounts, { refuseMissing: false });
  const mounts = resolved.map((each) => ({ ...each, source: each.hostPath }));
  const input = await gatherSpecInputs(looker, {
    ...request,
    mounts,
    hostDevicesIfPrivileged: true,
    devicesOfUser: false,
    cdiDirs: [],
  });
  const bundle = join(folder, id);
  mkdirSync(bundle);
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(buildSpec(input)));
  try {
    return await run(runtime, ['--root', join(folder, 'state'), 'run', '--bundle', bundle, id], { timeoutMs: 60_000 });
  } finally {
    rmSync(bundle, { recursive: true });
  }
}

/** `a 1\nb 2` as { a: '1', b: '2' }. */
const table = (text: string): Record<string, string> =>
  Object.fromEntries(
    text
      .trim()
      .split('\n')
      .map((line) => line.split(/:?\s+(.*)/s).slice(0, 2)),
  );

const mask = (names: readonly string[], all: readonly string[]) =>
  names
    .reduce((sum, name) => sum | (1n << BigInt(all.indexOf(name))), 0n)
    .toString(16)
    .padStart(16, '0');

for (const runtime of runtimes) {
  const name = runtime.slice(runtime.lastIndexOf('/') + 1);

  test(`${name}: a plain container`, async () => {
    const script = 'id; pwd; env | grep -v SHLVL | sort; hostname; cat /etc/hosts /etc/resolv.conf';
    const output = await runSpec(runtime, script, { container: { workingDir: '/tmp' } });
    assert.equal(
      output,
      'uid=0(root) gid=0(root) groups=0(root)\n/tmp\nFLAVOR=plain\nHOME=/root\nHOSTNAME=web\nPATH=/bin\nPWD=/tmp\nweb\nhosts of the pod\nresolv.conf of the pod\n',
    );
  });

  test(`${name}: a user of the image's files, with groups`, async () => {
    const output = await runSpec(runtime, 'id -u; id -G; cat /proc/self/status', {
      image: { user: 'app' },
      security: { supplementalGroups: [7] },
    });
    assert.match(output, /^1000\n1001 7 50000\n/);
    assert.match(output, /^CapEff:\t0+$/m);
  });

  test(`${name}: capabilities, no_new_privs and seccomp of the kernel's own record`, async () => {
    const { capabilityNames, defaultCapabilities } = await import('../../src/oci/index.ts');
    const status = (changes: Changes) => runSpec(runtime, 'cat /proc/self/status', changes).then(table);
    const plain = await status({ security: { noNewPrivs: true, seccomp: { type: 'runtimeDefault' } } });
    const expected = mask(defaultCapabilities, capabilityNames);
    assert.deepEqual([plain.CapPrm, plain.CapEff, plain.CapBnd], [expected, expected, expected]);
    assert.deepEqual([plain.CapInh, plain.CapAmb], ['0000000000000000', '0000000000000000']);
    assert.deepEqual([plain.NoNewPrivs, plain.Seccomp], ['1', '2']);
    const privileged = await status({ security: { privileged: true, seccomp: { type: 'runtimeDefault' } } });
    assert.equal(privileged.CapBnd, mask(host.capabilities, capabilityNames));
    assert.deepEqual([privileged.NoNewPrivs, privileged.Seccomp], ['0', '0']);
    const ambient = await status({
      security: { runAsUser: 1000, capabilities: { add: [], drop: ['ALL'], addAmbient: ['NET_ADMIN'] } },
    });
    assert.equal(ambient.CapEff, mask(['CAP_NET_ADMIN'], capabilityNames));
  });

  test(`${name}: masked, read-only and privileged paths`, async () => {
    const script =
      'cat /proc/keys; ls -A /sys/firmware; (echo 1 > /proc/sys/vm/overcommit_memory) 2>&1; touch /sys/x /x 2>&1; echo done';
    const output = await runSpec(runtime, script, { security: { readonlyRootfs: true } });
    assert.match(
      output,
      /^[^\n]*overcommit_memory: Read-only file system\ntouch: \/sys\/x: Read-only.*\ntouch: \/x: Read-only.*\ndone\n$/,
    );
    const open = await runSpec(
      runtime,
      'grep -c . /proc/mounts; grep -E " /(sys|sys/fs/cgroup/memory|proc/keys|proc/kcore) " /proc/mounts; ls /dev',
      {
        security: { privileged: true },
      },
    );
    assert.match(open, / \/sys sysfs rw,/);
    assert.doesNotMatch(open, /\/proc\/k/);
    assert.match(open, /^kmsg$/m);
  });

  test(`${name}: limits`, async () => {
    const v1 = host.cgroupMode !== 'v2';
    const files = v1
      ? ['memory/memory.limit_in_bytes', 'cpu/cpu.cfs_quota_us', 'cpu/cpu.shares', 'cpuset/cpuset.cpus']
      : ['memory.max', 'cpu.max', 'cpu.weight', 'cpuset.cpus'];
    const script = `${files.map((file) => `cat /sys/fs/cgroup/${file}`).join('; ')}; cat /proc/self/oom_score_adj`;
    const output = await runSpec(runtime, script, {
      resources: {
        memoryLimit: 64 << 20,
        cpuQuota: 50_000,
        cpuPeriod: 100_000,
        cpuShares: 512,
        cpusetCpus: '0',
        oomScoreAdj: 500,
      },
    });
    const expected = v1 ? ['67108864', '50000', '512', '0', '500'] : ['67108864', '50000 100000', '20', '0', '500'];
    assert.deepEqual(output.trim().split('\n'), expected);
  });

  test(`${name}: mounts of every kind`, async () => {
    const source = join(folder, `source-${name}`);
    for (const inner of ['inner', 'child', 'sub']) mkdirSync(join(source, inner), { recursive: true });
    symlinkSync(source, join(folder, `link-${name}`));
    await bindMount(source, source);
    await setPropagation(source, 'shared');
    await mountTmpfs(join(source, 'sub'), { size: 1 << 20, mode: 0o755 });
    try {
      const paths = '/parent /parent/child /parent/sub /slave /shared /sealed /sealed/sub /made'.split(' ');
      const script = `for p in ${paths.join(' ')}; do (touch $p/t && echo $p rw || echo $p ro) 2>/dev/null; done; grep -E ' /(slave|shared|parent) ' /proc/self/mountinfo`;
      const output = await runSpec(runtime, script, {
        container: {
          mounts: [
            { ...mount, containerPath: '/parent/child', hostPath: join(source, 'inner') },
            { ...mount, containerPath: '/parent', hostPath: join(folder, `link-${name}`), readonly: true },
            { ...mount, containerPath: '/slave', hostPath: source, propagation: 'hostToContainer' },
            { ...mount, containerPath: '/shared', hostPath: source, propagation: 'bidirectional' },
            { ...mount, containerPath: '/sealed', hostPath: source, readonly: true, recursiveReadOnly: true },
            { ...mount, containerPath: '/made', hostPath: join(folder, `not-there-${name}`) },
          ],
        },
      });
      assert.match(
        output,
        /^\/parent ro\n\/parent\/child rw\n\/parent\/sub rw\n\/slave rw\n\/shared rw\n\/sealed ro\n\/sealed\/sub ro\n\/made rw\n/,
      );
      assert.match(output, / \/slave [^-]*master:/);
      assert.match(output, / \/shared [^-]*shared:/);
      const peers = / \/shared [^-]*(shared:\d+)/.exec(output)![1]!;
      assert.doesNotMatch(output, new RegExp(` /parent [^-]*(master|${peers} )`));
    } finally {
      await unmount(join(source, 'sub'));
      await unmount(source);
    }
  });

  test(`${name}: propagation that the source does not have is refused with the way out`, async () => {
    const source = join(folder, `private-${name}`);
    mkdirSync(source);
    await bindMount(source, source);
    await setPropagation(source, 'private');
    try {
      const asked = (propagation: 'bidirectional' | 'hostToContainer') =>
        runSpec(runtime, 'true', { container: { mounts: [{ ...mount, hostPath: source, propagation }] } });
      await assert.rejects(asked('bidirectional'), {
        kind: 'FailedPrecondition',
        message: /not a shared mount.*make-rshared/,
      });
      await assert.rejects(asked('hostToContainer'), {
        kind: 'FailedPrecondition',
        message: /not a shared or slave mount/,
      });
    } finally {
      await unmount(source);
    }
  });

  test(`${name}: the default seccomp profile stops what it should and nothing else`, async () => {
    const EPERM = '1';
    const probe = (
      security: Changes extends infer C ? (NonNullable<C> extends { security?: infer S } ? S : never) : never,
    ) => runSpec(runtime, 'probe', { security }).then(table);
    const filtered = await probe({ seccomp: { type: 'runtimeDefault' } });
    const open = await probe({ seccomp: null });
    const blocked = [
      ...['socket-alg', 'socket-vsock', 'keyctl', 'add_key', 'userfaultfd', 'io_uring_setup', 'bpf', 'perf_event_open'],
      ...['kexec_load', 'mount', 'open_tree', 'unshare-user', 'personality-fixed-layout', 'clone-user', 'clone-cgroup'],
    ];
    for (const call of blocked) assert.equal(filtered[call], EPERM, call);
    assert.equal(filtered.clone3, '38');
    if (process.arch === 'x64') assert.equal(filtered['socketcall-alg'], '38', 'the 32-bit way to AF_ALG');
    const untouched = [
      'socket-unix',
      'socket-inet',
      'socket-netlink',
      'socket-nfc',
      'socket-bluetooth',
      'clone',
      'personality-query',
    ];
    for (const call of untouched) assert.equal(filtered[call], open[call], call);
    const admin = await probe({
      seccomp: { type: 'runtimeDefault' },
      capabilities: { add: ['SYS_ADMIN'], drop: [], addAmbient: [] },
    });
    const ENOENT = '2'; // the probe names no real target
    assert.deepEqual([admin.mount, admin['clone-user'], admin['unshare-user']], [ENOENT, '0', '0']);
  });

  test(`${name}: a localhost seccomp profile`, async () => {
    const profile: OciSeccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['getuid', 'getuid32'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 }],
    };
    const path = join(folder, `profile-${name}.json`);
    writeFileSync(path, JSON.stringify(profile));
    const output = await runSpec(runtime, 'id -u; echo after', {
      security: { seccomp: { type: 'localhost', ref: `localhost/${path}` } },
    });
    assert.equal(output, '4294967283\nafter\n'); // -EACCES
    await assert.rejects(
      runSpec(runtime, 'true', { security: { seccomp: { type: 'localhost', ref: `${path}.not` } } }),
      {
        kind: 'FailedPrecondition',
        message: /does not exist/,
      },
    );
  });

  test(`${name}: devices by node and by directory`, async () => {
    const devices = [
      { hostPath: '/dev/kmsg', containerPath: '/dev/own', permissions: 'r' },
      { hostPath: '/dev/zero', containerPath: '', permissions: 'rwm' },
    ];
    const script = 'stat -c "%t %T" /dev/own /dev/zero; (echo x > /dev/own) 2>&1 | grep -o "not permitted"';
    const output = await runSpec(runtime, script, { container: { devices } });
    assert.equal(output, '1 b\n1 5\nnot permitted\n');
  });

  test(`${name}: the host's namespaces`, async () => {
    const { readlinkSync } = await import('node:fs');
    const types = ['net', 'pid', 'ipc', 'uts'];
    const output = await runSpec(runtime, types.map((type) => `readlink /proc/self/ns/${type}`).join('; '), {
      namespaces: hostNamespaces,
    });
    assert.deepEqual(
      output.trim().split('\n'),
      types.map((type) => readlinkSync(`/proc/self/ns/${type}`)),
    );
    const own = await runSpec(runtime, types.map((type) => `readlink /proc/self/ns/${type}`).join('; '), {
      namespaces: podNamespaces,
    });
    for (const line of own.trim().split('\n')) assert.ok(!output.includes(line), line);
  });

  test(`${name}: a user namespace with the mappings asked for`, async () => {
    const map = [{ hostId: 100_000, containerId: 0, length: 65_536 }];
    const output = await runSpec(runtime, 'cat /proc/self/uid_map /proc/self/gid_map; id -u; grep -c . /proc/mounts', {
      namespaces: { ...podNamespaces, user: { mode: 'pod', uids: map, gids: map } },
    });
    assert.match(output, /^ +0 +100000 +65536\n +0 +100000 +65536\n0\n\d+\n$/);
  });
}
