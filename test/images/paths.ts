import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Where built parts are kept between runs; never committed. */
export const cacheRoot = resolve(import.meta.dirname, '../../.cache');

/** A folder of the cache, made if it is not there. */
export function cacheFolder(...names: string[]): string {
  const folder = join(cacheRoot, ...names);
  mkdirSync(folder, { recursive: true });
  return folder;
}
