import { dirname, join } from 'node:path';
import { Fault, failedPrecondition, isErrno, isFault } from '../../base/fault.ts';
import type { Container } from '../../model/container.ts';
import type { Pod } from '../../model/pod.ts';
import { Looker, type Shim, type StartSpec } from '../../shim/index.ts';
import type { Deps } from '../deps.ts';

// A pod's log directory is kubelet's, and may be reached through links (/var/log on another disk). What is below it a
// container may write too, if the host's /var/log is mounted in it: there no link is followed.

/** Makes the folder of the container's log. @throws Fault FailedPrecondition where a link or a file stands in its way. */
export async function makeLogFolder(looker: Looker, pod: Pod, { config, logPath }: Container): Promise<void> {
  if (logPath === '') return;
  const top = pod.config.logDirectory;
  await looker.makePath(top, 0o755);
  const folders = dirname(config.logPath);
  if (folders === '.') return;
  try {
    await looker.makeBelow(top, folders, 0o755);
  } catch (error) {
    if (!isErrno(error, 'ENOTDIR', 'ELOOP')) throw error;
    throw ledAstray(config.logPath, top);
  }
}

const ledAstray = (path: string, top: string) =>
  failedPrecondition(
    `Log path ${JSON.stringify(path)} passes what is no directory, or a link, below ${top}: remove it`,
  );

/** Runs what has the shim open the log. @throws Fault FailedPrecondition where a link stands in its way; DeadlineExceeded. */
export async function openingLog<T>(
  deps: Pick<Deps, 'settings'>,
  pod: Pod,
  { config, logPath }: Container,
  work: Promise<T>,
): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (isFault(error, 'DeadlineExceeded') && isErrno(error.cause, 'ETIMEDOUT')) {
      throw new Fault(
        'DeadlineExceeded',
        `Opening log ${JSON.stringify(logPath)} did not finish in ${deps.settings.timeouts.hostPath} s: is the file server that holds it alive?`,
      );
    }
    if (!isFault(error, 'Internal') || !isErrno(error.cause, 'ENOTDIR', 'ELOOP')) throw error;
    throw ledAstray(config.logPath, pod.config.logDirectory);
  }
}

/** Where the shim shall write the container's log; an empty path: nowhere. */
export async function logOf(
  deps: Pick<Deps, 'settings'>,
  shim: Shim,
  pod: Pod,
  { config, logPath }: Container,
): Promise<Pick<StartSpec, 'logPath' | 'logFolder' | 'logName' | 'logDeadlineMs'>> {
  const logDeadlineMs = deps.settings.timeouts.hostPath * 1000;
  const { logDirectory } = pod.config;
  if (logPath === '') return { logPath, logFolder: '', logName: '', logDeadlineMs };
  if (shim.findsLogs) return { logPath, logFolder: logDirectory, logName: config.logPath, logDeadlineMs };
  using looker = new Looker(logDeadlineMs);
  const path = join(await looker.resolve(logDirectory), config.logPath);
  return { logPath: path, logFolder: '', logName: '', logDeadlineMs };
}
