// What a container can ask for, one test a line of the list: namespaces, users, privileges, limits, streams.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import {
  ContainerState,
  NamespaceMode,
  SecurityProfile_ProfileType as ProfileType,
  Signal,
  SupplementalGroupsPolicy,
} from '../../src/api/runtime/v1/cri.ts';
import { pidsIn, removeCgroup } from '../../src/sys/cgroups.ts';
import { gatherHostFacts } from '../../src/sys/host.ts';
import { ownHost } from '../harness/own-host.ts';
import { podConfig, refused, TestPod, until, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { linesOf, loadImage, outputIn, outputOf, secured } from './containers-support.ts';

await ownHost();

const host = gatherHostFacts();
const status = 'cat /proc/self/status';
/** Of /proc/self/status. */
const field = (lines: readonly string[], name: string) =>
  lines.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 2);
const bit = (mask: string | undefined, number: number) => ((BigInt(`0x${mask}`) >> BigInt(number)) & 1n) === 1n;
const CAP_CHOWN = 0;
const CAP_NET_ADMIN = 12;

for (const handler of ociRuntimes) {
  suite(`containers with ${handler}`, { handler }, (bench) => {
    test('namespaces: POD and CONTAINER are not the host, NODE is', async () => {
      const names = ['pid', 'ipc', 'net'];
      const script = names.map((name) => `readlink /proc/self/ns/${name}`).join('; ');
      const all = (mode: NamespaceMode) => ({
        linux: { securityContext: { namespaceOptions: { pid: mode, ipc: mode, network: mode } } },
      });
      const ofHost = names.map((name) => readlinkSync(`/proc/self/ns/${name}`));
      const node = all(NamespaceMode.NODE);
      assert.deepEqual(await outputOf(bench, script, node, node), ofHost);
      const pod = await TestPod.run(bench.daemon, 'shared', all(NamespaceMode.POD));
      const first = await outputIn(pod, bench.image.busybox, script, all(NamespaceMode.POD));
      const second = await outputIn(pod, bench.image.busybox, script, all(NamespaceMode.POD));
      assert.deepEqual(first, second);
      for (const link of first) assert.ok(!ofHost.includes(link), link);
      const own = { linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } } };
      const [pid] = await outputIn(pod, bench.image.busybox, script, own);
      assert.ok(pid !== first[0] && pid !== ofHost[0]);
      await pod.remove();
    });

    test('namespaces: TARGET joins the PID namespace of another container', async () => {
      const own = { linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } } };
      const pod = await TestPod.run(bench.daemon, 'target', own);
      const targetId = await pod.sh('app', bench.image.busybox, 'exec sleep 1000', own);
      const namespaceOptions = { pid: NamespaceMode.TARGET, targetId };
      const lines = await outputIn(
        pod,
        bench.image.busybox,
        'cat /proc/1/comm; ps | grep -c "sleep 1000"',
        secured({ namespaceOptions }),
      );
      assert.equal(lines[0], 'sleep');
      await bench.daemon.runtime.stopContainer({ containerId: targetId, timeout: 0n });
      const late = pod.create('late', bench.image.busybox, secured({ namespaceOptions }));
      await refused(late, grpc.FAILED_PRECONDITION, /whose PID namespace is wanted, is exited/);
      await pod.remove();
    });

    test('a cgroup parent is a path from the root, with a slash or without, whatever its name looks like', async () => {
      const parent = `${bench.daemon.name}-pod_1-2.slice`;
      for (const cgroupParent of [`/${parent}`, parent]) {
        const options = { linux: { cgroupParent } };
        const pod = await TestPod.run(bench.daemon, 'placed', options);
        const id = await pod.sh('c', bench.image.busybox, 'sleep 1000');
        const { stats } = await bench.daemon.runtime.containerStats({ containerId: id });
        assert.ok(stats!.cpu!.usageCoreNanoSeconds!.value > 0n, cgroupParent);
        assert.equal((await pidsIn(`/${parent}/${id}`)).length, 1);
        await pod.remove();
        assert.deepEqual(await pidsIn(`/${parent}`), []);
        await removeCgroup(`/${parent}`);
      }
    });

    test('a private cgroup namespace on cgroup v2', { skip: host.cgroupMode !== 'v2' && 'cgroup v1' }, async () => {
      assert.deepEqual(await outputOf(bench, 'cat /proc/self/cgroup; ls /sys/fs/cgroup/cgroup.procs'), [
        '0::/',
        '/sys/fs/cgroup/cgroup.procs',
      ]);
    });

    test('/etc/hosts, hostname, resolv.conf and 64 MiB of /dev/shm, for every user, unless mounted over', async () => {
      const files = '/etc/hosts /etc/hostname /etc/resolv.conf';
      const script = `cat ${files}; hostname; df -k /dev/shm | tail -n 1; echo x >/dev/shm/x && echo writable`;
      const pod = {
        hostname: 'web',
        dnsConfig: { servers: ['192.0.2.1'], searches: ['a.test'], options: ['ndots:5'] },
      };
      const lines = await outputOf(bench, script, secured({ runAsUser: { value: 1234n } }), pod);
      const text = lines.join('\n');
      assert.match(text, /^127\.0\.0\.1\tlocalhost$/m);
      assert.match(
        text,
        /\tweb\n(web\n)search a\.test\nnameserver 192\.0\.2\.1\noptions ndots:5\nweb\n.* 65536 .*\nwritable$/,
      );
      const own = join(bench.daemon.dir, 'hosts');
      writeFileSync(own, 'mine\n');
      chmodSync(own, 0o644);
      const mounts = [{ containerPath: '/etc/hosts', hostPath: own }];
      assert.deepEqual(await outputOf(bench, 'cat /etc/hosts; grep -c " /etc/hosts " /proc/mounts', { mounts }), [
        'mine',
        '1',
      ]);
    });

    test('users: by id, by name, by name and group; a group without a user is refused', async () => {
      const image = await loadImage(
        bench,
        'users',
        [
          { name: 'etc', type: 'directory' },
          { name: 'etc/passwd', data: 'root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n' },
          { name: 'etc/group', data: 'root:x:0:\nstaff:x:50:app\n' },
        ],
        { User: 'app:staff' },
      );
      const pod = await TestPod.run(bench.daemon, 'users');
      const id = (security: Parameters<typeof secured>[0]) =>
        outputIn(pod, image, 'echo $(id -u) $(id -g) $(id -G) $HOME', secured(security)).then(([line]) => line);
      assert.equal(await id({}), '1000 50 50 /home/app');
      assert.equal(await id({ runAsUser: { value: 77n } }), '77 0 0 /');
      assert.equal(await id({ runAsUsername: 'app' }), '1000 1001 1001 50 /home/app');
      assert.equal(await id({ runAsUser: { value: 1000n }, runAsGroup: { value: 8n } }), '1000 8 8 50 /home/app');
      const { Strict: strict, Merge: merge } = SupplementalGroupsPolicy;
      const groups = (supplementalGroupsPolicy: SupplementalGroupsPolicy) =>
        id({ runAsUsername: 'app', supplementalGroups: [9n], supplementalGroupsPolicy });
      assert.equal(await groups(merge), '1000 1001 1001 9 50 /home/app');
      assert.equal(await groups(strict), '1000 1001 1001 9 /home/app');
      await refused(
        pod.create('g', image, secured({ runAsGroup: { value: 5n } })),
        grpc.INVALID_ARGUMENT,
        /without a user/,
      );
      await refused(
        pod.create('n', image, secured({ runAsUsername: 'nobody-here' })),
        grpc.FAILED_PRECONDITION,
        /passwd/,
      );
      await pod.remove();
    });

    test('capabilities: add, drop, ALL and ambient', async () => {
      const pod = await TestPod.run(bench.daemon, 'caps');
      const of = (capabilities: object, more = {}) =>
        outputIn(pod, bench.image.busybox, status, secured({ capabilities, ...more }));
      const plain = await of({});
      assert.deepEqual(
        [CAP_CHOWN, CAP_NET_ADMIN].map((each) => bit(field(plain, 'CapEff'), each)),
        [true, false],
      );
      const changed = await of({ addCapabilities: ['NET_ADMIN'], dropCapabilities: ['CHOWN'] });
      assert.deepEqual(
        [CAP_CHOWN, CAP_NET_ADMIN].map((each) => bit(field(changed, 'CapEff'), each)),
        [false, true],
      );
      assert.equal(field(await of({ dropCapabilities: ['ALL'] }), 'CapBnd'), '0'.repeat(16));
      const all = field(await of({ addCapabilities: ['ALL'] }), 'CapEff')!;
      assert.equal(BigInt(`0x${all}`).toString(2).replaceAll('0', '').length, host.capabilities.length);
      const ambient = await of(
        { dropCapabilities: ['ALL'], addAmbientCapabilities: ['NET_ADMIN'] },
        { runAsUser: { value: 5n } },
      );
      assert.equal(BigInt(`0x${field(ambient, 'CapAmb')}`), 1n << BigInt(CAP_NET_ADMIN));
      assert.equal(field(ambient, 'CapEff'), field(ambient, 'CapAmb'));
      await refused(
        pod.create('x', bench.image.busybox, secured({ capabilities: { addCapabilities: ['NOPE'] } })),
        grpc.INVALID_ARGUMENT,
        /NOPE/,
      );
      await pod.remove();
    });

    test('privileged: everything of the host, and only in a privileged pod', async () => {
      const privileged = secured({ privileged: true });
      const lines = await outputOf(
        bench,
        `${status}; ls /dev; touch /sys/x 2>&1 | grep -c Read-only || true`,
        privileged,
        privileged,
      );
      assert.ok(bit(field(lines, 'CapEff'), CAP_NET_ADMIN));
      assert.equal(field(lines, 'Seccomp'), '0');
      assert.ok(lines.includes('kmsg'));
      assert.equal(lines.at(-1), '0');
      const pod = await TestPod.run(bench.daemon, 'plain');
      await refused(
        pod.create('p', bench.image.busybox, privileged),
        grpc.FAILED_PRECONDITION,
        /is privileged, its pod/,
      );
      await pod.remove();
    });

    test('no_new_privs, a read-only root, masked and read-only paths', async () => {
      const security = {
        noNewPrivs: true,
        readonlyRootfs: true,
        maskedPaths: ['/proc/keys', '/sys/firmware'],
        readonlyPaths: ['/proc/sys'],
      };
      const script = `${status}; touch /x 2>&1; (echo 1 >/proc/sys/kernel/shmmax) 2>&1; cat /proc/keys; ls /sys/firmware; echo end`;
      const lines = await outputOf(bench, script, secured(security));
      assert.equal(field(lines, 'NoNewPrivs'), '1');
      const rest = lines.slice(-3);
      assert.match(rest[0]!, /\/x: Read-only/);
      assert.match(rest[1]!, /shmmax: Read-only/);
      assert.equal(rest[2], 'end');
      assert.equal(field(await outputOf(bench, status), 'NoNewPrivs'), '0');
      // A kubelet's list may be older than what is known to need a mask; one that is empty unmasks /proc.
      const masked =
        'for f in interrupts timer_list; do wc -c </proc/$f; done; ls /sys/devices/virtual/powercap 2>&1 | wc -l';
      const old = { maskedPaths: ['/proc/kcore'] };
      assert.deepEqual((await outputOf(bench, masked, secured(old))).slice(0, 2), ['0', '0']);
      const [interrupts] = await outputOf(bench, masked, secured({}));
      assert.notEqual(interrupts, '0');
    });

    test('seccomp: RuntimeDefault, Unconfined, Localhost, and the deprecated strings', async () => {
      const path = join(bench.daemon.dir, 'seccomp.json');
      const rule = { names: ['sethostname', 'mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 };
      writeFileSync(path, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] }));
      const pod = await TestPod.run(bench.daemon, 'seccomp');
      const of = async (security: Parameters<typeof secured>[0]) => {
        const lines = await outputIn(
          pod,
          bench.image.busybox,
          `${status}; mkdir /made 2>&1; echo end`,
          secured(security),
        );
        return [field(lines, 'Seccomp'), /denied/.test(lines.at(-2)!)];
      };
      const profile = (profileType: ProfileType, localhostRef = '') => ({ seccomp: { profileType, localhostRef } });
      assert.deepEqual(await of(profile(ProfileType.RuntimeDefault)), ['2', false]);
      assert.deepEqual(await of(profile(ProfileType.Unconfined)), ['0', false]);
      assert.deepEqual(await of(profile(ProfileType.Localhost, path)), ['2', true]);
      assert.deepEqual(await of({ seccompProfilePath: 'runtime/default' }), ['2', false]);
      assert.deepEqual(await of({ seccompProfilePath: 'unconfined' }), ['0', false]);
      assert.deepEqual(await of({ seccompProfilePath: `localhost/${path}` }), ['2', true]);
      await refused(
        pod.create('x', bench.image.busybox, secured(profile(ProfileType.Localhost, `${path}.not`))),
        grpc.FAILED_PRECONDITION,
        /does not exist/,
      );
      await pod.remove();
    });

    test('sysctls of namespaces, and none of the host', async () => {
      const sysctls = {
        'net.ipv4.ip_unprivileged_port_start': '1',
        'kernel.shmmax': '12345',
        'fs.mqueue.msg_max': '20',
      };
      const script =
        'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmax /proc/sys/fs/mqueue/msg_max';
      assert.deepEqual(await outputOf(bench, script, {}, { linux: { sysctls } }), ['1', '12345', '20']);
      // Of the interface that the plugins make, and what they set themselves.
      const ofInterfaces = {
        'net.ipv4.conf.eth0.rp_filter': '2',
        'net/ipv4/conf/eth0/log_martians': '1',
        'net.ipv6.conf.all.disable_ipv6': '1',
      };
      const look =
        'cd /proc/sys/net; cat ipv4/conf/eth0/rp_filter ipv4/conf/eth0/log_martians ipv6/conf/all/disable_ipv6';
      assert.deepEqual(await outputOf(bench, look, {}, { linux: { sysctls: ofInterfaces } }), ['2', '1', '1']);
      const absent = podConfig(bench.daemon, 'absent', { linux: { sysctls: { 'net.ipv4.conf.eth7.rp_filter': '2' } } });
      await refused(bench.daemon.runtime.runPodSandbox({ config: absent }), grpc.FAILED_PRECONDITION, /eth7.*ENOENT/);
      const attempt = (name: string) =>
        bench.daemon.runtime.runPodSandbox({
          config: podConfig(bench.daemon, 'bad', { linux: { sysctls: { [name]: '1' } } }),
        });
      await refused(attempt('vm.swappiness'), grpc.INVALID_ARGUMENT, /not namespaced/);
      const config = podConfig(bench.daemon, 'bad', {
        linux: {
          sysctls: { 'net.ipv4.ip_forward': '1' },
          securityContext: { namespaceOptions: { network: NamespaceMode.NODE } },
        },
      });
      await refused(bench.daemon.runtime.runPodSandbox({ config }), grpc.INVALID_ARGUMENT, /would change the host/);
    });

    test('it inherits nothing of how the daemon runs: files, processors, niceness', async () => {
      const { openFiles } = host;
      const script =
        'ulimit -Sn; ulimit -Hn; grep Cpus_allowed_list /proc/self/status | cut -f2; cut -d" " -f19 /proc/self/stat';
      const own = readFileSync('/proc/self/status', 'utf8');
      const every = /^Cpus_allowed_list:\t(.*)$/m.exec(own)![1]!;
      execFileSync('/usr/bin/taskset', ['-apc', '0', `${bench.daemon.pid}`]);
      execFileSync('/usr/bin/renice', ['-n', '5', '-p', `${bench.daemon.pid}`]);
      try {
        const [soft, hard, processors, nice] = await outputOf(bench, script);
        assert.deepEqual([soft, hard, processors], ['1024', `${openFiles}`, every]);
        assert.equal(nice, '0');
        const pod = await TestPod.run(bench.daemon, 'inherits');
        const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000');
        const cmd = ['/bin/sh', '-c', script];
        const { stdout } = await bench.daemon.runtime.execSync({ containerId, cmd, timeout: 10n });
        const [softOfExec, ...others] = Buffer.from(stdout).toString().trim().split('\n');
        assert.deepEqual(others, [`${openFiles}`, every, '0']);
        // runc 1.1 built with Go 1.19.8 raises it again in every exec, whatever it is told.
        if (handler === 'crun') assert.equal(softOfExec, '1024');
        await pod.remove();
      } finally {
        execFileSync('/usr/bin/taskset', ['-apc', every, `${bench.daemon.pid}`]);
        execFileSync('/usr/bin/renice', ['-n', '0', '-p', `${bench.daemon.pid}`]);
      }
    });

    test('limits: cpu, cpuset, memory, swap, hugepages, unified, oom_score_adj', async () => {
      const v2 = host.cgroupMode === 'v2';
      const pageSize = host.hugepageSizes.find((size) => size === '2MB');
      const huge = host.controllers.includes('hugetlb') && pageSize !== undefined;
      const files = v2
        ? [
            'cpu.max',
            'cpu.weight',
            'cpuset.cpus',
            'memory.max',
            'memory.high',
            ...(huge ? [`hugetlb.${pageSize}.max`] : []),
          ]
        : [
            'cpu/cpu.cfs_quota_us',
            'cpu/cpu.shares',
            'cpuset/cpuset.cpus',
            'memory/memory.limit_in_bytes',
            ...(host.swapAccounting ? ['memory/memory.memsw.limit_in_bytes'] : []),
            ...(huge ? [`hugetlb/hugetlb.${pageSize}.limit_in_bytes`] : []),
          ];
      const resources = {
        cpuQuota: 50_000n,
        cpuPeriod: 100_000n,
        cpuShares: 512n,
        cpusetCpus: '0',
        memoryLimitInBytes: 64n << 20n,
        memorySwapLimitInBytes: 96n << 20n,
        hugepageLimits: huge ? [{ pageSize, limit: 4n << 20n }] : [],
        unified: v2 ? { 'memory.high': String(48 << 20) } : {},
        oomScoreAdj: 321n,
      };
      const script = `${files.map((file) => `cat /sys/fs/cgroup/${file}`).join('; ')}; cat /proc/self/oom_score_adj`;
      const lines = await outputOf(bench, script, { linux: { resources } });
      const common = v2
        ? ['50000 100000', '20', '0', String(64 << 20), String(48 << 20)]
        : ['50000', '512', '0', String(64 << 20), ...(host.swapAccounting ? [String(96 << 20)] : [])];
      assert.deepEqual(lines, [...common, ...(huge ? [String(4 << 20)] : []), '321']);
      if (v2) return;
      const pod = await TestPod.run(bench.daemon, 'unified');
      const asked = pod.create('c', bench.image.busybox, { linux: { resources: { unified: { 'memory.high': '1' } } } });
      await refused(asked, grpc.INVALID_ARGUMENT, /needs cgroup v2/);
      await pod.remove();
    });

    test('environment in order, HOSTNAME, and TERM with a terminal', async () => {
      const envs = [
        { key: 'A', value: Buffer.from('1') },
        { key: 'B', value: Buffer.from('2 $A') },
        { key: 'A', value: Buffer.from('3') },
      ];
      const lines = await outputOf(bench, 'env | grep -E "^(A|B|TERM|HOSTNAME)="', { envs }, { hostname: 'web' });
      assert.deepEqual(
        lines.filter((line) => /^[AB]=/.test(line)),
        ['A=3', 'B=2 $A'],
      );
      assert.ok(lines.includes('HOSTNAME=web') && !lines.some((line) => line.startsWith('TERM=')));
      const tty = await outputOf(bench, 'tty; echo $TERM; test -t 0 && test -t 1 && echo both', { tty: true });
      assert.deepEqual(
        tty.map((line) => line.trim()),
        ['/dev/pts/0', 'xterm', 'both'],
      );
    });

    test('stdin: open when asked for, at its end when not', async () => {
      const pod = await TestPod.run(bench.daemon, 'stdin');
      const closed = await outputIn(pod, bench.image.busybox, 'cat; echo end', {});
      assert.deepEqual(closed, ['end']);
      const id = await pod.sh('open', bench.image.busybox, 'echo begin; cat; echo end', {
        stdin: true,
        stdinOnce: true,
      });
      await until('its line', async () => linesOf(pod, 'open').includes('begin'));
      const { status: running } = await bench.daemon.runtime.containerStatus({ containerId: id });
      assert.equal(running?.state, ContainerState.CONTAINER_RUNNING);
      assert.ok(!linesOf(pod, 'open').includes('end'));
      await pod.remove();
    });

    test('stop signals: of the request, else of the image, else TERM', async () => {
      const image = await loadImage(bench, 'stops', [{ name: 'x', data: '' }], { StopSignal: 'SIGUSR1' });
      const pod = await TestPod.run(bench.daemon, 'signals');
      const script =
        'for s in TERM USR1 USR2; do trap "echo got $s; exit 0" $s; done; echo ready; while :; do sleep 0.05; done';
      for (const [from, reference, stopSignal, expected] of [
        ['request', image, Signal.SIGNAL_SIGUSR2, 'got USR2'],
        ['image', image, Signal.SIGNAL_RUNTIME_DEFAULT, 'got USR1'],
        ['default', bench.image.busybox, Signal.SIGNAL_RUNTIME_DEFAULT, 'got TERM'],
      ] as const) {
        const containerId = await pod.sh(from, reference, script, { stopSignal });
        await until('its line', async () => linesOf(pod, from).includes('ready'));
        await bench.daemon.runtime.stopContainer({ containerId, timeout: 20n });
        assert.equal((await untilExited(bench.daemon, containerId)).exitCode, 0);
        assert.deepEqual(linesOf(pod, from), ['ready', expected]);
      }
      await pod.remove();
    });

    test('devices with permissions, single and by directory', async () => {
      const devices = [
        { hostPath: '/dev/kmsg', containerPath: '/dev/own', permissions: 'r' },
        { hostPath: '/dev/full', containerPath: '', permissions: '' },
      ];
      const script = 'stat -c "%t:%T" /dev/own /dev/full; (echo x >/dev/own) 2>&1 | grep -o "not permitted"';
      assert.deepEqual(await outputOf(bench, script, { devices }), ['1:b', '1:7', 'not permitted']);
      const pod = await TestPod.run(bench.daemon, 'devices');
      const missing = pod.create('c', bench.image.busybox, {
        devices: [{ hostPath: '/dev/no-such', permissions: 'r' }],
      });
      await refused(missing, grpc.FAILED_PRECONDITION, /does not exist/);
      await pod.remove();
    });
  });
}

