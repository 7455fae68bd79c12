import { getSystemErrorMessage, getSystemErrorName } from 'node:util';
import { Fault } from '../base/fault.ts';
import { loadAddon } from './addon.ts';
import { apart } from './apart.ts';

/** What `du` says of a tree: allocated bytes (st_blocks), and inodes, hard links counted once. */
export type Usage = { readonly bytes: number; readonly inodes: number };

type Addon = {
  readFileInRoot(root: string, path: string, maxBytes: number): Buffer | number;
  copyDirectoryAttributes(from: string, to: string): number;
  removeTree(path: string): Promise<unknown>;
  diskUsage(path: string, maxSeconds: number): Promise<Usage>;
  syncFilesystem(path: string): Promise<unknown>;
};

const addon = loadAddon<Addon>();

/** An Error for a negative errno number, as node:fs would make it: `code`, `errno`, `syscall`, `path`. */
export function errnoError(negative: number, syscall: string, path: string): Error {
  const code = getSystemErrorName(negative);
  const message = `${code}: ${getSystemErrorMessage(negative)}, ${syscall} ${JSON.stringify(path)}`;
  return Object.assign(new Error(message), { code, errno: negative, syscall, path });
}

/**
 * Reads a regular file below `root`, which may be a tree that somebody else controls: symbolic links resolve inside
 * it, and what is no regular file (FIFO, device, directory) is never opened. Null if there is no such file.
 * @throws Fault InvalidArgument if it is no regular file or its links go in circles; ResourceExhausted above `maxBytes`.
 */
export function readFileInRoot(root: string, path: string, maxBytes: number): Buffer | null {
  const result = addon.readFileInRoot(root, path, maxBytes);
  if (typeof result !== 'number') return result;
  const name = JSON.stringify(path);
  switch (getSystemErrorName(result)) {
    case 'ENOENT':
    case 'ENOTDIR':
      return null;
    case 'EISDIR':
      throw new Fault('InvalidArgument', `${name} in ${root} is not a regular file`);
    case 'ELOOP':
      throw new Fault('InvalidArgument', `${name} in ${root} is a loop of symbolic links`);
    case 'EFBIG':
      throw new Fault('ResourceExhausted', `${name} in ${root} is longer than ${maxBytes} bytes`);
    default:
      throw errnoError(result, 'readFileInRoot', path);
  }
}

/** Gives the directory `to` the owner, mode, modification time and extended attributes of the directory `from`. */
export const copyDirectoryAttributes = (from: string, to: string): void => {
  addon.copyDirectoryAttributes(from, to);
};

/** Removes whatever is at `path` with all below it, however deep; a missing path counts as removed. On a thread of its own. */
export async function removeTree(path: string): Promise<void> {
  await apart('remove', () => addon.removeTree(path));
}

/** Long enough for millions of files. Whoever writes faster than they are counted would hold a thread up for ever. */
const maxWalkSeconds = 10;

/**
 * Measures a tree on a thread of its own. What vanishes meanwhile is not counted, nor is what is mounted in it; after
 * `maxSeconds`, what was found until then.
 */
export const diskUsage = (path: string, maxSeconds = maxWalkSeconds): Promise<Usage> =>
  addon.diskUsage(path, maxSeconds);

/** Writes back everything dirty in the filesystem that holds `path` (syncfs), on a thread of its own. */
export async function syncFilesystem(path: string): Promise<void> {
  await addon.syncFilesystem(path);
}
