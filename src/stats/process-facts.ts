import { type Dir, opendirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno } from '../base/fault.ts';
import { type CgroupOptions, controllerFolder, pidsInOne } from '../sys/cgroups.ts';
import { readNumber, readText } from './read.ts';

/** What the processes of a cgroup hold. */
export type ProcessFacts = {
  readonly processes: number;
  readonly threads: number;
  readonly descriptors: number;
  readonly sockets: number;
  /** Soft limit of open files of its first process. */
  readonly openFilesLimit: number;
};

/** Costs a look into /proc for the processes of the cgroup, as far as they are looked at. */
export async function readProcessFacts(cgroup: string, options: CgroupOptions = {}): Promise<ProcessFacts> {
  const pids = await pidsInOne(cgroup, options);
  const { descriptors, sockets } = countDescriptors(pids);
  const first = pids.reduce((least, pid) => Math.min(least, pid), Infinity);
  const limits = readText(`/proc/${first}/limits`) ?? '';
  return {
    processes: pids.length,
    threads: tasksIn(cgroup, options) ?? countThreads(pids),
    descriptors,
    sockets,
    openFilesLimit: Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 0),
  };
}

/** The kernel's own count of threads (pids.rst); null where it keeps none. */
function tasksIn(cgroup: string, options: CgroupOptions): number | null {
  const folder = controllerFolder(cgroup, 'pids', options);
  return folder === null ? null : readNumber(join(folder, 'pids.current'));
}

/** At least so many: of those that are not looked at each counts as one. */
const countThreads = (pids: readonly number[]): number =>
  pids.slice(0, mostProcesses).reduce((sum, pid) => sum + threadsOf(pid), Math.max(0, pids.length - mostProcesses));

const threadsOf = (pid: number): number =>
  Number(/^Threads:\s+(\d+)/m.exec(readText(`/proc/${pid}/status`) ?? '')?.[1] ?? 0);

/** Processes that are looked at in one cgroup, some ten microseconds each. A container may have as many as the host has pids. */
const mostProcesses = 2048;
/** Descriptors that are looked at in one cgroup, some microseconds each. */
const mostLooks = 16_384;

/**
 * How many descriptors these processes have, and how many of them are sockets. A process may have millions, and share them
 * with thousands of others: beyond so many they are counted as the kernel counts them (Linux 6.2), or not at all, as are
 * those of further processes; there are then at least as many as this says.
 */
export function countDescriptors(pids: readonly number[]): { descriptors: number; sockets: number } {
  const sum = { descriptors: 0, sockets: 0 };
  let left = mostLooks;
  for (const pid of pids.slice(0, mostProcesses)) {
    const { looked, sockets } = look(pid, left);
    left -= looked;
    sum.sockets += sockets;
    sum.descriptors += left > 0 ? looked : Math.max(looked, numberOf(pid));
  }
  return sum;
}

/** proc_pid_fd(5): the size of the directory is the number of open files, or 0 before Linux 6.2. */
const numberOf = (pid: number): number =>
  unlessEnded(0, () => statSync(`/proc/${pid}/fd`, { throwIfNoEntry: false })?.size ?? 0);

function look(pid: number, most: number): { looked: number; sockets: number } {
  const seen = { looked: 0, sockets: 0 };
  if (most <= 0) return seen;
  return unlessEnded(seen, () => {
    using folder = opendirSync(`/proc/${pid}/fd`);
    for (let name = nextName(folder); name !== null && seen.looked < most; name = nextName(folder)) {
      seen.looked++;
      if (linkIsSocket(`/proc/${pid}/fd/${name}`)) seen.sockets++;
    }
    return seen;
  });
}

const nextName = (folder: Dir): string | null => folder.readSync()?.name ?? null;

const linkIsSocket = (path: string): boolean => unlessEnded(false, () => readlinkSync(path).startsWith('socket:'));

/** A process, or what it has open, may be gone by the time it is looked at. */
function unlessEnded<T>(otherwise: T, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH', 'EACCES')) return otherwise;
    throw error;
  }
}
