import { readdirSync, readlinkSync } from 'node:fs';
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
  const links = pids.flatMap(descriptorsOf);
  const threads = pids.reduce(
    (sum, pid) => sum + Number(/^Threads:\s+(\d+)/m.exec(readText(`/proc/${pid}/status`) ?? '')?.[1] ?? 0),
    0,
  );
  const limits = pids.length > 0 ? (readText(`/proc/${Math.min(...pids)}/limits`) ?? '') : '';
  return {
    processes: pids.length,
    threads,
    descriptors: links.length,
    sockets: links.filter((isSocket) => isSocket).length,
    openFilesLimit: Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 0),
  };
}

/** One entry a descriptor: is it a socket? */
function descriptorsOf(pid: number): boolean[] {
  try {
    return readdirSync(`/proc/${pid}/fd`, { withFileTypes: true }).map((entry) =>
      linkIsSocket(`/proc/${pid}/fd/${entry.name}`),
    );
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH', 'EACCES')) return []; // it ended meanwhile
    throw error;
  }
}

function linkIsSocket(path: string): boolean {
  try {
    return readlinkSync(path).startsWith('socket:');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH', 'EACCES')) return false;
    throw error;
  }
}
