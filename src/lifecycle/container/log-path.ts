import { mkdir, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { failedPrecondition, isErrno, isFault } from '../../base/fault.ts';
import type { Container } from '../../model/container.ts';
import type { Pod } from '../../model/pod.ts';
import { makeFoldersBelow } from '../../sys/write-file.ts';

// A pod's log directory is kubelet's, and may be reached through links (/var/log on another disk). What is below it a
// container may write too, if the host's /var/log is mounted in it: there no link is followed.

/** Makes the folder of the container's log. @throws Fault FailedPrecondition where a link or a file stands in its way. */
export async function makeLogFolder(pod: Pod, { config, logPath }: Container): Promise<void> {
  if (logPath === '') return;
  const top = pod.config.logDirectory;
  await mkdir(top, { recursive: true, mode: 0o755 });
  const folders = dirname(config.logPath);
  if (folders === '.') return;
  try {
    await makeFoldersBelow(top, folders, 0o755);
  } catch (error) {
    if (!isErrno(error, 'ENOTDIR', 'ELOOP')) throw error;
    throw ledAstray(config.logPath, top);
  }
}

const ledAstray = (path: string, top: string) =>
  failedPrecondition(
    `Log path ${JSON.stringify(path)} passes what is no directory, or a link, below ${top}: remove it`,
  );

/** Runs what has the shim open the log. @throws Fault FailedPrecondition where a link stands in its way. */
export async function openingLog<T>(pod: Pod, { config }: Container, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isFault(error, 'Internal') || !isErrno(error.cause, 'ENOTDIR', 'ELOOP')) throw error;
    throw ledAstray(config.logPath, pod.config.logDirectory);
  }
}

/** Where the shim shall write the container's log, a path that must lead through no link; empty: nowhere. */
export async function linkFreeLogPath(pod: Pod, { config, logPath }: Container): Promise<string> {
  return logPath === '' ? '' : join(await realpath(pod.config.logDirectory), config.logPath);
}
