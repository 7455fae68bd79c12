import type * as cri from '../api/runtime/v1/cri.ts';
import { invalidArgument } from '../base/fault.ts';
import type {
  IdMapping,
  NamespaceMode,
  Namespaces,
  Resources,
  SecurityProfile,
  SeLinuxOptions,
  UserNamespace,
} from '../model/config.ts';
import { choice, integer, line, stringMap, text } from './check.ts';

const namespaceModes: Record<number, NamespaceMode> = { 0: 'pod', 1: 'container', 2: 'node', 3: 'target' };
const userModes: Record<number, UserNamespace['mode']> = { 0: 'pod', 2: 'node' };
/** Kernel: uid_t is 32 bits and its last value means "none". */
const maxId = 2 ** 32 - 2;

const supplementalGroupsPolicies = { 0: 'merge', 1: 'strict' } as const;

export function idMappings(field: string, mappings: readonly cri.IDMapping[]): IdMapping[] {
  for (const { hostId, containerId, length } of mappings) {
    if (length === 0) throw invalidArgument(`${field}: length must not be 0`);
    if (hostId + length - 1 > maxId || containerId + length - 1 > maxId) {
      throw invalidArgument(`${field}: ${containerId}:${hostId}:${length} passes the largest id, ${maxId}`);
    }
  }
  return mappings.map(({ hostId, containerId, length }) => ({ hostId, containerId, length }));
}

export function namespaces(field: string, options: cri.NamespaceOption | undefined): Namespaces {
  if (!options) return { network: 'pod', pid: 'pod', ipc: 'pod', targetId: '', user: null };
  const user = options.usernsOptions;
  const decoded: Namespaces = {
    network: choice(`${field}.network`, namespaceModes, options.network),
    pid: choice(`${field}.pid`, namespaceModes, options.pid),
    ipc: choice(`${field}.ipc`, namespaceModes, options.ipc),
    targetId: line(`${field}.target_id`, options.targetId),
    user: user
      ? {
          mode: choice(`${field}.userns_options.mode`, userModes, user.mode),
          uids: idMappings(`${field}.userns_options.uids`, user.uids),
          gids: idMappings(`${field}.userns_options.gids`, user.gids),
        }
      : null,
  };
  for (const key of ['network', 'ipc'] as const) {
    if (decoded[key] === 'container' || decoded[key] === 'target') {
      throw invalidArgument(
        `${field}.${key} = ${decoded[key]}: it is shared by the pod, only POD and NODE are possible`,
      );
    }
  }
  if (decoded.pid === 'target' && decoded.targetId === '') throw invalidArgument(`${field}.target_id is empty`);
  return decoded;
}

export function selinux(field: string, options: cri.SELinuxOption | undefined): SeLinuxOptions | null {
  if (!options) return null;
  const { user, role, type, level } = options;
  for (const [key, value] of Object.entries({ user, role, type, level })) line(`${field}.${key}`, value);
  return { user, role, type, level };
}

/** A user or group id; undefined stays null. */
function optionalId(field: string, value: cri.Int64Value | undefined): number | null {
  return value === undefined ? null : userId(field, value.value);
}

function userId(field: string, value: bigint): number {
  if (value < 0n || value > BigInt(maxId)) throw invalidArgument(`${field} = ${value} is not between 0 and ${maxId}`);
  return Number(value);
}

/** The structured profile, else the deprecated string: "", runtime/default, docker/default, unconfined, localhost/REF. */
export function securityProfile(
  field: string,
  profile: cri.SecurityProfile | undefined,
  old: string,
): SecurityProfile | null {
  if (!profile) return deprecatedProfile(field, old);
  const type = choice(`${field}.profile_type`, profileTypes, profile.profileType);
  if (type !== 'localhost') return { type };
  const ref = line(`${field}.localhost_ref`, profile.localhostRef);
  if (ref === '') throw invalidArgument(`${field}.localhost_ref is empty`);
  return { type, ref };
}

