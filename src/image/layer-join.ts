import { check, refusal, Tree } from '../sys/tree.ts';
import { Below, hasOpaqueParent, isDirectory, parentOf } from './layer-below.ts';
import { translateLayerError } from './layer-errors.ts';
import type { Unsettled } from './layer-form.ts';
import { behindLinks, moveBehindLinks } from './layer-moves.ts';

export type JoinJob = {
  /** The unpacked layer. */
  readonly path: string;
  /** What errors call it: its digest. */
  readonly name: string;
  /** Trees of the layers below it, top first. */
  readonly lowers: readonly string[];
  readonly notes: Unsettled;
};

/** What the join adds to the layer: directories to hold what was moved. */
export type Joined = { readonly entries: number };

/**
 * Settles what a layer, unpacked by itself, left open about those below it: what it put behind a lower link goes where that
 * leads, directories that it implies look as they do below, and whiteouts of nothing go (in a directory that is not merged,
 * overlayfs would list them). `onStep` hears of each step forward.
 * @throws LayerDoubt if that would not be what the layer means, and the tree has to be made again; Fault ResourceExhausted.
 */
export function joinLayer(job: JoinJob, onStep: () => void = () => {}): Joined {
  try {
    return settle(job, onStep);
  } catch (error) {
    throw translateLayerError(error, job.name, job.path);
  }
}

function settle({ path, lowers, notes }: JoinJob, onStep: () => void): Joined {
  using stack = new DisposableStack();
  const own = stack.use(new Tree(path, onStep));
  const all = new Below(lowers.map((lower) => stack.use(new Tree(lower, onStep))));
  const links = behindLinks(all, notes);
  const implied = links.length === 0 ? notes.implied : moveBehindLinks(own, all, notes, links);
  const below = notes.hidesAll ? new Below([]) : all;
  dropWhiteouts(own, below, notes.whiteouts, implied);
  for (const name of implied) {
    if (hasOpaqueParent(own, name) || own.kind(name) === 'none') continue; // what is below is another; it is gone
    const found = below.find(name);
    if (isDirectory(found.kind) && found.tree) own.copyAttributes(found.tree, name);
  }
  return { entries: Math.max(implied.length - notes.implied.length, 0) };
}

/** Whiteouts of nothing go, and so do directories that hold nothing but what whiteouts were about: those make nothing. */
function dropWhiteouts(own: Tree, below: Below, whiteouts: readonly string[], implied: readonly string[]): void {
  const times = new DirectoryTimes(own);
  const isBelow = (name: string) => below.find(name).kind !== 'none' && !hasOpaqueParent(own, name);
  /** Only these, and opaque ones, can be empty: to list all would be to read every directory of a layer. */
  const emptied = new Set<string>();
  const remove = (name: string) => {
    times.keep(name);
    own.remove(name);
    emptied.add(parentOf(name));
  };
  for (const name of whiteouts) if (!isBelow(name)) remove(name);
  // Deepest first, for those around them.
  for (const name of implied.toSorted((a, b) => b.length - a.length)) {
    if (name === '' || (!emptied.has(name) && own.kind(name) !== 'opaque')) continue;
    if (own.list(name).length === 0 && !isBelow(name)) remove(name);
  }
  times.restore();
}

/** Modification times of directories that a change inside would disturb. */
class DirectoryTimes {
  readonly #own: Tree;
  readonly #kept = new Map<string, readonly [seconds: number, nanoseconds: number]>();

  constructor(own: Tree) {
    this.#own = own;
  }

  keep(name: string): void {
    const folder = parentOf(name);
    if (this.#kept.has(folder) || (folder !== '' && !isDirectory(this.#own.kind(folder)))) return;
    this.#kept.set(folder, this.#own.times(folder));
  }

  restore(): void {
    for (const [folder, [seconds, nanoseconds]] of this.#kept) {
      const result = this.#own.setTimes(folder, seconds, nanoseconds);
      if (result !== refusal.missing && result !== refusal.notDirectory) check(result, 'set times', folder);
    }
  }
}
