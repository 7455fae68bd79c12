import assert from 'node:assert/strict';
import test from 'node:test';
import { defaultCapabilities, type OciSeccomp, parseSeccompProfile } from '../../../src/oci/index.ts';
import { defaultSeccomp, resolveSeccomp } from '../../../src/oci/seccomp.ts';
import { assertGolden } from './golden.ts';
import { host, security } from './inputs.ts';

const localhost: OciSeccomp = { defaultAction: 'SCMP_ACT_ALLOW' };
const resolved = (seccomp: typeof security.seccomp, changes: object = {}, profile: OciSeccomp | null = null) =>
  resolveSeccomp({ ...security, seccomp, ...changes }, profile, host);

test('no filter: unset, unconfined, privileged', () => {
  assert.equal(resolved(null), null);
  assert.equal(resolved({ type: 'unconfined' }), null);
  assert.equal(resolved({ type: 'runtimeDefault' }, { privileged: true }), null);
});

test('a localhost profile is used as it is', () => {
  assert.equal(resolved({ type: 'localhost', ref: '/p' }, {}, localhost), localhost);
  assert.throws(() => resolved({ type: 'localhost', ref: '/p' }), { message: /was not read/ });
});

test('without seccomp in the kernel the default is none and a named one is refused', () => {
  const without = { ...host, seccomp: false };
  assert.equal(resolveSeccomp({ ...security, seccomp: { type: 'runtimeDefault' } }, null, without), null);
  const named = { ...security, seccomp: { type: 'localhost', ref: '/p' } as const };
  assert.throws(() => resolveSeccomp(named, localhost, without), { kind: 'FailedPrecondition' });
});

test('the default profile', () => assertGolden('seccomp', defaultSeccomp(defaultCapabilities, host)));

const allowedNames = (capabilities: readonly string[]) =>
  new Set(
    defaultSeccomp(capabilities, host).syscalls!.flatMap(({ names, action, args }) =>
      action === 'SCMP_ACT_ALLOW' && !args ? names : [],
    ),
  );

test('what nobody needs is in no profile', () => {
  const never =
    'keyctl add_key request_key userfaultfd io_uring_setup io_uring_enter io_uring_register kexec_load'.split(' ');
  for (const name of [
    ...never,
    'kexec_file_load',
    'swapon',
    'swapoff',
    'nfsservctl',
    'socket',
    'personality',
    'socketcall',
  ]) {
    assert.ok(!allowedNames(host.capabilities).has(name), name);
  }
});

const conditional: [call: string, capability: string][] = [
  ['mount', 'CAP_SYS_ADMIN'],
  ['unshare', 'CAP_SYS_ADMIN'],
  ['setns', 'CAP_SYS_ADMIN'],
  ['clone3', 'CAP_SYS_ADMIN'],
  ['bpf', 'CAP_BPF'],
  ['perf_event_open', 'CAP_PERFMON'],
  ['init_module', 'CAP_SYS_MODULE'],
  ['open_by_handle_at', 'CAP_DAC_READ_SEARCH'],
  ['reboot', 'CAP_SYS_BOOT'],
  ['clock_settime', 'CAP_SYS_TIME'],
  ['syslog', 'CAP_SYSLOG'],
];
for (const [call, capability] of conditional) {
  test(`${call} needs ${capability}`, () => {
    assert.ok(!allowedNames(defaultCapabilities).has(call));
    assert.ok(allowedNames([...defaultCapabilities, capability]).has(call));
  });
}

test('clone3 is absent, clone makes no namespaces, unless the container may anyway', () => {
  const rules = (capabilities: readonly string[], name: string) =>
    defaultSeccomp(capabilities, host).syscalls!.filter(({ names }) => names.includes(name));
  assert.deepEqual(rules(defaultCapabilities, 'clone3'), [
    { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 },
  ]);
  assert.equal(rules(defaultCapabilities, 'clone')[0]!.args![0]!.value, 0x7e020000);
  assert.equal(rules(host.capabilities, 'clone')[0]!.args, undefined);
});

test('ptrace waits for Linux 4.8', () => {
  const has = (kernel: [number, number]) =>
    JSON.stringify(defaultSeccomp([], { ...host, kernel })).includes('"ptrace"');
  assert.deepEqual([has([3, 19]), has([4, 7]), has([4, 8]), has([5, 0])], [false, false, true, true]);
});

test('a localhost profile is read field by field', () => {
  const text = JSON.stringify({
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 38,
    architectures: ['SCMP_ARCH_X86_64'],
    listenerPath: '/run/x',
    syscalls: [
      { names: ['sethostname'], action: 'SCMP_ACT_ALLOW', comment: 'x', args: null },
      { names: ['clone'], action: 'SCMP_ACT_LOG', args: [{ index: 0, value: 5, valueTwo: 0, op: 'SCMP_CMP_EQ' }] },
    ],
  });
  assert.deepEqual(parseSeccompProfile('/p', text), {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: 38,
    architectures: ['SCMP_ARCH_X86_64'],
    syscalls: [
      { names: ['sethostname'], action: 'SCMP_ACT_ALLOW' },
      { names: ['clone'], action: 'SCMP_ACT_LOG', args: [{ index: 0, value: 5, valueTwo: 0, op: 'SCMP_CMP_EQ' }] },
    ],
  });
});

const rule = (changes: object) => ({ syscalls: [{ names: ['a'], action: 'SCMP_ACT_ALLOW', ...changes }] });
const broken: [name: string, profile: unknown, message: RegExp][] = [
  ['a list', [], /must be an object/],
  ['no default action', { defaultAction: undefined }, /defaultAction must be one of/],
  ['an unknown action', { defaultAction: 'ALLOW' }, /defaultAction/],
  ['a listener', { defaultAction: 'SCMP_ACT_NOTIFY' }, /defaultAction/],
  ['calls that are no list', { syscalls: {} }, /syscalls must be a list/],
  ['too many rules', { syscalls: Array(5000).fill({}) }, /at most 4096/],
  ['a name that is no text', rule({ names: [1] }), /syscalls\[0\]\.names/],
  ['an unknown operator', rule({ args: [{ index: 0, value: 0, op: 'EQ' }] }), /args\[0\]\.op/],
  ['a number beyond 2^53', rule({ args: [{ index: 0, value: 2 ** 60, op: 'SCMP_CMP_EQ' }] }), /2\^53/],
  ['a negative errno', rule({ errnoRet: -1 }), /errnoRet/],
];
for (const [name, profile, message] of broken) {
  test(`refused profile: ${name}`, () => {
    const text = JSON.stringify(
      Array.isArray(profile) ? profile : { defaultAction: 'SCMP_ACT_ALLOW', ...(profile as object) },
    );
    assert.throws(() => parseSeccompProfile('/p', text), { kind: 'InvalidArgument', message });
  });
}

test('refused profile: not JSON', () =>
  assert.throws(() => parseSeccompProfile('/p', '{'), { message: /"\/p": it is no JSON: expected property name/ }));
