import { closeSync, constants, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { connect, Socket } from 'node:net';
import { join } from 'node:path';
import { protocolVersion } from '../../proto/shim.ts';
import { within } from '../base/deadline.ts';
import { Fault, isErrno, messageOf } from '../base/fault.ts';
import { step } from '../base/trace.ts';
import { nativePath } from '../sys/addon.ts';
import { spawnKeeper } from '../sys/keepers.ts';
import { readEnd } from '../sys/read-file.ts';
import { exitOf, lossOf, shimOver } from './client.ts';
import { Connection } from './connection.ts';
import { childGone } from './gone.ts';
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
  const log = openSync(logPath, flags, 0o600); // not a turn of the loop later: it comes up while its pod is prepared
  let pid = 0;
  try {
    const keeper = await step('shim: spawn', () => spawnKeeper(nativePath('berth-shim'), podDir, log));
    pid = keeper.pid;
    return await greet(podDir, new Socket({ fd: keeper.socketFd }), handlers);
  } catch (error) {
    if (pid > 0) await kill(pid);
    const said = (await readEnd(logPath, 1000)).toString().trim();
    const message = `The shim in ${podDir} did not come up: ${said || messageOf(error)}`;
    throw new Fault('Unavailable', message, { cause: error });
  } finally {
    closeSync(log);
  }
}

/** Until it is reaped, its pid is no stranger's. */
async function kill(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await childGone(pid);
}

/** After a connection that ended unasked. While somebody listens the shim lives, and is reaped by who ends it. */
async function reapOnceDead(podDir: string, pid: number): Promise<void> {
  if (!(await listens(podDir))) await childGone(pid);
}

async function listens(podDir: string): Promise<boolean> {
  try {
    await using folder = await open(podDir, constants.O_RDONLY | constants.O_DIRECTORY);
    const socket = connect(`/proc/self/fd/${folder.fd}/shim.sock`);
    await connected(socket);
    socket.destroy();
    return true;
  } catch {
    return false;
  }
}

/** Connects to the shim that an earlier daemon started in `podDir`; null if nobody listens there any more. */
export async function connectShim(podDir: string, handlers: ShimHandlers): Promise<Shim | null> {
  try {
    // A socket's path has at most 107 bytes; through the folder's descriptor it is always short.
    await using folder = await open(podDir, constants.O_RDONLY | constants.O_DIRECTORY);
    const socket = connect(`/proc/self/fd/${folder.fd}/shim.sock`);
    await connected(socket);
    return await greet(podDir, socket, handlers);
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

/** Says hello, and makes a Shim of the connection. */
async function greet(podDir: string, socket: Socket, handlers: ShimHandlers): Promise<Shim> {
  let pid = 0;
  let asked = true; // until it is up, its caller learns of a lost connection by the error
  const connection = new Connection(socket, {
    onMessage: (message) => {
      if (message.name === 'exit') handlers.onExit(exitOf(message.fields));
      else if (message.name === 'pauseExit') handlers.onPauseExit?.(message.fields.pid);
      else if (message.name === 'logLost') handlers.onLogLost?.(message.fields.key, lossOf(message.fields));
    },
    onEnd: () => {
      if (asked) return;
      void reapOnceDead(podDir, pid);
      handlers.onLost();
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
    pid = fields.shimPid;
    const shutdown: Shim['shutdown'] = async ({ force = false } = {}) => {
      const before = asked;
      asked = true;
      try {
        await connection.request('shutdown', { force }, 'done', { step: 'shutdown', deadlineMs: shutdownMs });
      } catch (error) {
        asked = before;
        throw error;
      }
      await within(shutdownMs, `The end of shim ${pid}`, Promise.all([connection.ended, childGone(pid)]));
    };
    return shimOver(connection, fields, { shutdown, close, ...streamCalls(podDir) });
  } catch (error) {
    close();
    throw error;
  }
}
