// What layers mean, without overlayfs, files or speed: members applied one after the other to a tree in memory, as the OCI
// image-spec (layer.md) says it and containerd and umoci do it on disk. Berth's trees are held against it.
import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import type { Member } from '../registry/tar.ts';

type Common = { layer: number };
type Directory = Common & { kind: 'directory'; readonly children: Map<string, Node>; mode: number };
/** `id`: equal for names of one inode. */
type Leaf = Common & {
  readonly kind: 'file' | 'symlink' | 'fifo';
  readonly text: string;
  readonly id: number;
  readonly mode: number;
};
type Node = Directory | Leaf;

/**
 * A layer without a meaning that all readers share: a path through a file, a hard link to nothing; a whiteout where there is no
 * directory; a directory that goes with what the layer put into it, by another name above all; a name that is used in another spelling than it was made in; a hard link to a lower
 * file with further names, or to a lower link that is then followed; a lower link that is followed and then replaced, or one of the layer's own that a lower one led to, or a lower file that is linked and then removed, so that the
 * order of members decides.
 */
export class Meaningless extends Error {}

const impliedMode = 0o755;

/** path -> what is there; of hard links each says the first name of its inode. */
export type Picture = Readonly<Record<string, string>>;

const kindOf = (stats: Stats): string =>
  stats.isDirectory()
    ? 'directory'
    : stats.isFile()
      ? 'file'
      : stats.isSymbolicLink()
        ? 'symlink'
        : stats.isFIFO()
          ? 'fifo'
          : 'other';

/** The picture of a tree on the disk. */
export function pictureOf(root: string): Picture {
  const all: Record<string, string> = {};
  const names = new Map<number, string>();
  const visit = (prefix: string): void => {
    for (const name of readdirSync(join(root, prefix)).sort()) {
      const path = `${prefix}${name}`;
      const place = join(root, path);
      const stats = lstatSync(place, { throwIfNoEntry: false });
      if (!stats) {
        all[path] = 'listed, but not there';
        continue;
      }
      const kind = kindOf(stats);
      const mode = kind === 'symlink' ? '' : ` ${(stats.mode & 0o7777).toString(8)}`;
      if (kind === 'directory') {
        all[path] = `${kind}${mode}`;
        visit(`${path}/`);
        continue;
      }
      if (!names.has(stats.ino)) names.set(stats.ino, path);
      const text = kind === 'symlink' ? readlinkSync(place) : kind === 'file' ? readFileSync(place, 'utf8') : '';
      all[path] = `${kind}${mode} ${text} = ${names.get(stats.ino)}`;
    }
  };
  visit('');
  return all;
}

export class LayerModel {
  readonly #root: Directory = { kind: 'directory', children: new Map(), layer: 0, mode: impliedMode };
  #layer = 0;
  #ids = 0;
  /** Lower nodes that this layer relied on, and links on the way to the member at hand. */
  readonly #used = new Set<Node>();
  readonly #onTheWay = new Set<Node>();
  /** By what name this layer made what it has. */
  readonly #spelled = new Map<Node, string>();
  /** Names that this layer gave to lower symbolic links. */
  readonly #linkedLinks = new Set<Node>();
  /** By inode, the lower names that this layer linked to. */
  readonly #linkedFrom = new Map<number, Set<Node>>();

  /** @throws Meaningless */
  apply(members: readonly Member[]): void {
    this.#layer++;
    this.#used.clear();
    this.#spelled.clear();
    this.#linkedLinks.clear();
    this.#linkedFrom.clear();
    for (const member of members) this.#member(member);
    this.#expectAllLinked(this.#root);
  }

  picture(): Picture {
    const all: Record<string, string> = {};
    const names = new Map<number, string>();
    const visit = (folder: Directory, prefix: string): void => {
      for (const [name, node] of [...folder.children].sort(([a], [b]) => (a < b ? -1 : 1))) {
        const path = `${prefix}${name}`;
        if (node.kind === 'directory') {
          all[path] = `directory ${node.mode.toString(8)}`;
          visit(node, `${path}/`);
        } else {
          if (!names.has(node.id)) names.set(node.id, path);
          const mode = node.kind === 'symlink' ? '' : ` ${node.mode.toString(8)}`;
          all[path] = `${node.kind}${mode} ${node.text} = ${names.get(node.id)}`;
        }
      }
    };
    visit(this.#root, '');
    return all;
  }

  #member(member: Member): void {
    const made = this.#make(member);
    if (made) this.#spelled.set(made, member.name.split('/').filter(Boolean).join('/'));
  }

