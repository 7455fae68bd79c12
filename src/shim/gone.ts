import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno } from '../base/fault.ts';

/**
 * Resolves when this process has ended. It is not our child and its connection has just closed, so this takes a few
 * looks at most; a zombie has ended, whoever is to reap it.
 */
export async function processGone(pid: number): Promise<void> {
  for (;;) {
    const stat = await readStat(pid);
    const state = stat?.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    if (state === undefined || state === 'Z' || state === 'X') return;
    await sleep(2);
  }
}

async function readStat(pid: number): Promise<string | null> {
  try {
    return await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return null;
    throw error;
  }
}
