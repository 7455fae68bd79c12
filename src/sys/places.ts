import { closeSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { Fault } from '../base/fault.ts';
import { loadAddon } from './addon.ts';
import { apart } from './apart.ts';
import { errnoError } from './files.ts';

type Addon = {
  openInRoot(root: string, path: string): number;
  copyTree(from: string, to: string): Promise<undefined>;
};

const addon = loadAddon<Addon>();

/** Something in a tree, held open: `path` leads to it whatever happens to its names, until the end of the scope. */
export class Place implements Disposable {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  get path(): string {
    return `/proc/self/fd/${this.#fd}`;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/**
 * Opens what is at `path` below `root`, a tree that somebody else controls: symbolic links and `..` stay inside it. Null
 * if nothing is there. @throws Fault InvalidArgument for links that go in circles.
 */
export function openInRoot(root: string, path: string): Place | null {
  const fd = addon.openInRoot(root, path);
  if (fd >= 0) return new Place(fd);
  const code = getSystemErrorName(fd);
  if (code === 'ENOENT' || code === 'ENOTDIR') return null;
  if (code === 'ELOOP') {
    throw new Fault('InvalidArgument', `${JSON.stringify(path)} in ${root} is a loop of symbolic links`);
  }
  throw errnoError(fd, 'openInRoot', path);
}

/**
 * Copies a directory's content and attributes into `to`, an empty one; owners, modes, times, xattrs, hard links and holes
 * are kept. What is mounted in it is not copied. On a thread of its own.
 */
export async function copyTree(from: string, to: string): Promise<void> {
  await apart('copy', () => addon.copyTree(from, to));
}
