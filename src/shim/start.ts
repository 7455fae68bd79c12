import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { protocolVersion } from '../../proto/shim.ts';
import { within } from '../base/deadline.ts';
import { Fault, isErrno, messageOf } from '../base/fault.ts';
import { nativePath } from '../sys/addon.ts';
import { exitOf, shimOver } from './client.ts';
import { Connection } from './connection.ts';
import { processGone } from './gone.ts';
import { streamCalls } from './streams.ts';
import type { Shim, ShimHandlers } from './types.ts';

const helloMs = 10_000;
const shutdownMs = 10_000;

/**
 * Starts the shim of a pod in `podDir`, which exists; it outlives the daemon. Its own complaints go to
 * `<podDir>/shim.log`. Unavailable, with what it complained about, if it does not come up.
 */
export async function startShim(podDir: string, handlers: ShimHandlers): Promise<Shim> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW;
  const logPath = join(podDir, 'shim.log');
  await using log = await open(logPath, flags, 0o600);
  const child = spawn(nativePath('berth-shim'), [podDir], {
    detached: true, // a session of its own: no signal to the daemon's reaches it
    cwd: '/',
    env: {},
    stdio: ['ignore', 'ignore', log.fd, 'pipe'],
  });
  const exited = Promise.withResolvers<void>();
  let failure = '';
  child.once('error', (error) => {
    failure = `: ${error.message}`;
    exited.resolve();
  });
  child.once('exit', () => exited.resolve()); // node:child_process has reaped it by then
  child.unref();
  try {
    return await greet(podDir, child.stdio[3] as Socket, handlers, () => exited.promise);
  } catch (error) {
    kill(child);
    const said = (await readFile(logPath, 'utf8')).trim().slice(-1000);
    const message = `The shim in ${podDir} did not come up${failure}: ${said || messageOf(error)}`;
    throw new Fault('Unavailable', message, { cause: error });
  }
}

function kill(child: ChildProcess): void {
  if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
}

/** Connects to the shim that an earlier daemon started in `podDir`; null if nobody listens there any more. */
export async function connectShim(podDir: string, handlers: ShimHandlers): Promise<Shim | null> {
  try {
    // A socket's path has at most 107 bytes; through the folder's descriptor it is always short.
    await using folder = await open(podDir, constants.O_RDONLY | constants.O_DIRECTORY);
    const socket = connect(`/proc/self/fd/${folder.fd}/shim.sock`);
    await connected(socket);
    return await greet(podDir, socket, handlers, processGone);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ECONNREFUSED')) return null;
    throw error;
  }
}

function connected(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', () => {
      socket.removeListener('error', reject);
      resolve();
    });
    socket.once('error', reject);
  });
}

/** Says hello, and makes a Shim of the connection. `gone` resolves when the process of this pid is no more. */
async function greet(
  podDir: string,
  socket: Socket,
  handlers: ShimHandlers,
  gone: (pid: number) => Promise<void>,
): Promise<Shim> {
  let asked = true; // until it is up, its caller learns of a lost connection by the error
  const connection = new Connection(socket, {
    onMessage: (message) => {
      if (message.name === 'exit') handlers.onExit(exitOf(message.fields));
      else if (message.name === 'pauseExit') handlers.onPauseExit?.(message.fields.pid);
    },
    onEnd: () => {
      if (!asked) handlers.onLost();
    },
  });
  const close = () => {
    asked = true;
    connection.close();
  };
  try {
    const options = { step: 'hello', deadlineMs: helloMs };
    const { fields } = await connection.request('hello', { version: protocolVersion }, 'welcome', options);
    asked = false;
    const pid = fields.shimPid;
    const shutdown: Shim['shutdown'] = async ({ force = false } = {}) => {
      const before = asked;
      asked = true;
      try {
        await connection.request('shutdown', { force }, 'done', { step: 'shutdown', deadlineMs: shutdownMs });
      } catch (error) {
        asked = before;
        throw error;
      }
      await within(shutdownMs, `The end of shim ${pid}`, Promise.all([connection.ended, gone(pid)]));
    };
    return shimOver(connection, pid, { shutdown, close, ...streamCalls(podDir) });
  } catch (error) {
    close();
    throw error;
  }
}
