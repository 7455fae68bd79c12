import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
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
 * and a look at its command line would wait for that. A container's process may call itself what it likes: what has pids of
 * its own is no shim, and nothing of its memory is read.
 */
export function isShimOf(podDir: string, pid: string): boolean {
  if (!unlessGone(() => readFileSync(`/proc/${pid}/comm`, 'utf8')).startsWith(name)) return false;
  if (pidsOf(pid) !== pidsOf('self')) return false;
  const [, folder] = unlessGone(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
  return folder === podDir;
}

/** Which PID namespace it is in. */
const pidsOf = (pid: string): string => unlessGone(() => readlinkSync(`/proc/${pid}/ns/pid`));

/** Empty for what is of a process that has ended. */
function unlessGone(read: () => string): string {
  try {
    return read();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return '';
    throw error;
  }
}
