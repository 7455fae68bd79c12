import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Fault } from '../base/fault.ts';
import { loadAddon } from './addon.ts';

const addon = loadAddon<{ tryLock(fd: number): boolean }>();

/** A child of a daemon that was killed just now has its descriptors until its exec. */
const patienceMs = 100;
const pollMs = 10;

/** A directory and the setting that names it. */
export type LockedDirectory = { readonly setting: string; readonly path: string };

/**
 * Makes the directories this process' own until it ends, however it ends: an flock(2) on each directory itself, so that
 * every path to it meets the same lock and there is no file that could be removed. Descriptors stay open, O_CLOEXEC.
 * @throws Fault FailedPrecondition with the pid of the process that has one of them; Error with an errno code.
 */
export async function lockDirectories(directories: readonly LockedDirectory[]): Promise<void> {
  const ours = new Set<string>(); // two settings may name one directory
  for (const { setting, path } of directories) {
    const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
    const { dev, ino } = fstatSync(fd);
    const key = `${dev}:${ino}`;
    if (ours.has(key)) closeSync(fd);
    else if (!(await locked(fd))) throw inUse(setting, path, fd);
    ours.add(key);
  }
}

async function locked(fd: number): Promise<boolean> {
  const end = performance.now() + patienceMs;
  while (!addon.tryLock(fd)) {
    if (performance.now() > end) return false;
    await delay(pollMs);
  }
  return true;
}

function inUse(setting: string, path: string, fd: number): Fault {
  const { dev, ino } = fstatSync(fd);
  closeSync(fd);
  const pid = lockHolder(readFileSync('/proc/locks', 'utf8'), dev, ino);
  const who = pid ? `process ${pid}` : 'another process';
  return new Fault(
    'FailedPrecondition',
    `${path} is in use by ${who}, a Berth daemon that runs already: stop it, or set another ${setting} for this one`,
  );
}

/** Who holds the flock of a file, from the text of /proc/locks; undefined if that process is of another pid namespace. */
export function lockHolder(locks: string, dev: number, ino: number): number | undefined {
  // `1: FLOCK  ADVISORY  WRITE 4711 fe:00:9978955 0 EOF`; who only waits has `->` before its kind.
  for (const [, pid, major = '', minor = '', inode] of locks.matchAll(linePattern)) {
    const device = makedev(Number.parseInt(major, 16), Number.parseInt(minor, 16));
    if (Number(pid) > 0 && device === dev && Number(inode) === ino) return Number(pid);
  }
  return undefined;
}

const linePattern = /^\d+: FLOCK +\S+ +\S+ +(-?\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) /gm;

/** The number that stat(2) gives of a device (glibc's makedev). */
const makedev = (major: number, minor: number): number => (minor & 0xff) + major * 0x100 + (minor >> 8) * 0x100000;
