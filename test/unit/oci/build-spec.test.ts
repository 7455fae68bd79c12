import assert from 'node:assert/strict';
import test from 'node:test';
import { matchesKey } from '../../../src/oci/annotations.ts';
import { buildSpec, type SpecInput } from '../../../src/oci/index.ts';
import { assertGolden } from './golden.ts';
import { bound, host, hostNamespaces, hostV2, podNamespaces, specInput } from './inputs.ts';

const device = { type: 'c' as const, major: 1, minor: 3, fileMode: 0o666, uid: 0, gid: 0 };
const everyLimit = {
  cpuPeriod: 100_000,
  cpuQuota: 50_000,
  cpuShares: 512,
  memoryLimit: 64 << 20,
  oomScoreAdj: -998,
  cpusetCpus: '0-1',
  cpusetMems: '0',
  hugepageLimits: [
    { pageSize: '2MB', limit: 4 << 20 },
    { pageSize: '1GB', limit: 0 },
  ],
};
const userNamespace = {
  mode: 'pod' as const,
  uids: [{ hostId: 65536, containerId: 0, length: 65536 }],
  gids: [{ hostId: 65536, containerId: 0, length: 65536 }],
};

const goldens: Record<string, SpecInput> = {
  plain: specInput(),
  privileged: specInput({
    security: { privileged: true, seccomp: { type: 'runtimeDefault' } },
    devices: [{ ...device, path: '/dev/null', access: 'rwm' }],
  }),
  'host-namespaces': specInput({
    namespaces: hostNamespaces,
    files: { hosts: '/p/hosts', hostname: '/p/hostname', resolvConf: '/p/resolv.conf', shm: '' },
    namespacePaths: { network: '', ipc: '', uts: '', pid: '' },
  }),
  'limits-v1': specInput({ resources: everyLimit }),
  'limits-v2': specInput({
    host: hostV2,
    resources: { ...everyLimit, memorySwapLimit: 128 << 20, unified: { 'memory.high': '1000000' } },
  }),
  mounts: specInput({
    security: { readonlyRootfs: true },
    mounts: [
      bound({ containerPath: '/data/inner/', hostPath: '/srv/inner', readonly: true }),
      bound({ containerPath: '/data', propagation: 'hostToContainer' }),
      bound({ containerPath: '/etc/hosts', hostPath: '/srv/hosts' }),
      bound({ containerPath: '/shared', propagation: 'bidirectional' }),
      bound({ containerPath: '/sealed', readonly: true, recursiveReadOnly: true }),
      bound({ containerPath: 'relative/../mapped', source: '/bundle/volumes/5' }),
      bound({ containerPath: '/model', image: 'localhost/model', source: '/bundle/volumes/6' }),
    ],
  }),
  'user-namespace': specInput({
    namespaces: { ...podNamespaces, network: 'node', user: userNamespace },
    namespacePaths: { network: '', ipc: '/proc/7/ns/ipc', uts: '', pid: '', user: '/proc/7/ns/user' },
  }),
  'every-process-field': specInput({
    host: { ...host, apparmor: true, selinux: true },
    apparmorProfile: 'berth-default',
    user: { uid: 1000, gid: 2000, additionalGids: [2000, 3000], home: '/home/app' },
    devices: [{ ...device, path: '/dev/zero', access: 'rw' }],
    container: {
      tty: true,
      args: ['--now'],
      workingDir: '/work//./dir/',
      envs: [
        { key: 'FLAVOR', value: 'own' },
        { key: 'LATER', value: 'a=b' },
      ],
    },
    security: {
      noNewPrivs: true,
      capabilities: { add: ['net_admin'], drop: ['CAP_CHOWN'], addAmbient: ['NET_BIND_SERVICE'] },
      selinux: { user: '', role: '', type: 'web_t', level: 's0:c1,c2' },
    },
  }),
};

for (const [name, input] of Object.entries(goldens)) {
  test(`config.json of ${name}`, () => assertGolden(name, buildSpec(input)));
}

test('equal inputs give equal bytes', () => {
  assert.equal(JSON.stringify(buildSpec(specInput())), JSON.stringify(buildSpec(specInput())));
});

