import { invalidArgument } from '../base/fault.ts';
import type { HostFacts } from '../base/host-facts.ts';
import type { Resources } from '../model/config.ts';
import type { OciResources } from './spec.ts';

/** Files of a v2 cgroup are `controller.name`; a slash would leave the container's cgroup. */
const unifiedKey = /^[a-z][a-z0-9_]*(\.[a-z0-9_-]+)+$/i;
const longestValue = 4096;

/**
 * The limits of `linux.resources` that a request sets, for this host's cgroups; also the body of an update. What the
 * request leaves at 0 or empty is left out. Controllers that the host lacks are passed over where kubelet sends their
 * limits unasked (hugetlb, swap). InvalidArgument for unified entries without cgroup v2, or with a bad key.
 */
export function buildResources(request: Resources, host: HostFacts): OciResources {
  const result: OciResources = {};
  const memory = memoryOf(request, host);
  const cpu = withoutUnset({
    shares: request.cpuShares,
    quota: request.cpuQuota,
    period: request.cpuPeriod,
    cpus: request.cpusetCpus,
    mems: request.cpusetMems,
  });
  if (Object.keys(memory).length > 0) result.memory = memory;
  if (Object.keys(cpu).length > 0) result.cpu = cpu;
  const hugepages = hugepagesOf(request, host);
  if (hugepages.length > 0) result.hugepageLimits = hugepages;
  const unified = unifiedOf(request, host);
  if (Object.keys(unified).length > 0) result.unified = unified;
  return result;
}

/** memory+swap equals memory unless the request says otherwise: a limit is a limit, not a reason to swap. */
function memoryOf({ memoryLimit, memorySwapLimit }: Resources, host: HostFacts): { limit?: number; swap?: number } {
  const swap = host.swapAccounting ? memorySwapLimit || memoryLimit : 0;
  return withoutUnset({ limit: memoryLimit, swap });
}

function hugepagesOf({ hugepageLimits }: Resources, host: HostFacts): { pageSize: string; limit: number }[] {
  if (!host.controllers.includes('hugetlb')) return [];
  return hugepageLimits
    .filter(({ pageSize, limit }) => limit > 0 || host.hugepageSizes.includes(pageSize))
    .map(({ pageSize, limit }) => ({ pageSize, limit }));
}

function unifiedOf({ unified }: Resources, host: HostFacts): Record<string, string> {
  const entries = Object.entries(unified);
  if (entries.length > 0 && host.cgroupMode !== 'v2') {
    throw invalidArgument(
      `Resource ${JSON.stringify(entries[0]![0])} in unified needs cgroup v2: this host has ${host.cgroupMode}`,
    );
  }
  for (const [key, value] of entries) {
    if (!unifiedKey.test(key) || value.length > longestValue || value.includes('\0')) {
      throw invalidArgument(`Resource ${JSON.stringify(key.slice(0, 64))} in unified is not the name of a cgroup file`);
    }
  }
  return Object.fromEntries(entries);
}

function withoutUnset<T extends Record<string, number | string>>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== 0 && value !== '')) as Partial<T>;
}