  /** What is at the member's name afterwards. */
  #make({ name, type = '0', link = '', content = '', mode = 0o644 }: Member): Node | undefined {
    const parts = name.split('/').filter(Boolean);
    const spelling = parts.join('/');
    const base = parts.pop()!;
    this.#onTheWay.clear();
    if (base.startsWith('.wh.')) {
      const shared = this.#walk(parts, false);
      if (!shared) throw new Meaningless(`a whiteout in ${parts.join('/')}, which is not there`);
      if (base === '.wh..wh..opq') this.#hide(shared);
      else this.#remove(shared, base.slice(4));
      return undefined;
    }
    const folder = this.#folder(parts);
    const layer = this.#layer;
    const before = folder.children.get(base);
    const known = before && this.#spelled.get(before);
    if (known !== undefined && known !== spelling)
      throw new Meaningless(`one name is spelled ${known} and ${spelling}`);
    if (type === '5') {
      if (before?.kind === 'directory') Object.assign(before, { mode, layer });
      else {
        this.#gone(before, spelling);
        folder.children.set(base, { kind: 'directory', children: new Map(), mode, layer });
      }
    } else if (type === '1') {
      const found = this.#existing(link);
      if (found === before) return before;
      this.#used.add(found); // also if it goes with what stands in the way
      this.#gone(before, spelling);
      const made: Leaf = { ...found, layer };
      if (found.layer !== layer) this.#linkedBelow(found, made);
      folder.children.set(base, made);
    } else {
      const kind = ({ '2': 'symlink', '6': 'fifo' } as const)[type] ?? 'file';
      const text = kind === 'symlink' ? link : String(content);
      this.#gone(before, spelling);
      folder.children.set(base, { kind, text, id: this.#ids++, mode, layer });
    }
    return folder.children.get(base);
  }

  /** Whiteouts are about the layers below: what this layer has stays, wherever the marker stands in it. */
  #remove(folder: Directory, name: string): void {
    const node = folder.children.get(name);
    if (!node) return;
    if (node.kind === 'directory') this.#hide(node);
    if (node.layer === this.#layer) return;
    // What this layer put into it is in a directory that it has not described.
    if (node.kind === 'directory' && node.children.size > 0)
      return void Object.assign(node, { mode: impliedMode, layer: this.#layer });
    this.#gone(node, '');
    folder.children.delete(name);
  }

  #linkedBelow(found: Leaf, made: Leaf): void {
    if (found.kind === 'symlink') this.#linkedLinks.add(made);
    const names = this.#linkedFrom.get(found.id) ?? new Set();
    this.#linkedFrom.set(found.id, names.add(found));
  }

  /** @throws Meaningless if a lower file has names that go on without this layer's: overlayfs cannot link them. */
  #expectAllLinked(folder: Directory): void {
    for (const node of folder.children.values()) {
      if (node.kind === 'directory') this.#expectAllLinked(node);
      else if (node.layer !== this.#layer && this.#linkedFrom.get(node.id)?.has(node) === false)
        throw new Meaningless('a lower file has one more name');
    }
  }

  /** @throws Meaningless if this layer relied on it, or on what is in it, or put that there by another name. */
  #gone(node: Node | undefined, spelling: string, replaced = node): void {
    if (!node) return;
    const known = this.#spelled.get(node);
    if (node !== replaced && known !== undefined && !known.startsWith(`${spelling}/`))
      throw new Meaningless(`${known} goes with ${spelling}`);
    if (this.#used.has(node) || this.#onTheWay.has(node)) throw new Meaningless('what was relied on is removed');
    if (node.kind !== 'directory' && node.layer === this.#layer && node !== replaced)
      throw new Meaningless('what the layer itself has put there is removed');
    if (node.kind === 'directory') for (const child of node.children.values()) this.#gone(child, spelling, replaced);
  }

  #hide(folder: Directory): void {
    for (const name of [...folder.children.keys()]) this.#remove(folder, name);
  }

  #existing(path: string): Leaf {
    const parts = path.split('/').filter(Boolean);
    const base = parts.pop()!;
    const found = this.#walk(parts, false)?.children.get(base);
    if (!found || found.kind === 'directory') throw new Meaningless(`a hard link to ${path}`);
    return found;
  }

  #folder(parts: readonly string[]): Directory {
    return this.#walk(parts, true)!;
  }

  /** A directory by its path, through symbolic links, inside the root; made where it is missing. */
  #walk(path: readonly string[], make: boolean): Directory | null {
    let at: Directory[] = [this.#root];
    let names: string[] = [];
    const todo = [...path];
    let isThroughLower = false;
    for (let links = 0; todo.length > 0; ) {
      const part = todo.shift()!;
      const here = at.at(-1)!;
      if (part === '..') {
        if (at.length > 1) at.pop();
        names.pop();
        continue;
      }
      if (part === '.') continue;
      let next = here.children.get(part);
      if (!next) {
        if (!make) return null;
        next = { kind: 'directory', children: new Map(), mode: impliedMode, layer: this.#layer };
        here.children.set(part, next);
      }
      if (next.kind === 'symlink') {
        const known = this.#spelled.get(next);
        if (this.#linkedLinks.has(next) || (known !== undefined && known !== [...names, part].join('/')))
          throw new Meaningless(`${part} is a link by another name`);
        isThroughLower ||= next.layer !== this.#layer;
        if (isThroughLower) this.#used.add(next);
        else this.#onTheWay.add(next);
        if (++links > 40) throw new Meaningless('too many links');
        if (next.text.startsWith('/')) {
          at = [this.#root];
          names = [];
        }
        todo.unshift(...next.text.split('/').filter(Boolean));
      } else if (next.kind === 'directory') {
        at.push(next);
        names.push(part);
      } else throw new Meaningless(`${path.join('/')} goes through a ${next.kind}`);
    }
    return at.at(-1)!;
  }
}
