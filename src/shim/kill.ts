import { readdirSync, readFileSync } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { within } from '../base/deadline.ts';
import { isErrno, isFault } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { childGone } from './gone.ts';

const name = 'berth-shim';
/** How long one may take to end; beyond, it is stuck in the kernel: what it wrote to does not answer. */
const endMs = 2000;

/**
 * Ends the shim of this folder by SIGKILL, for one that does not answer; its pause process goes with it. None counts as
 * ended. It is known by its command line, which names a folder that only root may make. One that the kernel does not let
 * go is left behind: another may take its place in the folder.
 */
export async function killShim(podDir: string): Promise<void> {
  const shims = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && isShimOf(podDir, pid));
  for (const pid of shims.map(Number)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (!isErrno(error, 'ESRCH')) throw error;
    }
    await ended(podDir, pid);
  }
}

async function ended(podDir: string, pid: number): Promise<void> {
  try {
    await within(endMs, `The end of shim ${pid}`, childGone(pid));
  } catch (error) {
    if (!isFault(error, 'DeadlineExceeded')) throw error;
    log.warn(
      { pid, folder: podDir },
      'A shim is stuck in the kernel, as what it wrote to does not answer; it is left behind',
    );
    await withdraw(podDir);
  }
}

/** Its socket takes connections as long as it is there. */
async function withdraw(podDir: string): Promise<void> {
  try {
    await unlink(join(podDir, 'shim.sock'));
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}

/**
 * True if the process of this pid is the shim of this folder. Its name comes first: what is stuck may hold its memory locked,
 * and a look at its command line would wait for that.
 */
export function isShimOf(podDir: string, pid: string): boolean {
  if (!textOf(pid, 'comm').startsWith(name)) return false;
  const [, folder] = textOf(pid, 'cmdline').split('\0');
  return folder === podDir;
}

function textOf(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return '';
    throw error;
  }
}
