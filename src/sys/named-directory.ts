import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { Fault, isErrno, messageOf } from '../base/fault.ts';

/** What the kernel says of a directory that cannot be made, in an operator's words. */
const reasons: readonly (readonly [code: string, why: string])[] = [
  ['EEXIST', 'what is there is no directory'],
  ['ENOTDIR', 'what is above it is no directory'],
  ['EROFS', 'the file system that it would be on is read-only'],
  ['ENOSPC', 'the disk that it would be on is full'],
];

/**
 * Makes the directory that a setting names, and those above it. Returns whether it was not there.
 * @throws Fault FailedPrecondition that names the setting and says why it cannot be made.
 */
export function makeNamedDirectory(setting: string, path: string, mode = 0o700): boolean {
  try {
    return make(path, mode);
  } catch (error) {
    const why = reasons.find(([code]) => isErrno(error, code))?.[1] ?? messageOf(error);
    throw new Fault(
      'FailedPrecondition',
      `${setting}: the directory ${path} cannot be made: ${why}. Mend that, or set another one`,
      {
        cause: error,
      },
    );
  }
}

/** Node's own way to make those above as well takes a read-only file system for one that has nothing there. */
function make(path: string, mode: number): boolean {
  try {
    mkdirSync(path, { mode });
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT') && dirname(path) !== path) {
      make(dirname(path), mode);
      mkdirSync(path, { mode });
      return true;
    }
    if (isErrno(error, 'EEXIST', 'EROFS') && statSync(path, { throwIfNoEntry: false })?.isDirectory()) return false;
    throw error;
  }
}
