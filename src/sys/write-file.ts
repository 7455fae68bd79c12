import { unlink } from 'node:fs/promises';
import { isErrno } from '../base/fault.ts';
import { loadAddon } from './addon.ts';

type WriteAddon = {
  writeFile(path: string, temporary: string, data: Buffer, mode: number, sync: boolean): Promise<undefined>;
  makeDirectory(path: string, mode: number): Promise<undefined>;
  makeDirectories(paths: Buffer, mode: number): Promise<undefined>;
};

const addon = loadAddon<WriteAddon>();
let serial = 0;

const bytesOf = (data: string | Uint8Array): Buffer =>
  typeof data === 'string' ? Buffer.from(data) : Buffer.from(data.buffer, data.byteOffset, data.byteLength);

/**
 * Replaces the file at `path` in one step: readers see the old bytes or the new ones, never a mix. With `sync` the
 * bytes are on disk before the name changes. The temporary name starts with a dot and ends with `.tmp`. The mode is as
 * given, whatever the umask. Rejects as node:fs does.
 */
export async function replaceFile(
  path: string,
  data: string | Uint8Array,
  { mode = 0o600, sync = false }: { mode?: number; sync?: boolean } = {},
): Promise<void> {
  const slash = path.lastIndexOf('/') + 1;
  const temporary = `${path.slice(0, slash)}.${path.slice(slash)}.${process.pid}.${serial++}.tmp`;
  await addon.writeFile(path, temporary, bytesOf(data), mode, sync);
}

/** Writes a file where nobody reads yet; mode and errors as above. A symbolic link at `path` is refused (ELOOP). */
export async function writeNewFile(path: string, data: string | Uint8Array, mode = 0o600): Promise<void> {
  await addon.writeFile(path, '', bytesOf(data), mode, false);
}

/** Removes a file; one that is not there counts as removed. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}

/** Makes a directory with this mode, whatever the umask; one that exists gets the mode. Its parent must exist. */
export async function makeDirectory(path: string, mode: number): Promise<void> {
  await addon.makeDirectory(path, mode);
}

/**
 * Makes many directories in one piece of work, in this order, with this mode, whatever the umask; those that exist are left
 * as they are. The first failure rejects as node:fs does, and what was made before it stays.
 */
export async function makeDirectories(paths: readonly string[], mode: number): Promise<void> {
  await addon.makeDirectories(Buffer.from(paths.map((path) => `${path}\0`).join('')), mode);
}

/** True if `name` is what an interrupted replaceFile leaves behind. */
export const isTemporary = (name: string): boolean => name.startsWith('.') && name.endsWith('.tmp');
