import { type BigIntStats, constants } from 'node:fs';
import { lstat, open, readdir } from 'node:fs/promises';
import { Tree } from '../sys/tree.ts';
import { endOfArchive, type MemberFacts, memberHeader, paddingAfter } from './tar-write.ts';

const readBytes = 256 * 1024;
const opaqueName = 'trusted.overlay.opaque';

/**
 * A committed layer's tree as a tar, as the specification writes layers: whiteouts and opaque directories by name. The
 * same tree always gives the same bytes. `hidesAll`: nothing of the layers below it is visible.
 */
export async function* packLayer(root: string, hidesAll: boolean, signal: AbortSignal): AsyncGenerator<Buffer> {
  using tree = new Tree(root);
  const packer = new Packer(root, tree, signal);
  yield* packer.directory('');
  if (hidesAll) yield packer.marker('.wh..wh..opq');
  yield* packer.children('');
  yield endOfArchive;
}

class Packer {
  readonly #root: string;
  readonly #tree: Tree;
  readonly #signal: AbortSignal;
  /** The first name of every inode that has several. */
  readonly #first = new Map<string, string>();

  constructor(root: string, tree: Tree, signal: AbortSignal) {
    this.#root = root;
    this.#tree = tree;
    this.#signal = signal;
  }

  #place(path: string): Buffer {
    return Buffer.concat([Buffer.from(`${this.#root}/`), Buffer.from(path, 'latin1')]);
  }

  marker(path: string): Buffer {
    return memberHeader({ type: '0', path, mode: 0o644, uid: 0, gid: 0, mtimeNs: 0n });
  }

  async *children(path: string): AsyncGenerator<Buffer> {
    const names = await readdir(this.#place(path), { encoding: 'latin1' });
    for (const name of names.sort()) {
      this.#signal.throwIfAborted();
      yield* this.#member(path === '' ? name : `${path}/${name}`);
    }
  }

  async *directory(path: string): AsyncGenerator<Buffer> {
    const stats = await lstat(this.#place(path), { bigint: true });
    const xattrs = this.#tree.xattrs(path);
    const isOpaque = xattrs.get(opaqueName)?.toString() === 'y';
    yield memberHeader({ ...common(stats), type: '5', path: `${path || '.'}/`, xattrs: own(xattrs) });
    if (isOpaque) yield this.marker(path === '' ? '.wh..wh..opq' : `${path}/.wh..wh..opq`);
  }

  async *#member(path: string): AsyncGenerator<Buffer> {
    const stats = await lstat(this.#place(path), { bigint: true });
    if (stats.isDirectory()) {
      yield* this.directory(path);
      yield* this.children(path);
      return;
    }
    if (stats.isCharacterDevice() && stats.rdev === 0n) {
      const slash = path.lastIndexOf('/') + 1;
      yield this.marker(`${path.slice(0, slash)}.wh.${path.slice(slash)}`);
      return;
    }
    const inode = `${stats.ino}`;
    const first = stats.nlink > 1n ? this.#first.get(inode) : undefined;
    if (first !== undefined) {
      yield memberHeader({ ...common(stats), type: '1', path, link: first });
      return;
    }
    if (stats.nlink > 1n) this.#first.set(inode, path);
    if (stats.isFile()) yield* this.#file(path, stats);
    else yield memberHeader({ ...this.#special(path, stats), path, xattrs: own(this.#tree.xattrs(path)) });
  }

  #special(path: string, stats: BigIntStats): Omit<MemberFacts, 'path'> {
    if (stats.isSymbolicLink()) return { ...common(stats), type: '2', link: this.#tree.readlink(path) };
    if (stats.isFIFO()) return { ...common(stats), type: '6' };
    const type = stats.isCharacterDevice() ? '3' : '4';
    // The kernel's dev_t as user space sees it (makedev(3)).
    const device = stats.rdev;
    const major = Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n));
    return { ...common(stats), type, major, minor: Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n)) };
  }

  async *#file(path: string, stats: BigIntStats): AsyncGenerator<Buffer> {
    const size = Number(stats.size);
    yield memberHeader({ ...common(stats), type: '0', path, size, xattrs: own(this.#tree.xattrs(path)) });
    await using handle = await open(this.#place(path), constants.O_RDONLY | constants.O_NOFOLLOW);
    for (let at = 0; at < size; ) {
      this.#signal.throwIfAborted();
      const want = Math.min(readBytes, size - at);
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafeSlow(want), 0, want, at);
      if (bytesRead === 0) throw new Error(`${JSON.stringify(path)} in ${this.#root} became shorter`);
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
    yield paddingAfter(size);
  }
}

const common = ({ mode, uid, gid, mtimeNs }: BigIntStats) => ({
  mode: Number(mode) & 0o7777,
  uid: Number(uid),
  gid: Number(gid),
  mtimeNs,
});

/** overlayfs' own notes are not the image's. */
const own = (xattrs: ReadonlyMap<string, Buffer>): ReadonlyMap<string, Buffer> =>
  new Map([...xattrs].filter(([name]) => !name.startsWith('trusted.overlay.')).sort(([a], [b]) => (a < b ? -1 : 1)));
