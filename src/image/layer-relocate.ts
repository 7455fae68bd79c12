import { check, type Tree } from '../sys/tree.ts';
import { type Below, findMerged, hasOpaqueParent, isDirectory, parentOf } from './layer-below.ts';
import { implyParents, type MadeFolders } from './layer-parents.ts';
import { maxLinks, placeOf, resolveLink } from './layer-place.ts';
import type { LayerNotes } from './layer-writer.ts';
import { badArchive } from './tar-header.ts';

type Names = Pick<LayerNotes, 'implied' | 'whiteouts' | 'links' | 'replacing'>;

/** Far more than any image has links to directories. */
const maxMoves = 1000;
/** Where a directory waits that is moved into one above itself. To the unpacker a name that begins so is never a member's. */
const onItsWay = '.wh..wh.berth-moving';

/**
 * Moves what a layer put behind a symbolic link of a lower layer to where that link leads. A layer with `lib/x` and no
 * entry for `lib`, over one with `lib -> usr/lib`, means `usr/lib/x`: unpacked alone it has made a directory `lib`, which
 * would hide the link. Links may lead through others, of other layers. Returns the notes with the names as they are afterwards.
 */
export function followLowerLinks(own: Tree, below: Below, notes: LayerNotes): Names {
  let names: Names = { ...notes, implied: [...notes.implied] };
  let waiting: readonly string[] = names.implied;
  let markers: readonly string[] | null = null;
  let moves = 0;
  for (let next = 0; next < waiting.length; ) {
    const name = waiting[next++]!;
    const found = below.find(name);
    if (found.kind !== 'symlink' || !found.tree || !isDirectory(own.kind(name)) || hasOpaqueParent(own, name)) continue;
    if (!markers) {
      // What they remove may be a link that others would follow.
      markers = [...names.whiteouts, ...names.implied.filter((path) => own.kind(path) === 'opaque')];
      waiting = markersFirst(waiting, markers);
      next = 0;
      continue;
    }
    const made: Made = { implied: [], replacing: [], described: new Set() };
    const move = new Move(own, name, names, made);
    const leadsTo = resolveLink(name, found.tree.readlink(name));
    if ((isInTheWay(own, leadsTo) || leadsBack(own, below, leadsTo, name)) && move.makesNothing(name, name)) {
      own.remove(name);
      continue;
    }
    const target = implyParents(own, leadsTo, made);
    if (++moves > maxMoves || target === name || target.startsWith(`${name}/`)) {
      throw badArchive(`${JSON.stringify(name)} goes through links that lead nowhere`);
    }
    check(own.rename(name, onItsWay), 'rename', name);
    move.into(onItsWay, target);
    const moved = mover(name, target);
    names = renamed(names, name, moved, made);
    markers = markers.map(moved);
    // Another link may be in the way where it is now; what was looked at before has moved along.
    const again = names.implied.filter((path) => path === target || isBelow(target, path));
    const left = new Set(names.implied);
    const all = new Set([...waiting.slice(next).map(moved), ...made.implied, ...again]);
    waiting = markersFirst(
      [...all].filter((path) => left.has(path)),
      markers,
    );
    next = 0;
  }
  return names;
}

/** The names in which something is removed, before the others. */
function markersFirst(names: readonly string[], markers: readonly string[]): readonly string[] {
  const holding = new Set<string>();
  for (const marker of markers) {
    for (let at = marker; at !== '' && !holding.has(at); at = parentOf(at)) holding.add(at);
  }
  const [first, rest] = [names.filter((name) => holding.has(name)), names.filter((name) => !holding.has(name))];
  return [...first, ...rest];
}

/** Whether the way to `path`, or what is there, goes through `name`, or for ever through links. */
function leadsBack(own: Tree, below: Below, path: string, name: string): boolean {
  let passed = false;
  const place = placeOf(`${path}/.`, (at) => {
    passed ||= at === name;
    return findMerged(own, below, at);
  });
  return passed || place === null;
}

/** Whether the layer has a file where there would be a directory. */
function isInTheWay(own: Tree, path: string): boolean {
  for (let folder = parentOf(path); folder !== ''; folder = parentOf(folder)) {
    if (['file', 'other'].includes(own.kind(folder))) return true;
  }
  return false;
}

const isBelow = (folder: string, name: string): boolean => folder === '' || name.startsWith(`${folder}/`);
const under = (folder: string, name: string): string => (folder === '' ? name : `${folder}/${name}`);