suite('handlers', {
  settings: {
    handlers: {
      none: { path: '/bin/true' },
      bare: { path: '/usr/bin/crun', privileged_without_host_devices: true, args: ['--debug'] },
      told: { path: '/usr/bin/crun', pod_annotations: ['example.com/*'] },
      elsewhere: { path: '/usr/bin/crun', cni_conf_dir: '/nonexistent/net.d' },
    },
  },
}, (bench) => {
  const user = {
    mode: NamespaceMode.POD,
    uids: [{ containerId: 0, hostId: 1000, length: 10 }],
    gids: [{ containerId: 0, hostId: 1000, length: 10 }],
  };
  const run = (name: string, runtimeHandler: string, more = {}) =>
    bench.daemon.runtime.runPodSandbox({ config: podConfig(bench.daemon, name, more), runtimeHandler });

  test('Status says what each handler can do', async () => {
    const { runtimeHandlers, features } = await bench.daemon.runtime.status({});
    const by = Object.fromEntries(runtimeHandlers.map((each) => [each.name, each.features]));
    const able = { recursiveReadOnlyMounts: true, userNamespaces: true };
    const unable = { recursiveReadOnlyMounts: false, userNamespaces: false };
    assert.deepEqual(by, { '': able, crun: able, runc: able, none: unable, bare: able, told: able, elsewhere: able });
    assert.deepEqual(features, { mountOptions: true, supplementalGroupsPolicy: true, userNamespacesHostNetwork: true });
  });

  test('what a handler cannot do is refused by name', async () => {
    const userns = { linux: { securityContext: { namespaceOptions: { usernsOptions: user } } } };
    await refused(run('userns', 'none', userns), grpc.FAILED_PRECONDITION, /Handler "none" .* user namespace/);
    await refused(run('unknown', 'kata'), grpc.INVALID_ARGUMENT, /"kata" is not configured; there are crun, runc/);
    const { podSandboxId } = await run('rro', 'none');
    const config = {
      metadata: { name: 'c' },
      image: { image: bench.image.busybox },
      mounts: [{ containerPath: '/m', hostPath: bench.daemon.dir, readonly: true, recursiveReadOnly: true }],
    };
    const create = bench.daemon.runtime.createContainer({
      podSandboxId,
      config,
      sandboxConfig: podConfig(bench.daemon, 'rro'),
    });
    await refused(
      create,
      grpc.FAILED_PRECONDITION,
      /^RROUnsupported: handler none cannot make mounts recursively read-only/,
    );
  });

  test('options: annotations for its program', async () => {
    const annotations = { 'example.com/a': '1', 'run.oci.handler': 'wasm' };
    const pod = new TestPod(bench.daemon, podConfig(bench.daemon, 'told', { annotations }));
    pod.id = (await bench.daemon.runtime.runPodSandbox({ config: pod.config, runtimeHandler: 'told' })).podSandboxId;
    const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000');
    const { info } = await bench.daemon.runtime.containerStatus({ containerId, verbose: true });
    const given = JSON.parse(info.info!).runtimeSpec.annotations;
    assert.equal(given['example.com/a'], '1');
    assert.equal(given['run.oci.handler'], undefined);
    await pod.remove();
  });

  test('options: no host devices for privileged containers, conflists of its own', async () => {
    const privileged = secured({ privileged: true });
    const pod = new TestPod(bench.daemon, podConfig(bench.daemon, 'bare', privileged));
    pod.id = (await bench.daemon.runtime.runPodSandbox({ config: pod.config, runtimeHandler: 'bare' })).podSandboxId;
    assert.ok(existsSync('/dev/kmsg'));
    const lines = await outputIn(pod, bench.image.busybox, 'ls /dev', privileged);
    assert.ok(!lines.includes('kmsg') && lines.includes('null'), lines.join(' '));
    await refused(run('elsewhere', 'elsewhere'), grpc.FAILED_PRECONDITION, /nonexistent/);
    assert.match(readFileSync(bench.daemon.configFile, 'utf8'), /elsewhere/);
  });
});
