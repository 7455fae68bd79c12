import { chmodSync, statSync } from 'node:fs';
import { isErrno } from '../base/fault.ts';

/**
 * Removes what a crash left. A disk that takes no more writes, as ext4 makes of itself after an error, keeps it for a later
 * start: it is no reason not to serve, as what runs is to be seen and stopped.
 */
export async function tidy(work: () => unknown): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isErrno(error, 'EROFS')) throw error;
  }
}

/** Gives a directory to root alone, whoever changed that. */
export function closeToOthers(path: string): void {
  if ((statSync(path).mode & 0o7777) !== 0o700) chmodSync(path, 0o700);
}
