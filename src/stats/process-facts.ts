import { type Dir, opendirSync, readlinkSync, statSync } from 'node:fs';
import { isErrno } from '../base/fault.ts';
import { pidsIn } from '../sys/cgroups.ts';
import { readText } from './read.ts';

/** What the processes of a cgroup hold. */
export type ProcessFacts = {
  readonly processes: number;
  readonly threads: number;
  readonly descriptors: number;
  readonly sockets: number;
  /** Soft limit of open files of its first process. */
  readonly openFilesLimit: number;
};

/** Costs a look into /proc for every process of the cgroup. */
export function readProcessFacts(cgroup: string): ProcessFacts {
  const pids = pidsIn(cgroup);
  const { descriptors, sockets } = countDescriptors(pids);
  const threads = pids.reduce(
    (sum, pid) => sum + Number(/^Threads:\s+(\d+)/m.exec(readText(`/proc/${pid}/status`) ?? '')?.[1] ?? 0),
    0,
  );
  const limits = pids.length > 0 ? (readText(`/proc/${Math.min(...pids)}/limits`) ?? '') : '';
  return {
    processes: pids.length,
    threads,
    descriptors,
    sockets,
    openFilesLimit: Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 0),
  };
}

/** Descriptors that are looked at in one cgroup, some microseconds each. */
const mostLooks = 16_384;

/**
 * How many descriptors these processes have, and how many of them are sockets. A process may have millions, and share them
 * with thousands of others: beyond so many they are counted as the kernel counts them (Linux 6.2), or not at all, and of
 * sockets there are then at least as many as this says.
 */
export function countDescriptors(pids: readonly number[]): { descriptors: number; sockets: number } {
  const sum = { descriptors: 0, sockets: 0 };
  let left = mostLooks;
  for (const pid of pids) {
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
