import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno } from '../base/fault.ts';
import { reapKeeper } from '../sys/keepers.ts';

const firstLookMs = 2;
const rarestLookMs = 1000;

/**
 * Resolves when a keeper is no more, and has been reaped where it is our child. Its end is under way, so this takes a few
 * looks at most, unless it is stuck in the kernel; a zombie has ended, whoever is to reap it.
 */
export async function childGone(pid: number): Promise<void> {
  for (let ms = firstLookMs; await lives(pid); ms = Math.min(ms * 1.2, rarestLookMs))
    await sleep(ms, null, { ref: ms < 100 });
  reapKeeper(pid);
}

async function lives(pid: number): Promise<boolean> {
  const stat = await readStat(pid);
  const state = stat?.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
  return state !== undefined && state !== 'Z' && state !== 'X';
}

async function readStat(pid: number): Promise<string | null> {
  try {
    return await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return null;
    throw error;
  }
}
