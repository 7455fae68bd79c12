import { totalmem } from 'node:os';
import { join } from 'node:path';
import { type CgroupOptions, controllerFolder } from '../sys/cgroups.ts';
import { type Psi, readPsi } from './pressure.ts';
import { readNumber, readTable } from './read.ts';

/** What a cgroup used until now; null where this host does not account for it. Sizes in bytes, times in nanoseconds. */
export type CgroupUsage = {
  readonly cpu: {
    readonly total: number;
    readonly user: number;
    readonly system: number;
    readonly psi: Psi | null;
  } | null;
  readonly throttling: { readonly periods: number; readonly throttled: number; readonly throttledTime: number };
  readonly memory: MemoryUsage | null;
  readonly io: { readonly psi: Psi | null } | null;
  readonly processes: number | null;
};

export type MemoryUsage = {
  readonly usage: number;
  readonly workingSet: number;
  /** Until the limit; 0 when there is none, as the peers report. */
  readonly available: number;
  readonly rss: number;
  readonly cache: number;
  readonly mappedFile: number;
  readonly kernel: number;
  readonly activeFile: number;
  readonly inactiveFile: number;
  readonly pageFaults: number;
  readonly majorPageFaults: number;
  readonly maxUsage: number;
  readonly failures: number;
  readonly oomKills: number;
  readonly swap: { readonly usage: number; readonly available: number } | null;
  readonly psi: Psi | null;
};

/** Reads each of the cgroup's files once. A cgroup that is gone has null everywhere. */
export function readCgroupUsage(path: string, options: CgroupOptions = {}): CgroupUsage {
  const folder = (controller: string) => controllerFolder(path, controller, options);
  const memory = folder('memory');
  const cpu = folder('cpu');
  const unified = memory !== null && readNumber(join(memory, 'memory.current')) !== null;
  const pids = folder('pids');
  const io = folder('io');
  return {
    cpu: readCpuV2(cpu) ?? readCpuV1(folder('cpuacct')),
    throttling: readThrottling(cpu),
    memory: memory === null ? null : unified ? readMemoryV2(memory) : readMemoryV1(memory),
    io: io === null ? null : { psi: readPsi(join(io, 'io.pressure')) },
    processes: pids === null ? null : readNumber(join(pids, 'pids.current')),
  };
}

function readCpuV2(folder: string | null): CgroupUsage['cpu'] {
  if (folder === null) return null;
  const stat = readTable(join(folder, 'cpu.stat'));
  const total = stat?.get('usage_usec');
  if (!stat || total === undefined) return null; // v1's cpu.stat has throttling alone
  const nanos = (key: string) => (stat.get(key) ?? 0) * 1000;
  return {
    total: total * 1000,
    user: nanos('user_usec'),
    system: nanos('system_usec'),
    psi: readPsi(join(folder, 'cpu.pressure')),
  };
}

function readCpuV1(folder: string | null): CgroupUsage['cpu'] {
  const total = folder === null ? null : readNumber(join(folder, 'cpuacct.usage'));
  if (folder === null || total === null) return null;
  const user = readNumber(join(folder, 'cpuacct.usage_user')) ?? 0;
  return { total, user, system: readNumber(join(folder, 'cpuacct.usage_sys')) ?? 0, psi: null };
}

function readThrottling(folder: string | null): CgroupUsage['throttling'] {
  const stat = folder === null ? null : readTable(join(folder, 'cpu.stat'));
  const of = (key: string) => stat?.get(key) ?? 0;
  return {
    periods: of('nr_periods'),
    throttled: of('nr_throttled'),
    throttledTime: stat?.has('throttled_usec') ? of('throttled_usec') * 1000 : of('throttled_time'),
  };
}

/** What remains of a limit; limits above the machine's memory are none. */
const remaining = (limit: number | null, used: number): number =>
  limit === null || limit >= totalmem() ? 0 : Math.max(limit - used, 0);

/** Kernel: cgroup-v2.rst, memory interface files. */
function readMemoryV2(folder: string): MemoryUsage {
  const number = (name: string) => readNumber(join(folder, name));
  const stat = readTable(join(folder, 'memory.stat'));
  const events = readTable(join(folder, 'memory.events'));
  const of = (key: string) => stat?.get(key) ?? 0;
  const usage = number('memory.current') ?? 0;
  const workingSet = Math.max(usage - of('inactive_file'), 0);
  const swap = number('memory.swap.current');
  return {
    usage,
    workingSet,
    available: remaining(number('memory.max'), workingSet),
    rss: of('anon'),
    cache: of('file'),
    mappedFile: of('file_mapped'),
    kernel: of('kernel') || of('kernel_stack') + of('slab'),
    activeFile: of('active_file'),
    inactiveFile: of('inactive_file'),
    pageFaults: of('pgfault'),
    majorPageFaults: of('pgmajfault'),
    maxUsage: number('memory.peak') ?? 0,
    failures: events?.get('max') ?? 0,
    oomKills: events?.get('oom_kill') ?? 0,
    swap: swap === null ? null : { usage: swap, available: remaining(number('memory.swap.max'), swap) },
    psi: readPsi(join(folder, 'memory.pressure')),
  };
}

/** Kernel: cgroup-v1/memory.rst; `total_` counts the cgroups below too, as v2 does. */
function readMemoryV1(folder: string): MemoryUsage | null {
  const number = (name: string) => readNumber(join(folder, `memory.${name}`));
  const stat = readTable(join(folder, 'memory.stat'));
  const usage = number('usage_in_bytes');
  if (!stat || usage === null) return null;
  const of = (key: string) => stat.get(`total_${key}`) ?? stat.get(key) ?? 0;
  const workingSet = Math.max(usage - of('inactive_file'), 0);
  const both = number('memsw.usage_in_bytes');
  const swapUsage = both === null ? of('swap') : Math.max(both - usage, 0);
  const limit = number('limit_in_bytes');
  const swapLimit = (number('memsw.limit_in_bytes') ?? 0) - (limit ?? 0);
  return {
    usage,
    workingSet,
    available: remaining(limit, workingSet),
    rss: of('rss'),
    cache: of('cache'),
    mappedFile: of('mapped_file'),
    kernel: number('kmem.usage_in_bytes') ?? 0,
    activeFile: of('active_file'),
    inactiveFile: of('inactive_file'),
    pageFaults: of('pgfault'),
    majorPageFaults: of('pgmajfault'),
    maxUsage: number('max_usage_in_bytes') ?? 0,
    failures: number('failcnt') ?? 0,
    oomKills: readTable(join(folder, 'memory.oom_control'))?.get('oom_kill') ?? 0,
    swap: both === null ? null : { usage: swapUsage, available: remaining(swapLimit, swapUsage) },
    psi: null,
  };
}
