import { check, type Tree } from '../sys/tree.ts';
import { type Below, type Found, isDirectory, parentOf, under } from './layer-below.ts';
import { LayerDoubt, type Unsettled } from './layer-form.ts';
import { followed } from './layer-place.ts';
import { PathMap } from './path-map.ts';

/** More than any image has links to directories. */
const maxMoves = 100;

const doubt = (name: string, why: string): LayerDoubt => new LayerDoubt(`${JSON.stringify(name)} ${why}`);

/** Which of the directories that a layer does not describe, but once had something in, are links below. */
export const behindLinks = (below: Below, { implied, former }: Unsettled): readonly string[] =>
  [...implied, ...former].filter((name) => below.find(name).kind === 'symlink');

/**
 * Moves what a layer put behind links of the layers below it to where those lead. A layer with `lib/x` and no entry for `lib`, over
 * one with `lib -> usr/lib`, means `usr/lib/x`: unpacked alone it has made a directory `lib`, which would hide the link.
 * Returns the directories that the layer implies then.
 *
 * Only what is so in whatever order the members stood: names of one layer that meet, or a way through something that the layer
 * itself has changed, are a doubt. The tree is good for nothing after one.
 * @throws LayerDoubt
 */
export function moveBehindLinks(own: Tree, below: Below, notes: Unsettled, first: readonly string[]): string[] {
  if (!notes.plain)
    throw doubt(
      first[0]!,
      'is a link of a lower layer, and the order of the members says where what is behind it goes',
    );
  const implied = new PathMap<true>();
  for (const name of notes.implied) implied.set(name, true);
  const moves = new Moves(own, below, implied);
  moves.all(first);
  return [...implied.keys()];
}

class Moves {
  readonly #own: Tree;
  readonly #below: Below;
  readonly #implied: PathMap<true>;
  /** Names that may be links below. */
  readonly #todo: string[] = [];
  /** Lower links that were followed. */
  readonly #crossed = new Set<string>();

  constructor(own: Tree, below: Below, implied: PathMap<true>) {
    this.#own = own;
    this.#below = below;
    this.#implied = implied;
  }

  all(first: readonly string[]): void {
    this.#todo.push(...first);
    let moves = 0;
    for (const name of this.#todo) {
      if (!this.#implied.has(name) || this.#below.find(name).kind !== 'symlink') continue;
      if (++moves > maxMoves)
        throw doubt(name, `is one of more than ${maxMoves} links of lower layers that the layer goes through`);
      this.#one(name);
    }
    for (const name of this.#crossed) {
      if (this.#own.kind(name) !== 'none')
        throw doubt(name, 'is a link of a lower layer that the layer both follows and replaces');
    }
  }

  #one(name: string): void {
    const { place: to } = followed(name, this.#look);
    if (to === '' || name.startsWith(`${to}/`))
      throw doubt(name, 'is a link of a lower layer to a directory that it is in');
    this.#imply(to);
    this.#merge(name, to);
  }

  /** What is on the way: a lower link or directory, or nothing. */
  readonly #look = (at: string): Found => {
    const kind = this.#own.kind(at);
    const found = this.#below.find(at);
    const isOwn = kind !== 'none' && !this.#implied.has(at);
    if (isOwn && !(isDirectory(kind) && (found.kind === 'none' || isDirectory(found.kind))))
      throw doubt(at, 'is on the way of a link of a lower layer, and the layer changes it');
    if (found.kind === 'symlink' && found.tree) {
      this.#crossed.add(at);
      if (/[^./][^/]*\/+(?:.*\/)?\.\.(?:\/|$)/.test(found.tree.readlink(at)))
        throw doubt(at, 'is a lower link that leads down and up');
    } else if (found.kind !== 'none' && !isDirectory(found.kind))
      throw doubt(at, 'is a lower file that a link goes through');
    return found.kind === 'none' ? { kind, tree: this.#own } : found;
  };

  #imply(place: string): void {
    if (place === '' || this.#own.kind(place) !== 'none') return;
    const folder = parentOf(place);
    this.#imply(folder);
    this.#keepingTime(folder, () => check(this.#own.mkdir(place), 'make directory', place));
    this.#implied.set(place, true);
    this.#todo.push(place);
  }

  /** What is in a directory of the layer goes into another one, which means the same. */
  #merge(from: string, to: string): void {
    const own = this.#own;
    for (const child of own.list(from)) {
      const [source, target] = [`${from}/${child}`, under(to, child)];
      const [kind, there] = [own.kind(source), own.kind(target)];
      if (there === 'none') {
        this.#keepingTime(to, () => check(own.rename(source, target), 'rename', source));
        this.#renamed(source, target);
      } else if (isDirectory(kind) && isDirectory(there)) this.#mergeBoth(source, target);
      else throw doubt(target, 'is there twice, once behind a link of a lower layer');
    }
    own.remove(from);
    this.#implied.deleteTree(from);
  }

  #mergeBoth(from: string, to: string): void {
    const own = this.#own;
    const describes = !this.#implied.has(from);
    if (describes && (!this.#implied.has(to) || this.#below.find(to).kind === 'symlink'))
      throw doubt(to, 'is described twice, once behind a link of a lower layer');
    const times = own.times(describes ? from : to);
    if (describes) {
      own.copyAttributes(own, from, to);
      this.#implied.delete(to);
    }
    this.#merge(from, to);
    check(own.setTimes(to, ...times), 'set times', to);
  }

  #renamed(from: string, to: string): void {
    const moved = [...this.#implied.entries(from)].map(([name]) => `${to}${name.slice(from.length)}`);
    this.#implied.deleteTree(from);
    for (const name of moved) this.#implied.set(name, true);
    this.#todo.push(...moved);
  }

  #keepingTime(folder: string, change: () => void): void {
    const times = this.#own.times(folder);
    change();
    check(this.#own.setTimes(folder, ...times), 'set times', folder);
  }
}
