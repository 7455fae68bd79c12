import { ftruncateSync, writeSync } from 'node:fs';
import { Fault } from '../base/fault.ts';
import { type Attributes, check, nodeTypes, packXattrs, refusal, Tree } from '../sys/tree.ts';
import { isDirectory, parentOf } from './layer-below.ts';
import { cleanPath, maxLinks, placeOf, resolveLink } from './layer-place.ts';
import { PathMap } from './path-map.ts';
import type { Entry, TarSink } from './tar.ts';
import { badArchive, badLink } from './tar-header.ts';

export type LayerLimits = {
  /** Bytes of file content to unpack; holes do not count, the blocks between them do. */
  readonly maxBytes: number;
  /** Members, and directories that they imply. */
  readonly maxEntries: number;
  /** Unpacked bytes that are more than holes for each compressed one, once there are enough of them to tell (layer-stream). */
  readonly maxRatio: number;
};

/** What a layer says about the layers below it: to be settled when they are there. All paths are clean, latin1. */
export type LayerNotes = {
  /** Directories that the layer has something in but does not describe. */
  readonly implied: string[];
  /** Names that the layer removes. */
  readonly whiteouts: string[];
  /** Directories at names that the layer removes below, which it does not describe either. */
  readonly replacing: string[];
  /** Hard links to files that the layer does not have: new name, existing name. */
  readonly links: [path: string, existing: string][];
  /** True: nothing of the layers below is visible. */
  readonly hidesAll: boolean;
  readonly bytes: number;
  readonly entries: number;
};

const maxId = 2 ** 32 - 2; // 2^32-1 means "leave as it is" to chown
/** Of the file systems that layers lie on. */
const blockBytes = 4096;
/** Zeros that become a hole: shorter runs would only break a file into pieces. */
const zeros = Buffer.alloc(32 * 1024);

/**
 * Turns archive members into a tree in overlay form. A layer is unpacked by itself: what it says about lower layers
 * becomes whiteouts, opaque directories and notes.
 */
export class LayerWriter implements TarSink, Disposable {
  readonly #tree: Tree;
  readonly #limits: LayerLimits;
  readonly #times = new PathMap<{ seconds: number; nanoseconds: number }>();
  readonly #implied = new PathMap<true>();
  readonly #whiteouts = new PathMap<true>();
  readonly #replacing = new PathMap<true>();
  /** By the new name; later ones may rely on earlier ones. */
  readonly #links = new PathMap<{ existing: string; order: number }>();
  #linked = 0;
  #hidesAll = false;
  #bytes = 0;
  #entries = 0;
  #holes = 0;
  #open: { fd: number; path: string; entry: Entry; blocksTo: number; end: number } | null = null;

  constructor(root: string, limits: LayerLimits) {
    this.#tree = new Tree(root);
    this.#limits = limits;
    this.#implied.set('', true);
  }

  [Symbol.dispose](): void {
    this.#tree[Symbol.dispose]();
  }

