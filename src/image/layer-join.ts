import { statSync } from 'node:fs';
import { check, type Kind, Tree } from '../sys/tree.ts';
import type { LayerNotes } from './layer-writer.ts';
import { badArchive } from './tar-header.ts';

export type JoinJob = {
  /** The unpacked layer. */
  readonly path: string;
  /** Trees of the layers below it, top first. */
  readonly lowers: readonly string[];
  readonly notes: LayerNotes;
};

/**
 * Settles what a layer, unpacked by itself, left open about those below it: directories that it implies look as they
 * do below, hard links to lower files get a copy, and whiteouts of nothing go (in a directory that is not merged,
 * overlayfs would list them).
 */
export function joinLayer({ path, lowers, notes }: JoinJob): void {
  using stack = new DisposableStack();
  const own = stack.use(new Tree(path));
  const below = new Below(lowers.map((lower) => stack.use(new Tree(lower))));
  const implied = [...notes.implied];
  const times = new DirectoryTimes(own);
  for (const [name, existing] of notes.links) linkToLower(own, below, name, existing, implied, times);
  for (const name of notes.whiteouts) {
    if (own.kind(name) !== 'whiteout') continue;
    if (below.find(name).kind !== 'none' && !hasOpaqueParent(own, name)) continue;
    times.keep(name);
    own.remove(name);
  }
  times.restore();
  for (const name of implied) {
    if (name !== '' && !isDirectory(own.kind(name))) continue; // a later member replaced it
    const found = below.find(name);
    if (isDirectory(found.kind) && found.tree) own.copyAttributes(found.tree, name);
  }
}

const isDirectory = (kind: Kind): boolean => kind === 'directory' || kind === 'opaque';
const parentOf = (name: string): string => name.slice(0, Math.max(name.lastIndexOf('/'), 0));

function hasOpaqueParent(own: Tree, name: string): boolean {
  for (let folder = parentOf(name); folder !== ''; folder = parentOf(folder)) {
    if (own.kind(folder) === 'opaque') return true;
  }
  return false;
}

/** Copies the lower file up, as overlayfs would when it is linked, and gives it its second name. */
function linkToLower(
  own: Tree,
  below: Below,
  name: string,
  existing: string,
  implied: string[],
  times: DirectoryTimes,
): void {
  if (own.kind(name) !== 'none') return; // a later member has this name
  times.keep(name);
  if (own.kind(existing) === 'none') {
    const found = below.find(existing);
    if (found.kind !== 'file' || !found.tree) {
      throw badArchive(`${JSON.stringify(name)} is a link to ${JSON.stringify(existing)}, which no layer has`);
    }
    implyParents(own, existing, implied);
    times.keep(existing);
    own.copyFile(found.tree, existing);
  }
  check(own.link(existing, name), 'link', name);
}

function implyParents(own: Tree, name: string, implied: string[]): void {
  for (let slash = name.indexOf('/'); slash >= 0; slash = name.indexOf('/', slash + 1)) {
    const folder = name.slice(0, slash);
    if (own.kind(folder) !== 'none') continue;
    check(own.mkdir(folder), 'make directory', folder);
    implied.push(folder);
  }
}

/** Modification times of directories that a change inside would disturb. */
class DirectoryTimes {
  readonly #own: Tree;
  readonly #kept = new Map<string, bigint>();

  constructor(own: Tree) {
    this.#own = own;
  }

  keep(name: string): void {
    const folder = parentOf(name);
    if (this.#kept.has(folder) || (folder !== '' && !isDirectory(this.#own.kind(folder)))) return;
    const path = Buffer.concat([Buffer.from(`${this.#own.root}/`), Buffer.from(folder, 'latin1')]);
    this.#kept.set(folder, statSync(path, { bigint: true }).mtimeNs);
  }

  restore(): void {
    for (const [folder, time] of this.#kept) {
      const nanoseconds = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
      const seconds = (time - nanoseconds) / 1_000_000_000n;
      check(this.#own.setTimes(folder, Number(seconds), Number(nanoseconds)), 'set times', folder);
    }
  }
}

type Found = { readonly kind: Kind; readonly tree: Tree | null };

/** The layers below as overlayfs merges them, asked one name at a time. */
class Below {
  readonly #trees: readonly Tree[];
  /** For a directory, the trees that contribute to it. */
  readonly #directories = new Map<string, readonly Tree[]>();

  constructor(trees: readonly Tree[]) {
    this.#trees = trees;
  }

  find(name: string): Found {
    if (name === '') return { kind: this.#trees.length > 0 ? 'directory' : 'none', tree: this.#trees[0] ?? null };
    for (const tree of this.#treesOf(parentOf(name))) {
      const kind = tree.kind(name);
      if (kind === 'whiteout') break;
      if (kind !== 'none') return { kind, tree };
    }
    return { kind: 'none', tree: null };
  }

  #treesOf(folder: string): readonly Tree[] {
    if (folder === '') return this.#trees;
    const known = this.#directories.get(folder);
    if (known) return known;
    const trees: Tree[] = [];
    for (const tree of this.#treesOf(parentOf(folder))) {
      const kind = tree.kind(folder);
      if (kind === 'none') continue;
      if (isDirectory(kind)) trees.push(tree);
      if (kind !== 'directory') break;
    }
    this.#directories.set(folder, trees);
    return trees;
  }
}
