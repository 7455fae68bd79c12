import type { HostFacts } from '../base/host-facts.ts';
import type { OciResources } from './spec.ts';

/** Properties of a unit of systemd, as it calls them; all are 64-bit numbers. */
export type ScopeProperties = Readonly<Record<string, bigint>>;

/** What systemd takes for "no limit". */
const infinity = 2n ** 64n - 1n;
const memoryFiles = {
  'memory.max': 'MemoryMax',
  'memory.high': 'MemoryHigh',
  'memory.low': 'MemoryLow',
  'memory.min': 'MemoryMin',
  'memory.swap.max': 'MemorySwapMax',
} as const;

/**
 * The limits of a container as its scope is to have them on cgroup v2. crun sets them in a cgroup below the scope alone, where systemd
 * leaves them be; but what is protected there (`memory.low`) counts only as far as the scope protects it, and cAdvisor
 * reads the limits of a container from its scope. What systemd itself is told outlives its next reload.
 */
export function scopeProperties(limits: OciResources, host: Pick<HostFacts, 'cgroupMode'>): ScopeProperties {
  if (host.cgroupMode !== 'v2') return {};
  const { memory: { limit = 0, swap = 0 } = {}, cpu: { quota = 0, period = 100_000 } = {}, unified = {} } = limits;
  const found: Record<string, bigint> = {};
  if (limit !== 0) found.MemoryMax = limited(limit);
  if (swap < 0) found.MemorySwapMax = infinity;
  else if (limit > 0 && swap >= limit) found.MemorySwapMax = BigInt(swap - limit);
  if (quota !== 0 && period > 0) {
    // Rounded up: the cgroup below, which has it to the microsecond, is to be the narrower one.
    const perSecond = Math.ceil((quota * 1_000_000) / period);
    found.CPUQuotaPerSecUSec = quota < 0 || perSecond >= 2 ** 63 ? infinity : BigInt(perSecond);
    found.CPUQuotaPeriodUSec = BigInt(period);
  }
  for (const [file, property] of Object.entries(memoryFiles)) {
    const value = numberOf(unified[file] ?? '');
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

/** By which crun and runc make the scope with them. */
export function scopeAnnotations(
  cgroupsPath: string,
  limits: OciResources,
  host: Pick<HostFacts, 'cgroupMode'>,
): Record<string, string> {
  if (scopeOf(cgroupsPath) === null) return {};
  const properties = Object.entries(scopeProperties(limits, host));
  return Object.fromEntries(properties.map(([name, value]) => [`org.systemd.property.${name}`, `uint64 ${value}`]));
}
