import type { Kind, Tree } from '../sys/tree.ts';

export const isDirectory = (kind: Kind): boolean => kind === 'directory' || kind === 'opaque';
export const parentOf = (name: string): string => name.slice(0, Math.max(name.lastIndexOf('/'), 0));
/** The last part of a name. */
export const baseOf = (name: string): string => name.slice(name.lastIndexOf('/') + 1);
export const under = (folder: string, base: string): string => (folder === '' ? base : `${folder}/${base}`);

/** Whether a directory of the layer above `name` hides what layers below have there. */
export function hasOpaqueParent(own: Tree, name: string): boolean {
  for (let folder = parentOf(name); folder !== ''; folder = parentOf(folder)) {
    if (own.kind(folder) === 'opaque') return true;
  }
  return false;
}

export type Found = { readonly kind: Kind; readonly tree: Tree | null };

/** The layers below as overlayfs merges them, asked one name at a time. */
export class Below {
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
