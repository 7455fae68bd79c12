import { failedPrecondition, invalidArgument, messageOf } from '../base/fault.ts';
import type { HostFacts } from '../base/host-facts.ts';
import { isObject } from '../base/json.ts';
import { jsonOf } from '../base/parse.ts';
import type { ContainerSecurity } from '../model/config.ts';
import { resolveCapabilities } from './capabilities.ts';
import {
  absentCalls,
  allowedCalls,
  architecturesOf,
  argumentRules,
  callsByCapability,
  cloneWithoutNamespaces,
  ptraceCalls,
  ptraceSince,
  refusedRules,
} from './seccomp-default.ts';
import type { OciSeccomp, SeccompArg, SeccompRule } from './spec.ts';

const EPERM = 1;
const ENOSYS = 38;
const allow = 'SCMP_ACT_ALLOW';

/**
 * The filter of a container, or null for none: privileged, unconfined, unset (CRI: no profile means unconfined), and the
 * default on a kernel without seccomp. FailedPrecondition for a localhost profile on such a kernel.
 */
export function resolveSeccomp(
  security: ContainerSecurity,
  localhost: OciSeccomp | null,
  host: HostFacts,
  unasked?: readonly string[],
): OciSeccomp | null {
  const choice = security.seccomp;
  if (security.privileged || choice === null || choice.type === 'unconfined') return null;
  if (choice.type === 'localhost') {
    if (!host.seccomp) throw failedPrecondition(`Seccomp profile ${quote(choice.ref)}: this kernel has no seccomp`);
    if (!localhost) throw failedPrecondition(`Seccomp profile ${quote(choice.ref)} was not read`);
    return localhost;
  }
  if (!host.seccomp) return null;
  return defaultSeccomp(resolveCapabilities(security, host.capabilities, unasked).bounding, host);
}

/** RuntimeDefault for a container with these capabilities: groups that they open are settled here, not in the kernel. */
export function defaultSeccomp(capabilities: readonly string[], host: HostFacts): OciSeccomp {
  const names = new Set(allowedCalls);
  for (const capability of capabilities) for (const name of callsByCapability[capability] ?? []) names.add(name);
  if (atLeast(host.kernel, ptraceSince)) for (const name of ptraceCalls) names.add(name);
  const mayMakeNamespaces = capabilities.includes('CAP_SYS_ADMIN');
  const conditional = mayMakeNamespaces ? argumentRules : [...argumentRules, cloneWithoutNamespaces];
  const absent = { names: [...absentCalls], action: 'SCMP_ACT_ERRNO', errnoRet: ENOSYS };
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: EPERM,
    architectures: [...(architecturesOf[host.architecture] ?? [])],
    syscalls: [
      ...refusedRules.map((rule) => ({ ...absent, names: [...rule.names], args: [...rule.args] })),
      { names: [...names].sort(), action: allow },
      ...conditional.map((rule) => ({ names: [...rule.names], action: allow, args: [...rule.args] })),
      ...(mayMakeNamespaces ? [] : [absent]),
    ],
  };
}

const atLeast = (a: readonly [number, number], b: readonly [number, number]) =>
  a[0] > b[0] || (a[0] === b[0] && a[1] >= b[1]);

// What runc and crun of the supported versions understand (config-linux.md, seccomp). Profiles that notify a
// listener are left out: nothing of Berth would answer, and the container would hang.
const actions = 'KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG'.split(' ').map((name) => `SCMP_ACT_${name}`);
const operators = 'NE LT LE EQ GE GT MASKED_EQ'.split(' ').map((name) => `SCMP_CMP_${name}`);
const mostRules = 4096;
const mostNames = 4096;

/**
 * Checks the text of a localhost profile (JSON, as the `seccomp` of config.json). Fields that OCI does not define are
 * dropped. InvalidArgument says which field is wrong.
 */
export function parseSeccompProfile(name: string, text: string): OciSeccomp {
  const fail = (why: string) => invalidArgument(`Seccomp profile ${quote(name)}: ${why}`);
  let value: unknown;
  try {
    value = jsonOf(text);
  } catch (error) {
    throw fail(messageOf(error));
  }
  const check = reader(fail);
  const profile = check.object(value, 'the profile');
  const syscalls = check.list(profile.syscalls ?? [], 'syscalls', mostRules);
  return {
    defaultAction: check.oneOf(profile.defaultAction, actions, 'defaultAction'),
    ...optional('defaultErrnoRet', profile.defaultErrnoRet, (each) => check.count(each, 'defaultErrnoRet')),
    ...optional('architectures', profile.architectures, (each) => check.strings(each, 'architectures')),
    ...optional('flags', profile.flags, (each) => check.strings(each, 'flags')),
    syscalls: syscalls.map((each, index) => parseRule(each, `syscalls[${index}]`, check)),
  };
}

function parseRule(value: unknown, at: string, check: Reader): SeccompRule {
  const rule = check.object(value, at);
  return {
    names: check.strings(rule.names, `${at}.names`),
    action: check.oneOf(rule.action, actions, `${at}.action`),
    ...optional('errnoRet', rule.errnoRet, (each) => check.count(each, `${at}.errnoRet`)),
    ...optional('args', rule.args, (each) =>
      check.list(each, `${at}.args`, 6).map((arg, index) => parseArg(arg, `${at}.args[${index}]`, check)),
    ),
  };
}

function parseArg(value: unknown, at: string, check: Reader): SeccompArg {
  const arg = check.object(value, at);
  return {
    index: check.count(arg.index, `${at}.index`),
    value: check.count(arg.value, `${at}.value`),
    ...optional('valueTwo', arg.valueTwo, (each) => check.count(each, `${at}.valueTwo`)),
    op: check.oneOf(arg.op, operators, `${at}.op`),
  };
}

/** JSON's null counts as absent, as it does for the OCI runtimes. */
function optional<K extends string, T>(key: K, value: unknown, parse: (value: unknown) => T): { [P in K]?: T } {
  return value === undefined || value === null ? {} : ({ [key]: parse(value) } as { [P in K]?: T });
}

type Reader = ReturnType<typeof reader>;

function reader(fail: (why: string) => Error) {
  const list = (value: unknown, at: string, most: number): unknown[] => {
    if (!Array.isArray(value) || value.length > most) throw fail(`${at} must be a list of at most ${most}`);
    return value;
  };
  return {
    list,
    object(value: unknown, at: string): Record<string, unknown> {
      if (isObject(value)) return value;
      throw fail(`${at} must be an object`);
    },
    strings(value: unknown, at: string): string[] {
      return list(value, at, mostNames).map((each) => {
        if (typeof each === 'string' && each !== '' && each.length <= 64) return each;
        throw fail(`${at} must hold names of 1 to 64 characters`);
      });
    },
    oneOf(value: unknown, choices: readonly string[], at: string): string {
      if (typeof value === 'string' && choices.includes(value)) return value;
      throw fail(`${at} must be one of ${choices.join(', ')}`);
    },
    /** Numbers above 2^53 lose bits in JSON.parse and would mean another filter: refused. */
    count(value: unknown, at: string): number {
      if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
      throw fail(`${at} must be a whole number from 0 to 2^53-1`);
    },
  };
}

const quote = (text: string) => JSON.stringify(text.slice(0, 200));
