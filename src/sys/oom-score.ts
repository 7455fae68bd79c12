import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { isErrno } from '../base/fault.ts';
import { pidsIn } from './cgroups.ts';

/** What is forked meanwhile may still have the old score: looked for again, but not for ever. */
const mostRounds = 5;

/**
 * Gives every process of the cgroup and below this oom_score_adj (proc(5)). A pid that a stranger got meanwhile is left alone.
 * @throws Error EACCES where lowering it takes CAP_SYS_RESOURCE.
 */
export function setOomScore(cgroup: string, score: number): void {
  for (let round = 0; round < mostRounds; round++) {
    const others = pidsIn(cgroup).filter((pid) => scoreOf(pid) !== score);
    if (others.length === 0) return;
    for (const pid of others) setScoreOf(pid, score, () => pidsIn(cgroup).includes(pid));
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

/** The open file is of one process, whoever has its pid later (ESRCH). */
function setScoreOf(pid: number, score: number, isOurs: () => boolean): void {
  let file = -1;
  try {
    file = openSync(`/proc/${pid}/oom_score_adj`, 'w');
    if (isOurs()) writeSync(file, String(score));
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ESRCH')) throw error;
  } finally {
    if (file >= 0) closeSync(file);
  }
}