const profileTypes = { 0: 'runtimeDefault', 1: 'unconfined', 2: 'localhost' } as const;

function deprecatedProfile(field: string, old: string): SecurityProfile | null {
  if (old === '') return null;
  if (old === 'runtime/default' || old === 'docker/default') return { type: 'runtimeDefault' };
  if (old === 'unconfined') return { type: 'unconfined' };
  if (old.startsWith('localhost/')) return { type: 'localhost', ref: line(field, old.slice('localhost/'.length)) };
  throw invalidArgument(`${field} = ${JSON.stringify(old)} is not runtime/default, unconfined or localhost/NAME`);
}

export function resources(field: string, given: cri.LinuxContainerResources | undefined): Resources {
  const of = (key: string, value: bigint | undefined, min = 0) => integer(`${field}.${key}`, value ?? 0n, min);
  const oomScoreAdj = of('oom_score_adj', given?.oomScoreAdj, -1000);
  if (oomScoreAdj > 1000) throw invalidArgument(`${field}.oom_score_adj = ${oomScoreAdj} must be at most 1000`);
  return {
    cpuPeriod: of('cpu_period', given?.cpuPeriod),
    cpuQuota: of('cpu_quota', given?.cpuQuota, -1),
    cpuShares: of('cpu_shares', given?.cpuShares),
    memoryLimit: of('memory_limit_in_bytes', given?.memoryLimitInBytes, -1),
    oomScoreAdj,
    cpusetCpus: line(`${field}.cpuset_cpus`, given?.cpusetCpus ?? ''),
    cpusetMems: line(`${field}.cpuset_mems`, given?.cpusetMems ?? ''),
    hugepageLimits: (given?.hugepageLimits ?? []).map(({ pageSize, limit }) => ({
      pageSize: hugepageSize(`${field}.hugepage_limits.page_size`, pageSize),
      limit: integer(`${field}.hugepage_limits.limit`, limit, 0),
    })),
    unified: stringMap(`${field}.unified`, given?.unified ?? {}),
    memorySwapLimit: of('memory_swap_limit_in_bytes', given?.memorySwapLimitInBytes, -1),
  };
}

/** As the hugetlb controller names sizes. It becomes a part of a file's name. */
function hugepageSize(field: string, value: string): string {
  if (/^[1-9]\d{0,9}[KMG]B$/.test(value)) return value;
  throw invalidArgument(`${field}: ${JSON.stringify(value.slice(0, 200))} is no size like 2MB or 1GB`);
}

/** Texts of a list, each a C string. */
export const texts = (field: string, values: readonly string[]): string[] =>
  values.map((value, index) => text(`${field}[${index}]`, value, 128 * 1024)); // kernel: MAX_ARG_STRLEN

type SecurityContext = cri.LinuxSandboxSecurityContext | cri.LinuxContainerSecurityContext;

/** What pods and containers say of their security in the same words. */
export const commonSecurity = (field: string, context: SecurityContext | undefined) => ({
  namespaces: namespaces(`${field}.namespace_options`, context?.namespaceOptions),
  selinux: selinux(`${field}.selinux_options`, context?.selinuxOptions),
  runAsUser: optionalId(`${field}.run_as_user`, context?.runAsUser),
  runAsGroup: optionalId(`${field}.run_as_group`, context?.runAsGroup),
  readonlyRootfs: context?.readonlyRootfs ?? false,
  supplementalGroups: (context?.supplementalGroups ?? []).map((gid) => userId(`${field}.supplemental_groups`, gid)),
  supplementalGroupsPolicy: choice(
    `${field}.supplemental_groups_policy`,
    supplementalGroupsPolicies,
    context?.supplementalGroupsPolicy ?? 0,
  ),
  privileged: context?.privileged ?? false,
  seccomp: securityProfile(`${field}.seccomp`, context?.seccomp, context?.seccompProfilePath ?? ''),
});
