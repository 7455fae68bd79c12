import { readFileSync } from 'node:fs';
import { isErrno } from '../base/fault.ts';
import { pidsInOne } from './cgroups.ts';

/** Of a container with thousands of processes only so many are looked at, those with the highest pids. */
const mostLooks = 256;
/** USER_HZ, which /proc counts in on every architecture (proc(5)). */
const ticksPerSecond = 100;

/** The processes of a cgroup that began in the last `ms` milliseconds, as `pid (name)`. */
export async function youngProcesses(cgroup: string, ms: number): Promise<string[]> {
  const [uptime = ''] = readFileSync('/proc/uptime', 'utf8').split(' ');
  const since = (Number(uptime) - ms / 1000) * ticksPerSecond;
  const newest = (await pidsInOne(cgroup)).sort((a, b) => b - a);
  return newest.slice(0, mostLooks).flatMap((pid) => {
    const stat = readStat(pid);
    return stat && stat.startedAt >= since ? [`${pid} (${stat.name})`] : [];
  });
}

const exiting = 0x4; // PF_EXITING of the flags
const pendingKill = 1 << 8; // SIGKILL among the pending signals

/**
 * Null for one that has ended, or is about to. proc_pid_stat(5): the name may hold anything; field 3 is the state, 9 the flags,
 * 22 the start in ticks after boot, 31 the pending signals.
 */
function readStat(pid: number): { readonly name: string; readonly startedAt: number } | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [begin, end] = [text.indexOf('('), text.lastIndexOf(')')];
    const fields = text.slice(end + 2).split(' ');
    const ends = fields[0] === 'Z' || fields[0] === 'X' || (Number(fields[6]) & exiting) !== 0;
    if (ends || (Number(fields[28]) & pendingKill) !== 0) return null;
    return { name: text.slice(begin + 1, end), startedAt: Number(fields[19]) };
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return null;
    throw error;
  }
}