  entry(entry: Entry, content: Buffer | null): void {
    this.#countEntry();
    const path = cleanPath(entry.path);
    const base = path.slice(path.lastIndexOf('/') + 1);
    if (base.startsWith('.wh.')) this.#marker(path, base);
    else if (path === '' && entry.type !== 'directory')
      throw badArchive(`its root is not a directory but a ${entry.type}`);
    else this.#create(path, entry, content);
    if (content === null && entry.type === 'file' && !this.#open)
      this.#open = { fd: -1, path, entry, blocksTo: 0, end: 0 };
  }

  write(data: Buffer, position: number): void {
    this.#count(this.#open!.entry.sparse ? this.#newBlocks(data.length, position) : data.length);
    const open = this.#open!;
    if (open.fd < 0) return;
    open.end = position + data.length;
    let from = 0;
    for (let at = 0; at + zeros.length <= data.length; at += zeros.length) {
      if (!zeros.equals(data.subarray(at, at + zeros.length))) continue;
      writeAll(open.fd, data.subarray(from, at), position + from);
      from = at + zeros.length;
      this.#holes += zeros.length;
    }
    writeAll(open.fd, data.subarray(from), position + from);
  }

  /** Bytes of zeros that were left out of files: they take no disk. */
  get holes(): number {
    return this.#holes;
  }

  end(): void {
    const { fd, path, entry, end } = this.#open!;
    this.#open = null;
    if (fd < 0) return; // the content of a whiteout, which nobody wants
    ftruncateSync(fd, entry.sparse ? entry.size : end); // it may end in a hole
    this.#tree.finishFile(path, attributesOf(entry));
  }

  /** Sets what later entries disturbed, and says what is left to settle. */
  finish(): LayerNotes {
    for (const [path, { seconds, nanoseconds }] of this.#times.entries()) {
      const result = this.#tree.setTimes(path, seconds, nanoseconds);
      // A later member may have put something else there.
      if (result !== refusal.missing && result !== refusal.notDirectory) check(result, 'set times', path);
    }
    return {
      implied: [...this.#implied.keys()],
      whiteouts: [...this.#whiteouts.keys()],
      replacing: [...this.#replacing.keys()],
      links: [...this.#links.entries()]
        .sort(([, a], [, b]) => a.order - b.order)
        .map(([path, { existing }]) => [path, existing]),
      hidesAll: this.#hidesAll,
      bytes: this.#bytes,
      entries: this.#entries,
    };
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#limits.maxBytes) {
      throw new Fault('ResourceExhausted', `The layer unpacks to more than ${this.#limits.maxBytes} bytes`);
    }
  }

  #countEntry(): void {
    if (++this.#entries <= this.#limits.maxEntries) return;
    throw new Fault('ResourceExhausted', `The layer has more than ${this.#limits.maxEntries} entries`);
  }

  /** Bytes of the blocks that these are the first in: on disk a byte between two holes takes a whole one. */
  #newBlocks(length: number, position: number): number {
    const open = this.#open!;
    const from = Math.max(Math.floor(position / blockBytes) * blockBytes, open.blocksTo);
    open.blocksTo = Math.ceil((position + length) / blockBytes) * blockBytes;
    return open.blocksTo - from;
  }

  #create(path: string, entry: Entry, content: Buffer | null): void {
    const tree = this.#tree;
    switch (entry.type) {
      case 'file':
        if (content === null) {
          const fd = this.#attempt(path, () => tree.createFile(path));
          this.#open = { fd, path, entry, blocksTo: 0, end: 0 };
        } else {
          this.#count(content.length);
          const attributes = attributesOf(entry);
          const result = tree.writeFile(path, content, attributes);
          if (result < 0) this.#attempt(path, () => tree.writeFile(path, content, attributes), result);
        }
        return;
      case 'directory':
        this.#directory(path, entry);
        return;
      case 'symlink': {
        if (entry.link === '') throw badArchive(`the symbolic link ${JSON.stringify(path)} leads nowhere`);
        this.#attempt(path, () => tree.symlink(path, entry.link, attributesOf(entry)));
        return;
      }
      case 'link':
        this.#link(path, cleanPath(entry.link));
        return;
      case 'fifo':
      case 'char':
      case 'block': {
        const { major, minor } = deviceOf(entry);
        this.#attempt(path, () =>
          tree.makeNode(path, nodeTypes[entry.type as 'fifo'], major, minor, attributesOf(entry)),
        );
        // To overlayfs a 0:0 character device is a whiteout, however it came there.
        if (entry.type === 'char' && major === 0 && minor === 0) this.#whiteouts.set(path, true);
        return;
      }
      default:
        entry.type satisfies never;
    }
  }

  #directory(path: string, entry: Entry): void {
    const attributes = attributesOf(entry);
    let result = this.#tree.makeDir(path, attributes);
    // A hard link was here that is settled later: what it replaced below does not show through any more.
    if (result === 0 && this.#linked > 0 && this.#links.delete(path)) this.#hideBelow(path);
    if (result === refusal.exists) {
      // Something else was there, so nothing of a lower directory shows through any more.
      this.#replace(path);
      this.#attempt(path, () => this.#tree.makeDir(path, attributes));
      this.#hideBelow(path);
      result = 0;
    }
    if (result < 0) this.#attempt(path, () => this.#tree.makeDir(path, attributes), result);
    this.#implied.delete(path);
    this.#replacing.delete(path);
    this.#times.set(path, { seconds: entry.seconds, nanoseconds: entry.nanoseconds });
  }

  #link(path: string, existing: string): void {
    if (path === existing) return; // a link to itself changes nothing
    // Only on the way to something else, where a lower layer may have a link: settled when that is known.
    const isOnTheWay = () =>
      isDirectory(this.#tree.kind(existing)) &&
      this.#implied.has(placeOf(existing, (name) => ({ kind: this.#tree.kind(name), tree: this.#tree })) ?? existing);
    if (isOnTheWay()) {
      this.#implyDirectory(parentOf(path));
      this.#settleLater(path, existing);
      return;
    }
    const link = () => {
      if (this.#whiteouts.has(existing)) throw badLink(path, existing, 'which the layer removes');
      const result = this.#tree.link(existing, path);
      if (result === refusal.exists && this.#tree.inode(existing) === this.#tree.inode(path)) return 0; // it is that file
      if (result < 0 && isDirectory(this.#tree.kind(existing))) throw badLink(path, existing, 'a directory');
      return result;
    };
    this.#attempt(path, link, undefined, () => {
      if (this.#tree.kind(existing) !== 'none' && !isOnTheWay()) return false;
      this.#settleLater(path, existing);
      return true;
    });
  }

  /** What has the new name now gives way; what gets it after this keeps it. */
  #settleLater(path: string, existing: string): void {
    if (this.#tree.kind(path) !== 'none') this.#replace(path);
    this.#links.set(path, { existing, order: this.#linked++ });
  }

  /** `.wh.name` removes a name of the layers below, `.wh..wh..opq` all names of its directory. */
  #marker(path: string, base: string): void {
    const folder = path.slice(0, -base.length - 1);
    if (base === '.wh..wh..opq') {
      this.#hideBelow(folder === '' ? '' : this.#implyDirectory(folder));
      return;
    }
    if (base.startsWith('.wh..wh.')) return; // aufs' own notes
    const name = base.slice(4);
    if (name === '' || name === '.' || name === '..') throw badArchive(`${JSON.stringify(path)} removes nothing`);
    // By the name under which it is there, not by the one that leads there through links of the layer.
    const place = this.#implyDirectory(folder);
    const target = place === '' ? name : `${place}/${name}`;
    if (this.#links.has(target)) return; // the layer has this name
    const result = this.#tree.whiteout(target);
    if (result === refusal.exists) {
      // The layer has this name itself: a file hides the lower one anyway, a directory must hide what it holds.
      const kind = this.#tree.kind(target);
      if (isDirectory(kind)) this.#hideBelow(target);
      if (isDirectory(kind) && this.#implied.delete(target)) this.#replacing.set(target, true);
      return;
    }
    check(result, 'whiteout', target);
    this.#whiteouts.set(target, true);
  }

  #hideBelow(path: string): void {
    if (path === '') this.#hidesAll = true;
    else this.#tree.hide(path);
  }

  #replace(path: string): void {
    if (path === '') throw badArchive('its root is replaced');
    this.#tree.remove(path);
    for (const known of [this.#times, this.#implied, this.#whiteouts, this.#replacing, this.#links])
      known.deleteTree(path);
  }

  /** Runs a creation until what stands in its way is settled; `missing` may settle an absent other end itself. */
  #attempt(path: string, create: () => number, first?: number, missing: () => boolean = () => false): number {
    let result = first ?? create();
    for (let tries = 0; result < 0 && tries < 4; tries++) {
      if (result === refusal.exists) this.#replace(path);
      else if (result === refusal.missing || result === refusal.notDirectory) {
        const slash = path.lastIndexOf('/');
        if (slash > 0) this.#implyDirectory(path.slice(0, slash));
        if (missing()) return 0;
      } else break;
      result = create();
    }
    return check(result, 'create', path);
  }

  /** Makes the directories on the way to `path`, and `path` itself, where the layer has none; returns where that is. */
  #implyDirectory(path: string, followed = { links: 0 }): string {
    let own = '';
    if (path === '') return own;
    for (const part of path.split('/')) own = this.#implyOne(own === '' ? part : `${own}/${part}`, followed);
    return own;
  }

  #implyOne(path: string, followed: { links: number }): string {
    const result = this.#tree.mkdir(path);
    if (result === 0) {
      this.#countEntry();
      this.#implied.set(path, true);
      return path;
    }
    if (result !== refusal.exists) check(result, 'make directory', path);
    const kind = this.#tree.kind(path);
    if (kind === 'symlink') {
      // It may lead to a directory that only a lower layer has; making it here is what following it would do.
      if (++followed.links > maxLinks) throw badArchive(`${JSON.stringify(path)} goes through too many symbolic links`);
      const target = resolveLink(path, this.#tree.readlink(path));
      return target === '' ? '' : this.#implyDirectory(target, followed);
    }
    if (kind === 'whiteout') {
      this.#replace(path);
      check(this.#tree.mkdir(path), 'make directory', path);
      this.#hideBelow(path);
      this.#replacing.set(path, true);
    } else if (kind === 'file' || kind === 'other') {
      throw badArchive(`${JSON.stringify(path)} is used as a directory, but it is a file`);
    }
    return path;
  }
}

function writeAll(fd: number, data: Buffer, position: number): void {
  for (let done = 0; done < data.length; ) {
    done += writeSync(fd, data, done, data.length - done, position + done);
  }
}

function attributesOf(entry: Entry): Attributes {
  const { mode, uid, gid, seconds, nanoseconds } = entry;
  if (uid < 0 || uid > maxId || gid < 0 || gid > maxId) {
    throw badArchive(`${JSON.stringify(entry.path)} has the owner ${uid}:${gid}, out of range`);
  }
  const xattrs = entry.xattrs.size === 0 ? undefined : packXattrs(keptXattrs(entry));
  return { mode, uid, gid, seconds, nanoseconds, xattrs };
}

/**
 * overlayfs' own attributes would let a layer name files outside itself (redirect, metacopy); SELinux labels are the
 * host's to give. The kernel has no `user.` attributes but on files and directories (xattr(7)).
 */
function* keptXattrs(entry: Entry): Generator<[string, Buffer]> {
  const user = entry.type === 'file' || entry.type === 'directory';
  for (const [name, value] of entry.xattrs) {
    if (name.startsWith('trusted.overlay.') || name.startsWith('user.overlay.') || name === 'security.selinux')
      continue;
    if (name.includes('\0'))
      throw badArchive(`${JSON.stringify(entry.path)} has an extended attribute with a NUL in its name`);
    if (user || !name.startsWith('user.')) yield [name, value];
  }
}

function deviceOf(entry: Entry): { major: number; minor: number } {
  if (entry.type === 'fifo') return { major: 0, minor: 0 };
  const { major, minor } = entry;
  if (major < 0 || major >= 2 ** 12 || minor < 0 || minor >= 2 ** 20) {
    throw badArchive(`${JSON.stringify(entry.path)} is device ${major}:${minor}, out of range`);
  }
  return { major, minor };
}
