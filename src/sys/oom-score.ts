import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { isErrno } from '../base/fault.ts';
import { type CgroupOptions, pidsInOne } from './cgroups.ts';

/** What is forked meanwhile may still have the old score: looked for again, but not for ever. */
const mostRounds = 5;
/** Processes that are seen to in one turn of the event loop; a container may have any number. */
const aTurn = 128;

/**
 * Gives every process of the cgroup and below this oom_score_adj (proc(5)). A pid that a stranger got meanwhile is left alone.
 * @throws Error EACCES where lowering it takes CAP_SYS_RESOURCE.
 */
export async function setOomScore(cgroup: string, score: number, options: CgroupOptions = {}): Promise<void> {
  for (let round = 0; round < mostRounds; round++) {
    const pids = await pidsInOne(cgroup, options);
    let changed = false;
    for (let at = 0; at < pids.length; at += aTurn) {
      const others = pids.slice(at, at + aTurn).filter((pid) => scoreOf(pid) !== score);
      if (others.length > 0) await setScores(others, score, async () => new Set(await pidsInOne(cgroup, options)));
      changed ||= others.length > 0;
      await turn();
    }
    if (!changed) return;
  }
}

function scoreOf(pid: number): number | null {
  try {
    return Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'));
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return null;
    throw error;
  }
}

/** An open file is of one process, whoever has its pid later (ESRCH): so the cgroup is looked at, once, when all are open. */
async function setScores(
  pids: readonly number[],
  score: number,
  inCgroup: () => Promise<ReadonlySet<number>>,
): Promise<void> {
  const files: { readonly pid: number; readonly fd: number }[] = [];
  try {
    for (const pid of pids) unlessGone(() => files.push({ pid, fd: openSync(`/proc/${pid}/oom_score_adj`, 'w') }));
    const ours = await inCgroup();
    for (const { pid, fd } of files) if (ours.has(pid)) unlessGone(() => writeSync(fd, String(score)));
  } finally {
    for (const { fd } of files) closeSync(fd);
  }
}

function unlessGone(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ESRCH')) throw error;
  }
}
