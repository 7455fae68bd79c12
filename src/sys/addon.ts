import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { messageOf } from '../base/fault.ts';

/**
 * Finds a built native file: beside the shipped bundle, or in native/build of a checkout. BERTH_NATIVE names
 * another folder (sanitizer builds in tests).
 */
export function nativePath(name: string): string {
  const here = import.meta.dirname;
  const folders = [process.env.BERTH_NATIVE, here, join(here, '../../native/build')];
  for (const folder of folders) {
    if (folder && existsSync(join(folder, name))) return join(folder, name);
  }
  throw new Error(`Cannot find ${name}; build it with: make -C native`);
}

/** Loads the N-API addon; each file of sys gives the functions it uses their types. */
export function loadAddon<T>(): T {
  try {
    return createRequire(import.meta.url)(nativePath('addon.node')) as T;
  } catch (error) {
    if (!/libisal\.so/.test(messageOf(error))) throw error;
    throw new Error(`${messageOf(error)}; it is ISA-L, which inflates layers: install it (apt-get install libisal2)`);
  }
}