const commands = [
  { name: 'image alone', command: [], args: [], expected: ['/entry', 'serve'] },
  { name: 'args replace cmd', command: [], args: ['x'], expected: ['/entry', 'x'] },
  { name: 'a command replaces both', command: ['sh'], args: [], expected: ['sh'] },
  { name: 'command and args', command: ['sh'], args: ['-c'], expected: ['sh', '-c'] },
];
for (const { name, command, args, expected } of commands) {
  test(`command line: ${name}`, () => {
    assert.deepEqual(buildSpec(specInput({ container: { command, args } })).process.args, expected);
  });
}

test('command line: an entrypoint of one empty word is none', () => {
  const args = (args: string[]) =>
    buildSpec(specInput({ image: { entrypoint: [''], cmd: ['serve'] }, container: { args } })).process.args;
  assert.deepEqual([args([]), args(['x', 'y'])], [['serve'], ['x', 'y']]);
});

const refused: { name: string; input: SpecInput; message: RegExp }[] = [
  { name: 'no command at all', input: specInput({ image: { entrypoint: [], cmd: [] } }), message: /no command/ },
  {
    name: 'NUL in an argument, which is not quoted',
    input: specInput({ container: { command: ['x'], args: ['s3cret\0b'] } }),
    message: /^Argument 1 holds a NUL/,
  },
  {
    name: 'a variable that is too long with its name; it is not quoted',
    input: specInput({ container: { envs: [{ key: 'PASSWORD', value: 's3cret'.padEnd(131070) }] } }),
    message: /^Environment variable "PASSWORD" has 131079 bytes/,
  },
  {
    name: 'NUL in a home',
    input: specInput({ user: { uid: 1, gid: 1, additionalGids: [], home: '/a\0' } }),
    message: /NUL/,
  },
  {
    name: 'an argument too long for execve',
    input: specInput({ container: { args: ['x'.repeat(131072)] } }),
    message: /131071/,
  },
  {
    name: 'a name with =',
    input: specInput({ container: { envs: [{ key: 'A=B', value: '' }] } }),
    message: /has no =/,
  },
  ...['/proc/self/fd/8', '/proc/./1/root', '//proc/thread-self//cwd', '/a/../proc/self/fd/8', 'proc/self/fd'].map(
    (workingDir) => ({
      name: `working directory ${workingDir}`,
      input: specInput({ image: { workingDir } }),
      message: /Working directory .* is refused/,
    }),
  ),
  {
    name: 'a mount on /',
    input: specInput({ mounts: [bound({ containerPath: '/a/..' })] }),
    message: /cover the root/,
  },
  {
    name: 'recursive read-only, writable',
    input: specInput({ mounts: [bound({ recursiveReadOnly: true })] }),
    message: /set readonly too/,
  },
  {
    name: 'recursive read-only with propagation',
    input: specInput({
      mounts: [bound({ readonly: true, recursiveReadOnly: true, propagation: 'hostToContainer' })],
    }),
    message: /only private/,
  },
  {
    name: 'unified without v2',
    input: specInput({ resources: { unified: { 'memory.high': '1' } } }),
    message: /needs cgroup v2/,
  },
  ...['../x.y', 'memory', 'a/b.c', '.max'].map((key) => ({
    name: `unified key ${key}`,
    input: specInput({ host: hostV2, resources: { unified: { [key]: '1' } } }),
    message: /not the name of a cgroup file/,
  })),
  {
    name: 'an SELinux type with a colon',
    input: specInput({
      host: { ...host, selinux: true },
      security: { selinux: { user: '', role: '', type: 'a:b', level: '' } },
    }),
    message: /SELinux type/,
  },
];
for (const { name, input, message } of refused) {
  test(`refused: ${name}`, () => assert.throws(() => buildSpec(input), { name: 'Fault', message }));
}

test('the default oom_score_adj clamps to what the daemon may set', () => {
  const score = (oomScoreAdj: number) => buildSpec(specInput({ resources: { oomScoreAdj } })).process.oomScoreAdj;
  assert.deepEqual([-998, -5, 0, 1000, 2000].map(score), [-5, -5, 0, 1000, 1000]);
});

