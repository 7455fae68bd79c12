import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { Fault, isErrno, messageOf } from '../base/fault.ts';
import { isObject } from '../base/json.ts';
import { log } from '../base/log.ts';
import { jsonOf } from '../base/parse.ts';
import type { Settings } from '../base/settings.ts';
import type { Deps } from '../lifecycle/deps.ts';
import { isId, type PodId } from '../model/ids.ts';
import { Layout } from '../state/layout.ts';
import { lockHolder } from '../sys/directory-lock.ts';
import { readText } from '../sys/read-file.ts';
import { replaceFile } from '../sys/write-file.ts';
import { mustAnswer } from './reach.ts';
import { remark } from './tell.ts';

type Where = Pick<Settings, 'socket' | 'dataDir' | 'runDir'>;

/** More than two paths take. */
const mostBytes = 16_384;

/**
 * Of the daemon: writes down where it listens and has its directories, in each of them, for whoever goes by a configuration that
 * has changed since.
 */
export async function noteInForce(settings: Where): Promise<void> {
  const { socket, dataDir, runDir } = settings;
  for (const path of new Layout(settings).inForce) {
    try {
      await replaceFile(path, JSON.stringify({ socket, dataDir, runDir }));
    } catch (error) {
      log.warn({ path, reason: messageOf(error) }, 'Should socket or a directory change, nobody is told what it was');
    }
  }
}

/** What the last daemon of a directory had; nothing where there was none, or one of before this note. */
async function lastInForce(path: string): Promise<Partial<Where>> {
  try {
    const noted = jsonOf(await readText(path, mostBytes));
    return isObject(noted) ? noted : {};
  } catch {
    return {};
  }
}

/**
 * Pods have their records in data_dir, and their processes are found by run_dir. With another data_dir a start would end all
 * pods as nobody's, with another run_dir it would take them for ended while they go on.
 * @throws Fault FailedPrecondition if pods run whose other half is elsewhere
 */
export async function refuseOtherPlaces(
  settings: Where,
  { pods, bootId }: Pick<Deps, 'pods' | 'bootId'>,
): Promise<void> {
  const layout = new Layout(settings);
  const [inRun, inData] = await Promise.all(layout.inForce.map(lastInForce));
  const unrecorded = readdirSync(layout.pods).filter((name) => isId(name) && !pods.get(name as PodId));
  const elsewhere = [...pods.all()].filter(({ id, bootId: boot, state }) => {
    const released = state.phase === 'notReady' && state.released;
    return boot === bootId && !released && !existsSync(layout.pod(id));
  });
  refuse('data_dir', settings.dataDir, inRun?.dataDir, unrecorded);
  refuse('run_dir', settings.runDir, inData?.runDir, elsewhere);
}

function refuse(setting: string, now: string, before: string | undefined, { length }: readonly unknown[]): void {
  if (before === undefined || before === now || length === 0) return;
  throw new Fault(
    'FailedPrecondition',
    `${setting} = "${now}" has nothing of ${length} pods of this node: it was ${before}, and a start would end or lose them. Set it back, or move what is in there, or have the pods removed first (crictl rmp --all --force)`,
  );
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
  const { socket: noted = socket } = await lastInForce(new Layout(settings).inForce[0]);
  if (noted === socket) return socket;
  await mustAnswer([noted]);
  if ((await problemAt(noted)) !== null) return socket;
  remark(`the daemon listens at ${noted}; socket = "${socket}" counts from its next start on`);
  return noted;
}

/** The daemon that has a directory; undefined: none. */
function ownerOf(directory: string): number | undefined {
  const found = statSync(directory, { throwIfNoEntry: false });
  return found && lockHolder(readFileSync('/proc/locks', 'utf8'), found.dev, found.ino);
}

/** Why nobody can be reached at a socket; null if somebody can. */
export async function problemAt(socket: string): Promise<string | null> {
  const probe = connect(socket);
  try {
    await once(probe, 'connect');
    return null;
  } catch (error) {
    const pid = isErrno(error, 'ENOENT', 'ECONNREFUSED') ? ownerOf(dirname(socket)) : undefined;
    if (pid !== undefined)
      return `Berth runs (process ${pid}), but nobody listens at ${socket}: it starts still, or the socket was removed; then end it and start it again (systemctl restart berth): containers go on`;
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
