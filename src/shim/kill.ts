import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { isErrno } from '../base/fault.ts';
import { childGone } from './gone.ts';

/**
 * Ends the shim of this folder by SIGKILL, for one that does not answer; its pause process goes with it. None counts as
 * ended. It is known by its command line, which names a folder that only root may make.
 */
export async function killShim(podDir: string): Promise<void> {
  const shims = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isShimOf(podDir, name));
  for (const pid of shims.map(Number)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (!isErrno(error, 'ESRCH')) throw error;
    }
    await childGone(pid);
  }
}

/** True if the process of this pid is the shim of this folder. */
export function isShimOf(podDir: string, pid: string): boolean {
  try {
    const [program = '', folder] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return basename(program).startsWith('berth-shim') && folder === podDir;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return false;
    throw error;
  }
}
