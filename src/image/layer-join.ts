import { Fault } from '../base/fault.ts';
import { check, refusal, Tree } from '../sys/tree.ts';
import { Below, findMerged, hasOpaqueParent, isDirectory, parentOf } from './layer-below.ts';
import { translateLayerError } from './layer-errors.ts';
import { implyParents } from './layer-parents.ts';
import { placeOf } from './layer-place.ts';
import { followLowerLinks } from './layer-relocate.ts';
import type { LayerLimits, LayerNotes } from './layer-writer.ts';
import { badLink } from './tar-header.ts';

export type JoinJob = {
  /** The unpacked layer. */
  readonly path: string;
  /** What errors call it: its digest. */
  readonly name: string;
  /** Trees of the layers below it, top first. */
  readonly lowers: readonly string[];
  readonly notes: LayerNotes;
  /** What the image may still unpack to. */
  readonly limits: Pick<LayerLimits, 'maxBytes' | 'maxEntries'>;
};

/** What the join adds to the layer: content of files copied from below, and directories to hold them. */
export type Joined = { readonly bytes: number; readonly entries: number };

/**
 * Settles what a layer, unpacked by itself, left open about those below it: directories that it implies look as they
 * do below, hard links to lower files get a copy, and whiteouts of nothing go (in a directory that is not merged,
 * overlayfs would list them).
 * @throws Fault InvalidArgument, ResourceExhausted.
 */
export function joinLayer(job: JoinJob): Joined {
  try {
    return settle(job);
  } catch (error) {
    throw translateLayerError(error, job.name, job.path);
  }
}

function settle({ path, lowers, notes, limits }: JoinJob): Joined {
  using stack = new DisposableStack();
  const own = stack.use(new Tree(path));
  const below = new Below(lowers.map((lower) => stack.use(new Tree(lower))));
  const { implied, whiteouts, links, replacing } = followLowerLinks(own, below, notes);
  const times = new DirectoryTimes(own);
  const copies = new LowerFiles(own, below, implied, times, limits);
  for (const [name, existing] of links) copies.link(name, existing);
  for (const name of whiteouts) {
    if (own.kind(name) !== 'whiteout') continue;
    if (below.find(name).kind !== 'none' && !hasOpaqueParent(own, name)) continue;
    times.keep(name);
    own.remove(name);
  }
  dropEmpty(own, below, { implied, replacing, whiteouts }, times);
  times.restore();
  for (const name of implied) {
    if (name !== '' && !isDirectory(own.kind(name))) continue; // a later member replaced it
    if (hasOpaqueParent(own, name)) continue; // what is below is another
    const found = below.find(name);
    if (isDirectory(found.kind) && found.tree) own.copyAttributes(found.tree, name);
  }
  return { bytes: copies.bytes, entries: implied.length - notes.implied.length };
}

/**
 * Directories that hold nothing but what whiteouts were about: whiteouts make nothing. Deepest first, for those around them.
 * One that replaces a removed name is that removal again.
 */
function dropEmpty(
  own: Tree,
  below: Below,
  { implied, replacing, whiteouts }: Pick<LayerNotes, 'implied' | 'replacing' | 'whiteouts'>,
  times: DirectoryTimes,
): void {
  const removed = new Set(replacing);
  /** Only these, and opaque ones, can be empty: to list all would be to read every directory of a layer. */
  const emptied = new Set([...replacing, ...whiteouts.map(parentOf)]);
  const all = [...new Set([...implied, ...replacing])].filter((name) => name !== '');
  for (const name of all.toSorted((a, b) => b.length - a.length)) {
    const kind = own.kind(name);
    if (!isDirectory(kind) || (kind !== 'opaque' && !emptied.has(name)) || own.list(name).length > 0) continue;
    const isBelow = below.find(name).kind !== 'none' && !hasOpaqueParent(own, name);
    if (isBelow && !removed.has(name)) continue; // empty is all that the layer says of it
    times.keep(name);
    own.remove(name);
    emptied.add(parentOf(name));
    if (isBelow) check(own.whiteout(name), 'whiteout', name);
  }
}

/** Hard links to files of lower layers: each file is copied up once, as overlayfs would when it is linked, and then linked. */
class LowerFiles {
  readonly #own: Tree;
  readonly #below: Below;
  readonly #implied: string[];
  readonly #times: DirectoryTimes;
  readonly #limits: JoinJob['limits'];
  readonly #before: number;
  /** By layer and inode, what was copied: lower layers may have many names for one file. */
  readonly #copies = new Map<string, string>();
  bytes = 0;

  constructor(own: Tree, below: Below, implied: string[], times: DirectoryTimes, limits: JoinJob['limits']) {
    this.#own = own;
    this.#below = below;
    this.#implied = implied;
    this.#times = times;
    this.#limits = limits;
    this.#before = implied.length;
  }

  /** Gives what is at `existing`, here or below, the name `name` too. */
  link(name: string, existing: string): void {
    const own = this.#own;
    if (own.kind(name) !== 'none') return; // a later member has this name
    const place =
      own.kind(existing) === 'none'
        ? (placeOf(existing, (at) => findMerged(own, this.#below, at)) ?? existing)
        : existing;
    if (place === name) return; // a link to itself changes nothing
    this.#times.keep(name);
    const kind = own.kind(place);
    if (isDirectory(kind)) throw badLink(name, existing, 'a directory');
    if (kind === 'whiteout') throw badLink(name, existing, 'which the layer removes');
    if (kind === 'none') this.#copyUp(name, place);
    check(own.link(place, name), 'link', name);
  }

  #copyUp(name: string, existing: string): void {
    const { kind, tree } = this.#below.find(existing);
    if (!tree || isDirectory(kind)) {
      throw badLink(name, existing, isDirectory(kind) ? 'a directory' : 'which no layer has');
    }
    implyParents(this.#own, existing, { implied: this.#implied, replacing: [] });
    if (this.#implied.length - this.#before > this.#limits.maxEntries) throw tooMuch(name, existing);
    this.#times.keep(existing);
    const file = `${tree.inode(existing)} of ${tree.root}`;
    const copy = this.#copies.get(file);
    if (copy === undefined) {
      if (kind === 'file') this.bytes += this.#copy(tree, name, existing);
      else check(this.#own.copyNode(tree, existing), 'copy', existing);
      this.#copies.set(file, existing);
    } else check(this.#own.link(copy, existing), 'link', existing);
  }

  #copy(tree: Tree, name: string, existing: string): number {
    const bytes = this.#own.copyFile(tree, existing, this.#limits.maxBytes - this.bytes);
    if (bytes === refusal.tooLarge) throw tooMuch(name, existing);
    return check(bytes, 'copy file', existing);
  }
}

const tooMuch = (name: string, existing: string): Fault =>
  new Fault(
    'ResourceExhausted',
    `The image unpacks to more than its limits (images.limits): the hard link ${JSON.stringify(name)} takes a copy of ${JSON.stringify(existing)} in a lower layer`,
  );

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
