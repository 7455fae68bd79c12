import type { HostFacts } from '../base/host-facts.ts';
import type { OciResources } from './spec.ts';

/** Properties of a unit of systemd, as it calls them; all are 64-bit numbers. */
export type ScopeProperties = Readonly<Record<string, bigint>>;

/** What systemd takes for "no limit". */
const infinity = 2n ** 64n - 1n;
const propertyOf = {
  'memory.max': 'MemoryMax',
  'memory.high': 'MemoryHigh',
  'memory.low': 'MemoryLow',
  'memory.min': 'MemoryMin',
  'memory.swap.max': 'MemorySwapMax',
  'pids.max': 'TasksMax',
  'io.weight': 'IOWeight',
} as const;

/** Files of a scope that systemd writes too, at least in some of its versions, and that no version has a property for, or only a later one. */
const withoutProperty = ['cpu.idle', 'cpuset.cpus', 'cpuset.mems', 'memory.oom.group', 'memory.zswap.max'];

/**
 * The limits of a container as systemd is to know them on cgroup v2: at each reload, and each change of a property, it writes
 * all files of a scope anew, by what it knows. crun 1.8 tells it the weight of processors alone.
 */
export function scopeProperties(limits: OciResources, host: Pick<HostFacts, 'cgroupMode'>): ScopeProperties {
  if (host.cgroupMode !== 'v2') return {};
  const { memory: { limit = 0, swap = 0 } = {}, cpu: { quota = 0, period = 100_000 } = {}, unified = {} } = limits;
  const found: Record<string, bigint> = {};
  if (limit !== 0) found.MemoryMax = limited(limit);
  if (swap < 0) found.MemorySwapMax = infinity;
  else if (limit > 0 && swap >= limit) found.MemorySwapMax = BigInt(swap - limit);
  if (quota !== 0 && period > 0) {
    // Rounded up: systemd rounds down when it makes microseconds a period of it.
    const perSecond = Math.ceil((quota * 1_000_000) / period);
    found.CPUQuotaPerSecUSec = quota < 0 || perSecond >= 2 ** 63 ? infinity : BigInt(perSecond);
    found.CPUQuotaPeriodUSec = BigInt(period);
  }
  for (const [file, property] of Object.entries(propertyOf)) {
    const value = numberOf((unified[file] ?? '').replace(/^default /, ''));
    if (value !== null) found[property] = value;
  }
  return found;
}

const limited = (bytes: number): bigint => (bytes < 0 ? infinity : BigInt(bytes));

/** Of a cgroup's file; null for what the OCI runtime is to refuse, or to round, by itself. */
function numberOf(text: string): bigint | null {
  if (text === 'max') return infinity;
  return /^\d{1,19}$/.test(text) ? BigInt(text) : null;
}

/** The name of the scope that an OCI `cgroupsPath` of the systemd driver (`slice:prefix:name`) means; null for a path. */
export function scopeOf(cgroupsPath: string): string | null {
  const [, prefix, name] = /^[^:/]+\.slice:([^:/]+):([^:/]+)$/.exec(cgroupsPath) ?? [];
  return prefix === undefined ? null : `${prefix}-${name}.scope`;
}

/** By file, what a scope is to hold and systemd does not know of: who has changed the scope is to write it again. */
export function scopeFiles(
  { cpu: { cpus = '', mems = '' } = {}, unified = {} }: OciResources,
  host: Pick<HostFacts, 'cgroupMode'>,
): Readonly<Record<string, string>> {
  if (host.cgroupMode !== 'v2') return {};
  const wanted: Record<string, string> = { 'cpuset.cpus': cpus, 'cpuset.mems': mems, ...unified };
  return Object.fromEntries(withoutProperty.flatMap((file) => (wanted[file] ? [[file, wanted[file]]] : [])));
}

/**
 * By which crun and runc make the scope with them. Unless it is told, crun has the processes in a cgroup below the scope, where
 * cAdvisor (kubelet's own figures) does not count them, and reads no limits.
 */
export function scopeAnnotations(
  cgroupsPath: string,
  limits: OciResources,
  host: Pick<HostFacts, 'cgroupMode'>,
): Record<string, string> {
  if (scopeOf(cgroupsPath) === null || host.cgroupMode !== 'v2') return {};
  const properties = Object.entries(scopeProperties(limits, host));
  return {
    'run.oci.systemd.subgroup': '',
    ...Object.fromEntries(properties.map(([name, value]) => [`org.systemd.property.${name}`, `uint64 ${value}`])),
  };
}
