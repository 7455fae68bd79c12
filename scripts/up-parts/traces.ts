// What scripts/up puts on a host, and how it goes again: only what was not there before, and nothing of anybody else.
import { chmodSync, existsSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isErrno } from '../../src/base/fault.ts';
import type { Settings } from '../../src/base/settings.ts';
import { mountTableAtOnce, pointsBelow } from '../../src/sys/mountinfo.ts';

export const logFile = '/var/log/berth.log';
export const podLogs = '/var/log/pods/hello';
/** host-local's usual place; the folder of our network in it. */
const addresses = '/var/lib/cni/networks';

/** How a host was before. Every path of it may be absent, then and later. */
export type Before = {
  /** Files and trees that are ours alone and were not there. */
  readonly own: readonly string[];
  /** Berth's own directories, as far as they were there: what was in them, and the mode that a start changes. */
  readonly inside: Readonly<Record<string, { readonly names: readonly string[]; readonly mode?: number }>>;
  /** Directories that others use too and that were not there, a parent after its children. */
  readonly directories: readonly string[];
};

/** Looks before anything is made. `network`: the name of the network that is configured; `files`: what else will be made. */
export function lookAround(settings: Settings, network: string, files: readonly string[]): Before {
  const { dataDir, runDir, socket, cni } = settings;
  const own = [logFile, podLogs, socket, ...files, join(addresses, network)];
  const shared = [
    dataDir,
    runDir,
    dirname(socket),
    cni.confDir,
    join(cni.cacheDir, 'results'),
    cni.netnsDir,
    addresses,
  ];
  const missing = new Set(
    [...shared, ...[podLogs, logFile, ...files].map((path) => dirname(path))].flatMap(missingDirectories),
  );
  return {
    own: own.filter((path) => !existsSync(path)),
    inside: Object.fromEntries([dataDir, runDir].map((path) => [path, { names: namesIn(path), mode: modeOf(path) }])),
    directories: [...missing].sort((a, b) => b.length - a.length), // a path is longer than its parent's
  };
}

/** The path and its parents that do not exist. */
function missingDirectories(path: string): string[] {
  return existsSync(path) ? [] : [path, ...missingDirectories(dirname(path))];
}

/** Removes all of it but the file `last`, which knows what is left to do; then that one too. */
export function removeTraces({ own, inside, directories }: Before, last: string): void {
  for (const path of own) removeOwn(path);
  for (const [directory, { names, mode }] of Object.entries(inside)) {
    const made = namesIn(directory).filter((name) => !names.includes(name));
    for (const path of made.map((name) => join(directory, name))) if (path !== last) removeOwn(path);
    if (mode !== undefined && existsSync(directory)) chmodSync(directory, mode);
  }
  removeEmpty(directories);
  rmSync(last, { force: true });
  removeEmpty(directories);
}

const modeOf = (path: string): number | undefined => {
  const found = statSync(path, { throwIfNoEntry: false });
  return found && found.mode & 0o7777;
};

/** @throws Error for a tree with a mount in it: a removal would go on behind it, into what is not ours. */
function removeOwn(path: string): void {
  const [mounted] = pointsBelow(mountTableAtOnce(), path);
  if (mounted) throw new Error(`${mounted} is still mounted: unmount it and run scripts/up --down again`);
  rmSync(path, { recursive: true, force: true });
}

/** Those that others have put something into since stay. */
function removeEmpty(directories: readonly string[]): void {
  for (const path of directories) {
    try {
      rmdirSync(path);
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENOTEMPTY', 'EEXIST', 'EBUSY', 'ENOTDIR')) throw error;
    }
  }
}

/** Empty if it does not exist. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}
