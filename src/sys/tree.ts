import { constants } from 'node:os';
import { loadAddon } from './addon.ts';
import { errnoError } from './files.ts';

/** What an archive says about an entry beside its content. `xattrs` are packed by packXattrs. */
export type Attributes = {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly xattrs: Buffer | undefined;
};

/** S_IFIFO, S_IFCHR, S_IFBLK. */
export const nodeTypes = { fifo: 0o010000, char: 0o020000, block: 0o060000 } as const;

/** In the addon's order (join.c). */
const kinds = ['none', 'directory', 'opaque', 'whiteout', 'symlink', 'file', 'other'] as const;
export type Kind = (typeof kinds)[number];

type Handle = { readonly tree: unique symbol };
type Values = [number, number, number, number, number, Buffer | undefined];
type Addon = {
  openTree(root: string): Handle;
  closeTree(tree: Handle): number;
  treeWriteFile(tree: Handle, path: string, content: Buffer, ...attributes: Values): number;
  treeAwaitFiles(tree: Handle): number;
  treeCreateFile(tree: Handle, path: string): number;
  treeFinishFile(tree: Handle, ...attributes: Values): number;
  treeMakeDir(tree: Handle, path: string, ...attributes: Values): number;
  treeMkdir(tree: Handle, path: string): number;
  treeIsPlain(tree: Handle, path: string): number;
  treeSymlink(tree: Handle, path: string, target: string, ...attributes: Values): number;
  treeMakeNode(tree: Handle, path: string, type: number, major: number, minor: number, ...attributes: Values): number;
  treeLink(tree: Handle, existing: string, path: string): number;
  treeRemove(tree: Handle, path: string): number;
  treeSetXattrs(tree: Handle, path: string, xattrs: Buffer): number;
  treeSetTimes(tree: Handle, path: string, seconds: number, nanoseconds: number): number;
  treeKind(tree: Handle, path: string): number;
  treeReadlink(tree: Handle, path: string): string | number;
  treeXattrs(tree: Handle, path: string): Buffer | number;
  treeCopyAttributes(from: Handle, path: string, to: Handle, toPath: string): number;
  treeInode(tree: Handle, path: string): bigint | number;
  treeTimes(tree: Handle, path: string): [seconds: number, nanoseconds: number] | number;
  treeList(tree: Handle, path: string): string[] | number;
  treeCopyFile(from: Handle, path: string, to: Handle, toPath: string, most: number): number;
  treeCopyNode(from: Handle, path: string, to: Handle, toPath: string): number;
  treeRename(tree: Handle, from: string, to: string): number;
};

const addon = loadAddon<Addon>();

const { EEXIST, ENOENT, ENOTDIR, ELOOP, EFBIG } = constants.errno;
/** The refusals that an archive provokes by itself; everything else is an error of the host. */
export const refusal = {
  exists: -EEXIST,
  missing: -ENOENT,
  notDirectory: -ENOTDIR,
  link: -ELOOP,
  tooLarge: -EFBIG,
} as const;

const values = (a: Attributes): Values => [a.mode, a.uid, a.gid, a.seconds, a.nanoseconds, a.xattrs];

const opaque = packXattrs([['trusted.overlay.opaque', Buffer.from('y')]])!;
const ofWhiteout: Attributes = { mode: 0, uid: 0, gid: 0, seconds: 0, nanoseconds: 0, xattrs: undefined };

/**
 * A directory to create and examine entries in. Paths are latin1 strings (bytes), relative, clean; the empty path is
 * the root. No symbolic link is followed, neither on the way nor at the end of it: a path with one on its way is refused.
 * Methods that say so return a negative errno number instead of throwing.
 */
export class Tree implements Disposable {
  readonly root: string;
  readonly #handle: Handle;
  readonly #onUse: () => void;

  /** `onUse` is called before each thing that is done here: the disk may take its time for any of them. */
  constructor(root: string, onUse: () => void = () => {}) {
    this.root = root;
    this.#onUse = onUse;
    this.#handle = addon.openTree(root);
  }

  [Symbol.dispose](): void {
    addon.closeTree(this.#handle);
  }

  get #used(): Handle {
    this.#onUse();
    return this.#handle;
  }