/** What a move did: directories that it made on its way, and those that were there and are described now, or have been. */
type Made = MadeFolders & { readonly described: Set<string> };

/** One directory on its way to where a lower link leads. */
class Move {
  readonly #own: Tree;
  readonly #from: string;
  readonly #undescribed: ReadonlySet<string>;
  readonly #made: Made;

  /** `from`: where it was, by which `names` know it. */
  constructor(own: Tree, from: string, { implied, replacing }: Names, made: Made) {
    this.#own = own;
    this.#from = from;
    this.#undescribed = new Set([...implied, ...replacing]);
    this.#made = made;
  }

  /**
   * Moves a directory, or what is in it if there is a directory already: both mean the same one. Links of the layer itself are
   * followed, as they would have been when it was written.
   */
  into(from: string, to: string, links = 0): void {
    const own = this.#own;
    const kind = own.kind(from);
    const there = to === '' ? 'directory' : own.kind(to);
    if (there === 'none') return void check(own.rename(from, to), 'rename', from);
    if (isDirectory(kind) && isDirectory(there)) this.#merge(from, to, links);
    else if (isDirectory(kind) && there === 'symlink') {
      if (links >= maxLinks) throw badArchive(`${JSON.stringify(to)} goes through links that lead nowhere`);
      this.into(from, implyParents(own, resolveLink(to, own.readlink(to)), this.#made), links + 1);
    } else this.#instead(from, to);
  }

  /** One of the two, which are not both directories. */
  #instead(from: string, to: string): void {
    const own = this.#own;
    const [kind, there] = [own.kind(from), own.kind(to)];
    if (kind === 'whiteout') {
      // The name is removed below, and the layer has it itself.
      if (isDirectory(there)) own.hide(to);
      if (isDirectory(there) && this.#undescribed.has(to)) this.#made.replacing.push(to);
      own.remove(from);
      return;
    }
    if (this.makesNothing(from, this.#original(from))) {
      own.remove(from);
      return;
    }
    own.remove(to);
    check(own.rename(from, to), 'rename', from);
    if (there === 'whiteout' && isDirectory(kind)) own.hide(to);
  }

  #merge(from: string, to: string, links: number): void {
    const own = this.#own;
    const [seconds, nanoseconds] = own.times(from);
    if (own.kind(from) === 'opaque' && to !== '') own.hide(to);
    for (const child of own.list(from)) this.into(`${from}/${child}`, under(to, child), links);
    const isUndescribed = to === '' || this.#undescribed.has(to) || this.#made.implied.includes(to);
    if (isUndescribed && !this.#undescribed.has(this.#original(from))) {
      own.copyAttributes(own, from, to);
      check(own.setTimes(to, seconds, nanoseconds), 'set times', to);
      this.#made.described.add(to);
    } else if (!isUndescribed) this.#made.described.add(to);
    own.remove(from);
  }

  #original(at: string): string {
    return `${this.#from}${at.slice(onItsWay.length)}`;
  }

  /** A directory that is there only for whiteouts: those make nothing. `original`: where it was before the move. */
  makesNothing(at: string, original: string): boolean {
    const kind = this.#own.kind(at);
    if (kind === 'whiteout') return true;
    if (!isDirectory(kind) || !this.#undescribed.has(original)) return false;
    return this.#own.list(at).every((child) => this.makesNothing(`${at}/${child}`, `${original}/${child}`));
  }
}

type Mover = (name: string) => string;

const mover =
  (from: string, to: string): Mover =>
  (name) => {
    if (name === from) return to;
    return name.startsWith(`${from}/`) ? under(to, name.slice(from.length + 1)) : name;
  };

/** A hard link to `from` itself is one to the lower link, which stays. What was moved into a described directory is described. */
function renamed({ implied, whiteouts, links, replacing }: Names, from: string, moved: Mover, made: Made): Names {
  const instead = new Set([...replacing.map(moved), ...made.replacing].filter((path) => !made.described.has(path)));
  const left = [...implied.map(moved), ...made.implied].filter(
    (path) => !made.described.has(path) && !instead.has(path),
  );
  return {
    implied: [...new Set(left)],
    whiteouts: whiteouts.map(moved),
    links: links.map(([name, existing]) => [moved(name), existing === from ? existing : moved(existing)]),
    replacing: [...instead],
  };
}
