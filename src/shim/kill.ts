import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { within } from '../base/deadline.ts';
import { isErrno, isFault } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { removeFile } from '../sys/write-file.ts';
import { childGone } from './gone.ts';

const name = 'berth-shim';
/** How long one may take to end; beyond, it is stuck in the kernel: what it wrote to does not answer. */
const endMs = 2000;

/**
 * Ends the shim of this folder by SIGKILL, for one that does not answer; its pause process goes with it. None counts as
 * ended. It is root's, on the host, and known by its command line, which names a folder that only root may make. One that the
 * kernel does not let go is left behind: another may take its place in the folder.
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
    await removeFile(join(podDir, 'shim.sock')); // it takes connections as long as it is there
  }
}

/**
 * True if the process of this pid is the shim of this folder. Its name comes first: what is stuck may hold its memory locked,
 * and a look at its command line would wait for that. Others may call themselves what they like, and have in the place of a
 * command line what never answers: of what is not root's, or has pids or mounts of its own, as containers have, nothing of
 * its memory is read.
 */
export function isShimOf(podDir: string, pid: string): boolean {
  if (!of(pid, 'comm').startsWith(name)) return false;
  if (!/^Uid:(\t0){4}$/m.test(of(pid, 'status')) || !isOfTheHost(pid)) return false;
  const [, folder] = of(pid, 'cmdline').split('\0');
  return folder === podDir;
}

/** As this process is; a daemon before may have had other mounts, those of the host. */
const isOfTheHost = (pid: string): boolean =>
  namespaceOf(pid, 'pid') === namespaceOf('self', 'pid') &&
  ['self', '1'].some((other) => namespaceOf(pid, 'mnt') === namespaceOf(other, 'mnt'));

const of = (pid: string, file: string): string => unlessGone(() => readFileSync(`/proc/${pid}/${file}`, 'utf8'));
const namespaceOf = (pid: string, type: string): string => unlessGone(() => readlinkSync(`/proc/${pid}/ns/${type}`));

/** Empty for what is of a process that has ended. */
function unlessGone(read: () => string): string {
  try {
    return read();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return '';
    throw error;
  }
}
