import { readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { failedPrecondition, isErrno } from '../../base/fault.ts';
import type { Looker } from '../../shim/index.ts';

/** As many as the kernel follows in one path (path_resolution(7)). */
const mostLinks = 40;
/** Characters of all the paths that one view looks at until mounts are made anew: an image of a thousand volumes has some hundred thousand, while 40
 * links of 4 KiB each, on the way to each of a thousand volumes, would have some thousand millions. */
const mostCharacters = 4 * 2 ** 20;
/** Places, and those above each, in one turn of the event loop: what was looked at before is answered at once. */
const aTurn = 1024;

type Cover = {
  readonly place: string;
  readonly source: string | null;
  readonly readonly: boolean;
  /** Of two that have a place the later one hides the other. */
  readonly index: number;
};

/**
 * A container's root as its process will see it, mounts included, before they are made. The root is at rest: nobody else
 * has it. What is mounted may be changed by others at any time, so of that it tells how it was when it looked.
 */
export class RootView {
  readonly #rootfs: string;
  readonly #looker: Pick<Looker, 'readLink' | 'stat'>;
  readonly #covers = new Map<string, Cover>();
  /** Targets of symbolic links by their path on the host; null: no link. */
  readonly #links = new Map<string, string | null>();
  #looked = 0;
  #looks = 0;
  #made = 0;

  /** The looker reads what is in mounts: they may lie on a file server that hangs. */
  constructor(rootfs: string, looker: Pick<Looker, 'readLink' | 'stat'>) {
    this.#rootfs = rootfs;
    this.#looker = looker;
  }

  /** Mounts `source` at a place that `resolve` gave; null is a file system of the kernel's own, without links. */
  cover(place: string, source: string | null, { readonly = false } = {}): void {
    this.#covers.set(place, { place, source, readonly, index: this.#made++ });
  }

  /** Nothing is mounted any more. What was looked at stays as it was then. */
  uncover(): void {
    this.#covers.clear();
    this.#looked = 0;
  }

  /**
   * Where a path leads, absolute and without links. Links and `..` stay in the root; what is not there is as if it were a
   * directory, as an OCI runtime makes it. @throws Fault FailedPrecondition for links that go in circles, or on and on.
   */
  async resolve(path: string): Promise<string> {
    const todo = path.split('/').reverse();
    const done: string[] = [];
    let links = 0;
    for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
      if (part === '' || part === '.') continue;
      if (part === '..') done.pop();
      else done.push(part);
      const place = `/${done.join('/')}`;
      this.#looked += place.length;
      if (this.#looked > mostCharacters) {
        throw failedPrecondition(
          `${JSON.stringify(path)} and others lead through too many and too long links and paths`,
        );
      }
      this.#looks += done.length;
      if (this.#looks > aTurn) {
        this.#looks = 0;
        await turn();
      }
      const target = part === '..' ? null : await this.#linkAt(place);
      if (target === null) continue;
      if (++links > mostLinks) throw failedPrecondition(`${JSON.stringify(path)} is a loop of symbolic links`);
      if (target.startsWith('/')) done.length = 0;
      else done.pop();
      todo.push(...target.split('/').reverse());
    }
    return `/${done.join('/')}`;
  }

  /** True for a place that is not there, below a mount that is read-only: what an OCI runtime makes there is made on the host. */
  async isMissingInReadonly(place: string): Promise<boolean> {
    const cover = this.#coverOf(place);
    if (!cover?.readonly || cover.source === null) return false;
    return (await this.#looker.stat(join(cover.source, place.slice(cover.place.length)))) === null;
  }

  #coverOf(place: string): Cover | undefined {
    let found = this.#covers.get('/');
    for (let top = place; top !== '' && top !== '/'; top = top.slice(0, top.lastIndexOf('/'))) {
      const cover = this.#covers.get(top);
      if (cover && cover.index >= (found?.index ?? 0)) found = cover;
    }
    return found;
  }

  async #linkAt(place: string): Promise<string | null> {
    const cover = this.#coverOf(place);
    if (cover && (cover.source === null || cover.place === place)) return null;
    const path = cover ? join(cover.source!, place.slice(cover.place.length)) : join(this.#rootfs, place);
    const known = this.#links.get(path);
    if (known !== undefined) return known;
    const target = cover ? await this.#looker.readLink(path) : targetOf(path);
    this.#links.set(path, target);
    return target;
  }
}

function targetOf(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (isErrno(error, 'EINVAL', 'ENOENT', 'ENOTDIR')) return null;
    throw error;
  }
}
