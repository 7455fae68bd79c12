import { constants } from 'node:fs';
import { open, rename, unlink } from 'node:fs/promises';

let serial = 0;

/**
 * Replaces the file at `path` in one step: readers see the old bytes or the new ones, never a mix. With `sync` the
 * bytes are on disk before the name changes. The temporary name starts with a dot and ends with `.tmp`.
 */
export async function replaceFile(
  path: string,
  data: string | Uint8Array,
  options: { mode?: number; sync?: boolean } = {},
): Promise<void> {
  const slash = path.lastIndexOf('/') + 1;
  const temporary = `${path.slice(0, slash)}.${path.slice(slash)}.${process.pid}.${serial++}.tmp`;
  try {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    await using file = await open(temporary, flags, options.mode ?? 0o600);
    await file.writeFile(data);
    if (options.sync) await file.datasync();
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
}

/** True if `name` is what an interrupted replaceFile leaves behind. */
export const isTemporary = (name: string): boolean => name.startsWith('.') && name.endsWith('.tmp');
