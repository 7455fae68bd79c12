// Requests that are wrong, doubled, or abandoned: a clear answer, never a crash, never a half-made object.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import {
  type ContainerConfig,
  hostNetwork,
  inUserNamespace,
  type PodConfig,
  podConfig,
  refused,
  TestPod,
  until,
} from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

suite('requests', {}, (bench) => {
  const metadata = { name: 'n', uid: 'u', namespace: 'ns', attempt: 0 };
  const ownNetwork = (sysctls: Record<string, string>): PodConfig => ({ metadata, linux: { sysctls } });
  const security = (context: object): PodConfig => ({ metadata, linux: { securityContext: context } });

  const badPods: [name: string, config: PodConfig | undefined, message: RegExp][] = [
    ['no config', undefined, /config is missing/],
    ['no metadata', {}, /config\.metadata is missing/],
    ['an empty name', { metadata: { ...metadata, name: '' } }, /metadata\.name is empty/],
    ['a name with /', { metadata: { ...metadata, name: '../../etc' } }, /metadata\.name.*"\/"/],
    ['a name with a newline', { metadata: { ...metadata, name: 'a\nb' } }, /control character/],
    ['a namespace with ;', { metadata: { ...metadata, namespace: 'a;K8S_POD_UID=x' } }, /metadata\.namespace/],
    ['a uid with NUL', { metadata: { ...metadata, uid: 'a\0' } }, /metadata\.uid/],
    ['a hostname with /', { metadata, hostname: 'a/b' }, /config\.hostname/],
    ['a hostname of 65 characters', { metadata, hostname: 'a'.repeat(65) }, /hostname has 65 bytes/],
    ['a hostname of 66 bytes', { metadata, hostname: 'ä'.repeat(33) }, /hostname has 66 bytes/],
    [
      'a log directory with a long name',
      { metadata, logDirectory: `/var/log/${'a'.repeat(256)}/x` },
      /log_directory.* has a name of over 255 bytes/,
    ],
    [
      'a cgroup parent with a long name',
      { metadata, linux: { cgroupParent: `/${'a'.repeat(256)}` } },
      /cgroup_parent.* has a name of over 255 bytes/,
    ],
    ['a sysctl value that the kernel does not take', ownNetwork({ 'kernel.msgmax': 'x' }), /msgmax=x: EINVAL/],
    ['one that it does not take after CNI', ownNetwork({ 'net.ipv4.ip_forward': 'x' }), /ip_forward=x: EINVAL/],
    ['a relative log directory', { metadata, logDirectory: 'logs' }, /log_directory.*absolute/],
    ['a log directory with ..', { metadata, logDirectory: '/var/log/../../etc' }, /log_directory.*"\.\."/],
    ['a bad network mode', security({ namespaceOptions: { network: 99 } }), /network = 99/],
    ['network CONTAINER', security({ namespaceOptions: { network: 1 } }), /only POD and NODE/],
    ['a negative enum', security({ namespaceOptions: { ipc: -1 } }), /ipc = -1/],
    ['TARGET without an id', security({ namespaceOptions: { pid: 3 } }), /target_id is empty/],
    ['a negative user', security({ runAsUser: { value: -1n } }), /run_as_user = -1/],
    ['a user of 2^32', security({ runAsUser: { value: 1n << 32n } }), /run_as_user = 4294967296/],
    ['a bad seccomp type', security({ seccomp: { profileType: 7 } }), /seccomp\.profile_type = 7/],
    ['a localhost profile without a name', security({ seccomp: { profileType: 2 } }), /localhost_ref is empty/],
    ['a bad groups policy', security({ supplementalGroupsPolicy: 5 }), /supplemental_groups_policy = 5/],
    [
      'a host port of 70000',
      { metadata, portMappings: [{ hostPort: 70_000, containerPort: 80 }] },
      /host_port = 70000/,
    ],
    ['a negative port', { metadata, portMappings: [{ containerPort: -1 }] }, /container_port = -1/],
    ['a bad protocol', { metadata, portMappings: [{ protocol: 9 as cri.Protocol }] }, /protocol = 9/],
    [
      'a sysctl of the host',
      { metadata, linux: { sysctls: { 'kernel.panic': '1' } } },
      /kernel\.panic.*not namespaced/,
    ],
    [
      'a sysctl with a path',
      { metadata, linux: { sysctls: { 'net/../../../etc/passwd': 'x' } } },
      /is not the name of a sysctl/,
    ],
    [
      'a sysctl value of two lines',
      { metadata, linux: { sysctls: { 'net.ipv4.ip_forward': '1\n2' } } },
      /control character/,
    ],
    [
      'a bandwidth that is none',
      { metadata, annotations: { 'kubernetes.io/egress-bandwidth': '10Mbit' } },
      /egress-bandwidth = "10Mbit" is no bandwidth/,
    ],
    ['a cgroup parent with ..', { metadata, linux: { cgroupParent: '/a/../../b' } }, /cgroup_parent/],
    ['an oom_score_adj of 1001', { metadata, linux: { resources: { oomScoreAdj: 1001n } } }, /oom_score_adj = 1001/],
    ['a search domain with a blank', { metadata, dnsConfig: { searches: ['a b'] } }, /white space/],
  ];
  for (const [name, config, message] of badPods) {
    test(`RunPodSandbox with ${name} is refused`, async () => {
      await refused(bench.daemon.runtime.runPodSandbox({ config }), grpc.INVALID_ARGUMENT, message);
      assert.deepEqual((await bench.daemon.runtime.listPodSandbox({})).items, []);
    });
  }

  test('an unknown handler is refused', async () => {
    const config = podConfig(bench.daemon, 'handler');
    await refused(
      bench.daemon.runtime.runPodSandbox({ config, runtimeHandler: 'kata' }),
      grpc.INVALID_ARGUMENT,
      /"kata".*crun, runc/,
    );
  });

  test('CreateContainer refuses what it cannot make sense of', async () => {
    const pod = await TestPod.run(bench.daemon, 'bad');
    const image = { image: bench.image.busybox };
    const base = { metadata: { name: 'c', attempt: 0 }, image };
    const context = (securityContext: object): ContainerConfig => ({ ...base, linux: { securityContext } });
    const cases: [config: ContainerConfig | undefined, message: RegExp][] = [
      [undefined, /config is missing/],
      [{ image }, /config\.metadata is missing/],
      [{ metadata: base.metadata }, /config\.image is missing/],
      [{ ...base, image: { image: '' } }, /image\.image is empty/],
      [{ ...base, metadata: { name: 'a/b' } }, /metadata\.name/],
      [{ ...base, logPath: '/etc/cron.d/x' }, /log_path.*relative/],
      [{ ...base, logPath: '../../x' }, /log_path/],
      [{ ...base, logPath: `${'ä'.repeat(128)}.log` }, /log_path.* has a name of over 255 bytes/],
      [{ ...base, logPath: new Array(20).fill('a'.repeat(203)).join('/') }, /log path has \d+ bytes, at most 4095/],
      [
        { ...base, mounts: [{ containerPath: `/${'a'.repeat(256)}`, hostPath: '/x' }] },
        /container_path.* over 255 bytes/,
      ],
      [{ ...base, workingDir: `/${'a'.repeat(256)}` }, /working_dir.* over 255 bytes/],
      [{ ...base, args: ['ä'.repeat(70_000)] }, /args\[0\] has 140000 bytes/],
      [
        { ...base, envs: [{ key: 'AB', value: Buffer.from('a'.repeat(131_069)) }] },
        /^Environment variable "AB" has 131072 bytes/,
      ],
      [{ ...base, envs: [{ key: 'A=B', value: Buffer.from('') }] }, /envs\.key/],
      [{ ...base, envs: [{ key: '', value: Buffer.from('x') }] }, /envs\.key/],
      [{ ...base, envs: [{ key: 'A', value: Buffer.from('x\0y') }] }, /NUL/],
      [{ ...base, envs: [{ key: 'A', value: Buffer.of(0x61, 0xff, 0) }] }, /NUL/],
      [
        { ...base, envs: [{ key: 'A', value: Buffer.alloc(65_536, 0xff) }] },
        /variable "A", which is not UTF-8, so that each byte beyond ASCII counts twice, has 131074 bytes/,
      ],
      [{ ...base, args: ['a\0b'] }, /args\[0\].*NUL/],
      [{ ...base, mounts: [{ containerPath: '/x', hostPath: '/', mountOptions: ['dev'] }] }, /mount_options: "dev"/],
      [{ ...base, mounts: [{ containerPath: '/x' }] }, /neither host_path nor image/],
      [{ ...base, mounts: [{ hostPath: '/x' }] }, /container_path is empty/],
      [{ ...base, mounts: [{ containerPath: '/x', hostPath: 'rel' }] }, /host_path.*absolute/],
      [
        { ...base, mounts: [{ containerPath: '/x', hostPath: '/x', propagation: 9 as cri.MountPropagation }] },
        /propagation = 9/,
      ],
      [{ ...base, mounts: [{ containerPath: '/x', hostPath: '/x', recursiveReadOnly: true }] }, /needs readonly/],
      [{ ...base, devices: [{ hostPath: '/dev/null', containerPath: '/dev/x', permissions: 'rx' }] }, /permissions/],
      [{ ...base, stopSignal: 99 as cri.Signal }, /[Ss]top signal 99/],
      [{ ...base, linux: { resources: { cpuShares: -5n } } }, /cpu_shares = -5/],
      [{ ...base, linux: { resources: { memoryLimitInBytes: -2n } } }, /memory_limit_in_bytes = -2/],
      [context({ runAsGroup: { value: -1n } }), /run_as_group = -1/],
      [context({ runAsGroup: { value: 5n } }), /group/],
      [context({ namespaceOptions: { pid: 3, targetId: 'nobody' } }), /nobody/],
      [context({ namespaceOptions: { pid: 2 } }), /host's PID namespace, its pod does not/],
      [context({ namespaceOptions: { network: 2 } }), /host's network namespace, its pod does not/],
      [context({ namespaceOptions: { ipc: 2 } }), /host's IPC namespace, its pod does not/],
      [context(inUserNamespace().linux.securityContext), /userns_options of the container are not those of its pod/],
    ];
    for (const [config, message] of cases) {
      const call = bench.daemon.runtime.createContainer({ podSandboxId: pod.id, config, sandboxConfig: pod.config });
      await assert.rejects(call, ({ code, details = '' }: { code?: number; details?: string }) => {
        assert.ok(code === grpc.INVALID_ARGUMENT || code === grpc.NOT_FOUND, `${code}: ${details}`);
        assert.match(details, message);
        return true;
      });
      assert.deepEqual((await bench.daemon.runtime.listContainers({})).containers, []);
    }
    await pod.remove();
  });

  test('empty and odd ids, negative timeouts, empty commands are refused', async () => {
    const { runtime, images } = bench.daemon;
    for (const podSandboxId of ['', 'a\0b', 'a\nb', 'x'.repeat(300)]) {
      await refused(runtime.stopPodSandbox({ podSandboxId }), grpc.INVALID_ARGUMENT);
      await refused(runtime.removePodSandbox({ podSandboxId }), grpc.INVALID_ARGUMENT);
      await refused(runtime.podSandboxStatus({ podSandboxId }), grpc.INVALID_ARGUMENT);
    }
    await refused(runtime.stopContainer({ containerId: 'a', timeout: -1n }), grpc.INVALID_ARGUMENT, /timeout = -1/);
    await refused(
      runtime.execSync({ containerId: 'a', cmd: ['x'], timeout: -1n }),
      grpc.INVALID_ARGUMENT,
      /timeout = -1/,
    );
    await refused(runtime.execSync({ containerId: 'a', cmd: [] }), grpc.INVALID_ARGUMENT, /cmd is empty/);
    await refused(runtime.execSync({ containerId: 'a', cmd: [''] }), grpc.INVALID_ARGUMENT, /cmd is empty/);
    await refused(
      runtime.listPodSandbox({ filter: { state: { state: 7 as cri.PodSandboxState } } }),
      grpc.INVALID_ARGUMENT,
    );
    for (const id of ['__proto__', 'constructor', 'toString']) {
      await refused(runtime.podSandboxStatus({ podSandboxId: id }), grpc.NOT_FOUND);
      assert.deepEqual((await runtime.listPodSandbox({ filter: { labelSelector: { [id]: 'x' } } })).items, []);
    }
    for (const image of [undefined, { image: '' }, { image: 'a\0b' }]) {
      await refused(images.pullImage({ image }), grpc.INVALID_ARGUMENT);
      await refused(images.removeImage({ image }), grpc.INVALID_ARGUMENT);
    }
    for (const image of ['lower/UPPER', 'a:b:c', 'x@sha256:../../x', '/lead', 'a//b']) {
      await refused(images.pullImage({ image: { image } }), grpc.INVALID_ARGUMENT);
    }
    const unknown = { image: 'localhost:1/a:1', runtimeHandler: 'never' };
    await refused(images.pullImage({ image: unknown }), grpc.INVALID_ARGUMENT, /"never" is not configured/);
  });

  test('the beginning of an id is taken where only one has it, and refused where several have', async () => {
    const { runtime } = bench.daemon;
    const pod = await TestPod.run(bench.daemon, 'prefixes', hostNetwork);
    const ids: string[] = [];
    while (new Set(ids.map(([first]) => first)).size === ids.length)
      ids.push(await pod.create(`c${ids.length}`, bench.image.busybox, { command: ['/bin/true'] }));
    const containerId = ids.at(-1)!.slice(0, 1);
    const message = /container_id = "." begins several ids/;
    await refused(runtime.containerStatus({ containerId }), grpc.INVALID_ARGUMENT, message);
    await refused(runtime.stopContainer({ containerId }), grpc.INVALID_ARGUMENT, message);
    await refused(runtime.removeContainer({ containerId }), grpc.INVALID_ARGUMENT, message);
    assert.equal((await runtime.listContainers({})).containers.length, ids.length);
    await runtime.removeContainer({ containerId: ids.at(-1)!.slice(0, 20) });
    assert.equal((await runtime.listContainers({})).containers.length, ids.length - 1);
    await pod.remove();
  });

  test('calls that are not built yet answer UNIMPLEMENTED by name', async () => {
    const { runtime } = bench.daemon;
    await refused(runtime.checkpointContainer({ containerId: 'x' }), grpc.UNIMPLEMENTED, /CheckpointContainer/);
    await refused(runtime.checkpointPod({ podSandboxId: 'x' }), grpc.UNIMPLEMENTED, /CheckpointPod/);
    await refused(runtime.restorePod({}), grpc.UNIMPLEMENTED, /RestorePod/);
  });

  test('twenty equal RunPodSandbox requests at once make one pod', async () => {
    const config = podConfig(bench.daemon, 'joined');
    const answers = await Promise.all(Array.from({ length: 20 }, () => bench.daemon.runtime.runPodSandbox({ config })));
    assert.equal(new Set(answers.map(({ podSandboxId }) => podSandboxId)).size, 1);
    assert.equal((await bench.daemon.runtime.listPodSandbox({})).items.length, 1);
  });

  test('a caller that leaves loses nothing: the first retry adopts what was made', async () => {
    const { runtime } = bench.daemon;
    const config = podConfig(bench.daemon, 'adopted');
    const left = new AbortController();
    const call = runtime.runPodSandbox({ config }, { signal: left.signal });
    setImmediate(() => left.abort());
    await refused(call, grpc.CANCELLED);
    const [{ id }] = await until('the pod', async () => {
      const { items } = await runtime.listPodSandbox({});
      return items.length === 1 && (items as [cri.PodSandbox]);
    });
    assert.equal((await runtime.runPodSandbox({ config })).podSandboxId, id);
    await refused(runtime.runPodSandbox({ config }), grpc.ALREADY_EXISTS);
  });

  test('a stop that waits is shortened by a later one, and survives its caller', async () => {
    const { runtime } = bench.daemon;
    const pod = await TestPod.run(bench.daemon, 'stops');
    const containerId = await pod.talking(
      'c',
      bench.image.busybox,
      'trap "" TERM; echo ready; while true; do sleep 0.1; done',
    );
    const left = new AbortController();
    const abandoned = runtime.stopContainer({ containerId, timeout: 3000n }, { signal: left.signal });
    setTimeout(() => left.abort(), 100);
    await refused(abandoned, grpc.CANCELLED);
    const { status } = await runtime.containerStatus({ containerId });
    assert.equal(status?.state, cri.ContainerState.CONTAINER_RUNNING);
    const long = runtime.stopContainer({ containerId, timeout: 3000n });
    await runtime.stopContainer({ containerId, timeout: 1n });
    await long;
    await pod.remove();
  });
});