  /**
   * A new file with its whole content; 0 or a negative errno. The name is there at once, content and attributes at the latest
   * after awaitFiles. @throws Error of an earlier file that could not be written.
   */
  writeFile(path: string, content: Buffer, a: Attributes): number {
    return addon.treeWriteFile(this.#used, path, content, a.mode, a.uid, a.gid, a.seconds, a.nanoseconds, a.xattrs);
  }

  /** Returns once all of writeFile's are whole. @throws Error of the first that could not be written. */
  awaitFiles(): void {
    addon.treeAwaitFiles(this.#used);
  }

  /** Opens a new file and returns its descriptor to write to, until finishFile; or a negative errno. One at a time. */
  createFile(path: string): number {
    return addon.treeCreateFile(this.#used, path);
  }

  /** Gives the file of createFile its attributes, modification time last, and closes it. */
  finishFile(path: string, attributes: Attributes): void {
    check(addon.treeFinishFile(this.#used, ...values(attributes)), 'finish file', path);
  }

  /** 0 if it was made, 1 if the directory was there and has these attributes instead of its own; or a negative errno. */
  makeDir(path: string, a: Attributes): number {
    return addon.treeMakeDir(this.#used, path, ...values(a));
  }

  /** Whether `path` is a directory, and so is all on the way to it. */
  isPlain(path: string): boolean {
    return addon.treeIsPlain(this.#used, path) === 1;
  }

  /** A new directory, mode 0755; 0 or a negative errno. */
  mkdir(path: string): number {
    return addon.treeMkdir(this.#used, path);
  }

  /** 0 or a negative errno. */
  symlink(path: string, target: string, a: Attributes): number {
    return addon.treeSymlink(this.#used, path, target, ...values(a));
  }

  /** 0 or a negative errno. */
  makeNode(path: string, type: number, major: number, minor: number, a: Attributes): number {
    return addon.treeMakeNode(this.#used, path, type, major, minor, ...values(a));
  }

  /** A further name for an existing file; 0 or a negative errno. */
  link(existing: string, path: string): number {
    return addon.treeLink(this.#used, existing, path);
  }

  /** Removes whatever is there with all below it; a missing path counts as removed. */
  remove(path: string): void {
    check(addon.treeRemove(this.#used, path), 'remove', path);
  }

  /** Adds extended attributes to a directory. */
  setXattrs(path: string, xattrs: Buffer): void {
    check(addon.treeSetXattrs(this.#used, path, xattrs), 'setxattr', path);
  }

  /** Makes a directory opaque: nothing of lower ones shows in it. */
  hide(path: string): void {
    this.setXattrs(path, opaque);
  }

  /** Makes a whiteout, which hides what lower layers have at a name; 0 or a negative errno. */
  whiteout(path: string): number {
    return this.makeNode(path, nodeTypes.char, 0, 0, ofWhiteout);
  }

  /** Sets a directory's modification time; 0 or a negative errno (what is no directory is left alone). */
  setTimes(path: string, seconds: number, nanoseconds: number): number {
    return addon.treeSetTimes(this.#used, path, seconds, nanoseconds);
  }

  /** What is at `path`. An opaque directory hides those of lower layers, a whiteout hides anything. */
  kind(path: string): Kind {
    return kinds[check(addon.treeKind(this.#used, path), 'stat', path)] ?? 'other';
  }

  readlink(path: string): string {
    return value(addon.treeReadlink(this.#used, path), 'readlink', path);
  }

  /** The number of an inode: two names of this tree that have the same one are one file. */
  inode(path: string): bigint {
    return value(addon.treeInode(this.#used, path), 'stat', path);
  }

  /** A directory's modification time, as setTimes takes it. */
  times(path: string): readonly [seconds: number, nanoseconds: number] {
    return value(addon.treeTimes(this.#used, path), 'stat', path);
  }

  /** The names in a directory. */
  list(path: string): readonly string[] {
    return value(addon.treeList(this.#used, path), 'read directory', path);
  }

  /** Every extended attribute by name (latin1). */
  xattrs(path: string): Map<string, Buffer> {
    return unpackXattrs(value(addon.treeXattrs(this.#used, path), 'getxattr', path));
  }

  /** Gives the directory `to` what `path` has in `from`. */
  copyAttributes(from: Tree, path: string, to = path): void {
    check(addon.treeCopyAttributes(from.#handle, path, this.#used, to), 'copy attributes', path);
  }

  /** A symbolic link, FIFO or device of another tree, under the same name; 0 or a negative errno. */
  copyNode(from: Tree, path: string): number {
    return addon.treeCopyNode(from.#handle, path, this.#used, path);
  }

  /**
   * Copies a regular file from another tree, under the same path. The bytes that are stored of it (holes are not), whether
   * or not the file system shares them with the original; or a negative errno: refusal.tooLarge if they are more than `most`.
   */
  copyFile(from: Tree, path: string, most: number): number {
    return addon.treeCopyFile(from.#handle, path, this.#used, path, most);
  }

  /** 0 or a negative errno; never replaces anything. */
  rename(from: string, to: string): number {
    return addon.treeRename(this.#used, from, to);
  }
}

/** The result, unless it is a negative errno: that is thrown. */
export function check(result: number, what: string, path: string): number {
  if (result < 0) throw errnoError(result, what, path);
  return result;
}

/** What was asked for, unless it is a negative errno: that is thrown. */
function value<T>(result: T | number, what: string, path: string): T {
  if (typeof result === 'number') throw errnoError(result, what, path);
  return result;
}

/** The form the addon takes: name, NUL, 32-bit length, value; of each. Undefined for none. */
export function packXattrs(xattrs: Iterable<readonly [string, Buffer]>): Buffer | undefined {
  const parts: Buffer[] = [];
  for (const [name, value] of xattrs) {
    const head = Buffer.alloc(name.length + 5);
    head.write(name, 'latin1');
    head.writeUInt32LE(value.length, name.length + 1);
    parts.push(head, value);
  }
  return parts.length === 0 ? undefined : Buffer.concat(parts);
}

/** What packXattrs packed. */
function unpackXattrs(packed: Buffer): Map<string, Buffer> {
  const result = new Map<string, Buffer>();
  for (let at = 0; at < packed.length; ) {
    const end = packed.indexOf(0, at);
    const from = end + 5;
    const length = packed.readUInt32LE(end + 1);
    result.set(packed.toString('latin1', at, end), packed.subarray(from, from + length));
    at = from + length;
  }
  return result;
}
