import { getSystemErrorName } from 'node:util';

/** The name of a positive errno, such as `ENOENT`. */
export function errnoName(errno: number): string {
  return errno > 0 ? getSystemErrorName(-errno) : 'no error';
}
