import { once } from 'node:events';
import { connect } from 'node:net';
import { isErrno, messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import type { Settings } from '../base/settings.ts';
import { Layout } from '../state/layout.ts';
import { readText } from '../sys/read-file.ts';
import { replaceFile } from '../sys/write-file.ts';
import { mustAnswer } from './reach.ts';
import { remark } from './tell.ts';

type Where = Pick<Settings, 'socket' | 'dataDir' | 'runDir'>;

/** More than a socket's name has. */
const mostBytes = 4096;

/** Of the daemon: writes down where it listens, for commands that read a configuration in which that has changed. */
export async function noteSocket(settings: Where): Promise<void> {
  try {
    await replaceFile(new Layout(settings).socketInForce, settings.socket);
  } catch (error) {
    log.warn({ reason: messageOf(error) }, 'Should the setting socket change, commands do not find this daemon');
  }
}

/**
 * Where the daemon listens: at the socket of the configuration, or still at another one, as a change of that setting waits for
 * its next start. Where nobody listens at all, the configuration's.
 * @throws Fault DeadlineExceeded for a path that hangs
 */
export async function socketInForce(settings: Where): Promise<string> {
  const { socket, runDir } = settings;
  await mustAnswer([socket, runDir]);
  if ((await problemAt(socket)) === null) return socket;
  const noted = await readText(new Layout(settings).socketInForce, mostBytes).catch(() => socket);
  if (noted === socket) return socket;
  await mustAnswer([noted]);
  if ((await problemAt(noted)) !== null) return socket;
  remark(`the daemon listens at ${noted}; socket = "${socket}" counts from its next start on`);
  return noted;
}

/** Why nobody can be reached at a socket; null if somebody can. */
export async function problemAt(socket: string): Promise<string | null> {
  const probe = connect(socket);
  try {
    await once(probe, 'connect');
    return null;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) {
      return `Berth is not running here: there is no ${socket}. Start it with: berth serve; or name its configuration with --config FILE`;
    }
    if (isErrno(error, 'ECONNREFUSED')) {
      return `Berth is not running: nobody listens at ${socket}. Start it with: berth serve; containers go on meanwhile`;
    }
    if (isErrno(error, 'EACCES', 'EPERM'))
      return `No permission for ${socket}, which is root's: run this as root, with sudo`;
    return `Berth cannot be reached at ${socket}: ${messageOf(error)}`;
  } finally {
    probe.destroy();
  }
}
