import { statSync } from 'node:fs';
import { check, Tree } from '../sys/tree.ts';
import { Below, implyParents, isDirectory, parentOf } from './layer-below.ts';
import { translateLayerError } from './layer-errors.ts';
import { followLowerLinks } from './layer-relocate.ts';
import type { LayerNotes } from './layer-writer.ts';
import { badLink } from './tar-header.ts';

export type JoinJob = {
  /** The unpacked layer. */
  readonly path: string;
  /** What errors call it: its digest. */
  readonly name: string;
  /** Trees of the layers below it, top first. */
  readonly lowers: readonly string[];
  readonly notes: LayerNotes;
};

/**
 * Settles what a layer, unpacked by itself, left open about those below it: directories that it implies look as they
 * do below, hard links to lower files get a copy, and whiteouts of nothing go (in a directory that is not merged,
 * overlayfs would list them).
 * @throws Fault InvalidArgument, ResourceExhausted.
 */
export function joinLayer(job: JoinJob): void {
  try {
    settle(job);
  } catch (error) {
    throw translateLayerError(error, job.name);
  }
}

function settle({ path, lowers, notes }: JoinJob): void {
  using stack = new DisposableStack();
  const own = stack.use(new Tree(path));
  const below = new Below(lowers.map((lower) => stack.use(new Tree(lower))));
  const { implied, whiteouts, links } = followLowerLinks(own, below, notes);
  const times = new DirectoryTimes(own);
  for (const [name, existing] of links) linkToLower(own, below, name, existing, implied, times);
  for (const name of whiteouts) {
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
  const kind = own.kind(existing);
  if (isDirectory(kind)) throw badLink(name, existing, 'a directory');
  if (kind === 'whiteout') throw badLink(name, existing, 'which the layer removes');
  if (kind === 'none') {
    const found = below.find(existing);
    if (found.kind !== 'file' || !found.tree) {
      throw badLink(name, existing, isDirectory(found.kind) ? 'a directory' : 'which no layer has');
    }
    implyParents(own, existing, implied);
    times.keep(existing);
    own.copyFile(found.tree, existing);
  }
  check(own.link(existing, name), 'link', name);
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
