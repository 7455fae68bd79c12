import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno } from '../base/fault.ts';
import { reapKeeper } from '../sys/keepers.ts';

/**
 * Resolves when a shim is no more, and has been reaped where it is our child. Its end is under way, so this takes a few
 * looks at most; a zombie has ended, whoever is to reap it.
 */
export async function childGone(pid: number): Promise<void> {
  while (await lives(pid)) await sleep(2);
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
