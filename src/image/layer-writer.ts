import { ftruncateSync, writeSync } from 'node:fs';
import { type Attributes, nodeTypes, packXattrs, Tree } from '../sys/tree.ts';
import { AloneForm } from './layer-alone.ts';
import { baseOf, parentOf } from './layer-below.ts';
import { LayerCount, type LayerForm, type LayerLimits, type Unsettled } from './layer-form.ts';
import { OrderedForm } from './layer-ordered.ts';
import { cleanPath } from './layer-place.ts';
import type { Entry, TarSink } from './tar.ts';
import { badArchive } from './tar-header.ts';

/** What a layer unpacked to, and what is left to settle when the layers below it are there. */
export type LayerNotes = Unsettled & { readonly bytes: number; readonly entries: number };

const maxId = 2 ** 32 - 2; // 2^32-1 means "leave as it is" to chown
const minId = -(2 ** 31);
/** Of the file systems that layers lie on. */
const blockBytes = 4096;
/** Zeros that become a hole: shorter runs would only break a file into pieces. */
const zeros = Buffer.alloc(32 * 1024);

/** Turns archive members into a tree in overlay form. */
export class LayerWriter implements TarSink, Disposable {
  readonly #held: DisposableStack;
  readonly #tree: Tree;
  readonly #count: LayerCount;
  readonly #form: LayerForm;
  #holes = 0;
  #open: { fd: number; path: string; entry: Entry; blocksTo: number; end: number } | null = null;

  /**
   * `lowers`: the trees of the layers below, top first, on which the members are applied in order. Absent: the layer is
   * unpacked by itself, and what it says about lower ones becomes whiteouts, opaque directories and notes. `onUse`: see Tree.
   */
  constructor(root: string, limits: LayerLimits, lowers?: readonly string[], onUse?: () => void) {
    using stack = new DisposableStack();
    this.#tree = stack.use(new Tree(root, onUse));
    this.#count = new LayerCount(limits);
    this.#form = lowers
      ? stack.use(new OrderedForm(this.#tree, lowers, this.#count))
      : new AloneForm(this.#tree, this.#count);
    this.#held = stack.move();
  }

  [Symbol.dispose](): void {
    this.#held.dispose();
  }

  entry(entry: Entry, content: Buffer | null): void {
    this.#count.addEntry();
    const path = cleanPath(entry.path);
    const base = baseOf(path);
    if (base.startsWith('.wh.')) this.#marker(path, base);
    else if (path !== '' || entry.type === 'directory') this.#create(path, entry, content);
    if (content === null && entry.type === 'file' && !this.#open)
      this.#open = { fd: -1, path, entry, blocksTo: 0, end: 0 };
  }

  write(data: Buffer, position: number): void {
    this.#count.addBytes(this.#open!.entry.sparse ? this.#newBlocks(data.length, position) : data.length);
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
    const { bytes, entries } = this.#count;
    const unsettled = this.#form.settle();
    this.#tree.awaitFiles();
    return { ...unsettled, bytes, entries };
  }

  /** Bytes of the blocks that these are the first in: on disk a byte between two holes takes a whole one. */
  #newBlocks(length: number, position: number): number {
    const open = this.#open!;
    const from = Math.max(Math.floor(position / blockBytes) * blockBytes, open.blocksTo);
    open.blocksTo = Math.ceil((position + length) / blockBytes) * blockBytes;
    return open.blocksTo - from;
  }

  #create(path: string, entry: Entry, content: Buffer | null): void {
    const [tree, form] = [this.#tree, this.#form];
    switch (entry.type) {
      case 'file':
        if (content === null) {
          const fd = form.create(path, (place) => tree.createFile(place));
          this.#open = { fd, path, entry, blocksTo: 0, end: 0 };
        } else {
          this.#count.addBytes(content.length);
          const attributes = attributesOf(entry);
          form.create(path, (place) => tree.writeFile(place, content, attributes));
        }
        return;
      case 'directory':
        form.directory(path, attributesOf(entry));
        return;
      case 'symlink':
        if (entry.link === '') throw badArchive(`the symbolic link ${JSON.stringify(path)} leads nowhere`);
        form.create(path, (place) => tree.symlink(place, entry.link, attributesOf(entry)));
        return;
      case 'link':
        form.link(path, cleanPath(entry.link));
        return;
      case 'fifo':
      case 'char':
      case 'block':
        this.#node(path, entry, nodeTypes[entry.type]);
        return;
      default:
        entry.type satisfies never;
    }
  }

  #node(path: string, entry: Entry, type: number): void {
    const { major, minor } = deviceOf(entry);
    // To overlayfs it is a whiteout, however it came there.
    if (entry.type === 'char' && major === 0 && minor === 0) this.#form.vanish(path);
    else this.#form.create(path, (place) => this.#tree.makeNode(place, type, major, minor, attributesOf(entry)));
  }

  /** `.wh.name` removes a name of the layers below, `.wh..wh..opq` all names of its directory. */
  #marker(path: string, base: string): void {
    const isOpaque = base === '.wh..wh..opq';
    if (base.startsWith('.wh..wh.') && !isOpaque) return; // aufs' own notes
    const name = base.slice(4);
    if (name === '' || name === '.' || name === '..') throw badArchive(`${JSON.stringify(path)} removes nothing`);
    this.#form.remove(parentOf(path), isOpaque ? null : name);
  }
}

function writeAll(fd: number, data: Buffer, position: number): void {
  for (let done = 0; done < data.length; ) {
    done += writeSync(fd, data, done, data.length - done, position + done);
  }
}

function attributesOf(entry: Entry): Attributes {
  const { mode, seconds, nanoseconds } = entry;
  const [uid, gid] = [idOf(entry.uid), idOf(entry.gid)];
  if (uid === null || gid === null) {
    throw badArchive(`${JSON.stringify(entry.path)} has the owner ${entry.uid}:${entry.gid}, out of range`);
  }
  const xattrs = entry.xattrs.size === 0 ? undefined : packXattrs(keptXattrs(entry));
  return { mode, uid, gid, seconds, nanoseconds, xattrs };
}

/** An owner as the kernel has it: those below zero (nobody is -2 on macOS) are counted from 2^32 down. Null for none that it has. */
function idOf(said: number): number | null {
  const id = said < 0 && said >= minId ? said + 2 ** 32 : said;
  return id >= 0 && id <= maxId ? id : null;
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