test('annotations reach the runtime that the operator names by their keys, and never as what Berth says itself', () => {
  const own = { 'run.oci.handler': 'wasm', 'io.kubernetes.cri.sandbox-name': 'another' };
  const input = specInput({ container: { annotations: { 'vendor.com/gpu': '1', 'vendor.com/x/y': '2', other: '3' } } });
  const pod = { ...input.pod, annotations: own };
  const passed = { podAnnotations: ['run.oci.*', 'io.*/*', 'io.*'], containerAnnotations: ['vendor.com/*'] };
  const { annotations } = buildSpec({ ...input, pod, passed });
  const before = buildSpec({ ...input, pod }).annotations;
  assert.deepEqual(annotations, { ...before, 'run.oci.handler': 'wasm', 'vendor.com/gpu': '1' });
});

for (const [pattern, key, matches] of [
  ['a*c', 'abbc', true],
  ['a*c', 'ab/c', false],
  ['*', '', true],
  ['a?c', 'a/c', false],
  ['a?c*', 'abc', true],
  ['*b*b*', 'abbb', true],
  ['*.b', 'a.b.c', false],
  ['a', 'ab', false],
  ['*a*a*a*a*a*a*b', 'a'.repeat(317), false],
  ['a*', 'a'.repeat(317), true],
  ['a*', 'a'.repeat(318), false],
] as const) {
  test(`${pattern} ${matches ? 'matches' : 'does not match'} ${key.slice(0, 20)} of ${key.length}`, () =>
    assert.equal(matchesKey(key, pattern), matches));
}

test('annotations of a request never reach the runtime', () => {
  const keys = Object.keys(buildSpec(specInput()).annotations);
  assert.ok(
    keys.every((key) => key.startsWith('io.kubernetes.cri.')),
    keys.join(),
  );
});

test('a private cgroup namespace on v2, none when privileged', () => {
  const types = (privileged: boolean) =>
    buildSpec(specInput({ host: hostV2, security: { privileged } })).linux.namespaces.map(({ type }) => type);
  assert.ok(types(false).includes('cgroup'));
  assert.ok(!types(true).includes('cgroup'));
});

test("the host's cgroup2 is mounted anew only in a cgroup namespace of the container's own: else it would lose its options", () => {
  const cgroups = (host: SpecInput['host'], privileged: boolean) => {
    const { mounts, linux } = buildSpec(specInput({ host, security: { privileged } }));
    const { type, source, options } = mounts.find(({ destination }) => destination === '/sys/fs/cgroup')!;
    return [type, source, options.at(-1), linux.namespaces.some((each) => each.type === 'cgroup')];
  };
  assert.deepEqual(cgroups(hostV2, false), ['cgroup', 'cgroup', 'ro', true]);
  assert.deepEqual(cgroups(hostV2, true), ['bind', '/sys/fs/cgroup', 'rw', false]);
  assert.deepEqual(cgroups(host, true), ['cgroup', 'cgroup', 'rw', false]);
});

const modes = ['pod', 'container', 'node', 'target'] as const;
const pidPath = '/proc/7/ns/pid';
const pidNamespaces: Record<string, string | undefined> = {
  // pod's mode, container's mode: what the container gets
  'pod pod': pidPath,
  'pod container': 'new',
  'pod target': pidPath,
  'container pod': 'new',
  'container container': 'new',
  'container target': pidPath,
  'node pod': 'host',
  'node container': 'new',
  'node node': 'host',
  'node target': pidPath,
};
for (const podMode of ['pod', 'container', 'node'] as const) {
  for (const mode of modes) {
    const expected = pidNamespaces[`${podMode} ${mode}`];
    test(`PID namespace of ${mode} in a pod with ${podMode}: ${expected ?? 'refused'}`, () => {
      const input = specInput({
        namespaces: { ...podNamespaces, pid: podMode },
        security: { namespaces: { ...podNamespaces, pid: mode } },
        namespacePaths: { network: '', ipc: '', uts: '', pid: pidPath },
      });
      if (!expected) return assert.throws(() => buildSpec(input), { kind: 'InvalidArgument' });
      const found = buildSpec(input).linux.namespaces.find(({ type }) => type === 'pid');
      assert.equal(found ? (found.path ?? 'new') : 'host', expected);
    });
  }
}

test("network and IPC are the pod's, whatever the container says", () => {
  const input = specInput({
    namespaces: { ...hostNamespaces, pid: 'container' },
    security: { namespaces: podNamespaces },
    namespacePaths: { network: '', ipc: '', uts: '', pid: '' },
  });
  const types = buildSpec(input).linux.namespaces.map(({ type }) => type);
  assert.deepEqual(types, ['mount', 'pid']);
});
