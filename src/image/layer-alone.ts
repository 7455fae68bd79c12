import { type Attributes, check, refusal, type Tree } from '../sys/tree.ts';
import { isDirectory, parentOf, under } from './layer-below.ts';
import { type LayerCount, LayerDoubt, type LayerForm, type Unsettled } from './layer-form.ts';
import { PathMap } from './path-map.ts';
import { badArchive } from './tar-header.ts';

const nameOf = (path: string): string => JSON.stringify(path);

/**
 * A layer by itself, before those below it are there. What it says about them becomes whiteouts, opaque directories and notes.
 * That is as good as one member after the other on the lower layers as long as no name leads through a link and no member is
 * about what an earlier one brought: everything else is a doubt.
 */
export class AloneForm implements LayerForm {
  readonly #tree: Tree;
  readonly #count: LayerCount;
  readonly #times = new PathMap<readonly [seconds: number, nanoseconds: number]>();
  readonly #implied = new PathMap<true>();
  /** All that ever were implied. */
  readonly #everImplied: string[] = [''];
  readonly #whiteouts = new PathMap<true>();
  #plain = true;
  #hidesAll = false;

  constructor(tree: Tree, count: LayerCount) {
    this.#tree = tree;
    this.#count = count;
    this.#implied.set('', true);
  }

  create(path: string, make: (place: string) => number): number {
    let result = make(path);
    for (let tries = 0; result < 0 && tries < 4; tries++) {
      if (result === refusal.exists) this.#replace(path);
      else if (result === refusal.missing || result === refusal.notDirectory || result === refusal.link)
        this.#imply(parentOf(path));
      else break;
      result = make(path);
    }
    return check(result, 'create', path);
  }

  directory(path: string, attributes: Attributes): void {
    let replaced = false;
    this.create(path, (place) => {
      const result = this.#tree.makeDir(place, attributes);
      replaced ||= result === refusal.exists;
      return result;
    });
    // Something else was there, so nothing of a lower directory shows through any more.
    if (replaced) this.#tree.hide(path);
    this.#implied.delete(path);
    this.#times.set(path, [attributes.seconds, attributes.nanoseconds]);
  }

  link(path: string, existing: string): void {
    if (path === existing) return; // a link to itself changes nothing
    const tree = this.#tree;
    const kind = tree.kind(existing);
    if (kind === 'none' || kind === 'whiteout' || isDirectory(kind))
      throw new LayerDoubt(
        `the hard link ${nameOf(path)} is not to a file that the layer has, but to ${nameOf(existing)}`,
      );
    this.create(path, (place) => {
      const result = tree.link(existing, place);
      if (result === refusal.exists && tree.inode(existing) === tree.inode(place)) return 0; // it is that file
      return result;
    });
  }

  remove(folder: string, name: string | null): void {
    this.#plain = false;
    if (this.#whiteouts.covers(folder))
      throw new LayerDoubt(`something is removed in ${nameOf(folder)}, which is removed`);
    this.#imply(folder);
    if (name === null) {
      if (folder === '') this.#hidesAll = true;
      else this.#tree.hide(folder);
      return;
    }
    const place = under(folder, name);
    const result = this.#tree.whiteout(place);
    if (result === refusal.exists && this.#tree.kind(place) === 'whiteout') return;
    if (result === refusal.exists) throw new LayerDoubt(`${nameOf(place)} is removed, and the layer has it`);
    check(result, 'whiteout', place);
    this.#whiteouts.set(place, true);
  }

  vanish(path: string): void {
    // To overlayfs a 0:0 character device is a whiteout, however it came there.
    throw new LayerDoubt(`${nameOf(path)} is the device 0:0`);
  }

  settle(): Unsettled {
    setDirectoryTimes(this.#tree, this.#times);
    const former = this.#everImplied.filter((path) => !this.#implied.has(path));
    return {
      implied: [...this.#implied.keys()],
      former,
      whiteouts: [...this.#whiteouts.keys()],
      plain: this.#plain && former.length === 0,
      hidesAll: this.#hidesAll,
    };
  }

  #replace(path: string): void {
    if (path === '') throw badArchive('its root is replaced');
    this.#plain = false;
    this.#tree.remove(path);
    for (const known of [this.#times, this.#implied, this.#whiteouts]) known.deleteTree(path);
  }

  /** Makes the directories on the way to `path`, and `path` itself, where the layer has none. */
  #imply(path: string): void {
    if (path === '') return;
    let at = '';
    for (const part of path.split('/')) {
      at = under(at, part);
      this.#implyOne(at);
    }
  }

  #implyOne(path: string): void {
    const made = this.#tree.mkdir(path);
    if (made === 0) {
      this.#count.addEntry();
      this.#implied.set(path, true);
      this.#everImplied.push(path);
      return;
    }
    if (made !== refusal.exists) check(made, 'make directory', path);
    const kind = this.#tree.kind(path);
    if (kind === 'symlink') throw new LayerDoubt(`a name leads through ${nameOf(path)}, a link of the layer itself`);
    if (kind === 'whiteout') {
      this.#replace(path);
      check(this.#tree.mkdir(path), 'make directory', path);
      this.#tree.hide(path);
    } else if (!isDirectory(kind)) throw usedAsDirectory(path);
  }
}

/** What later entries disturbed. */
export function setDirectoryTimes(tree: Tree, times: PathMap<readonly [seconds: number, nanoseconds: number]>): void {
  for (const [path, [seconds, nanoseconds]] of times.entries()) {
    check(tree.setTimes(path, seconds, nanoseconds), 'set times', path);
  }
}

export const usedAsDirectory = (path: string) => badArchive(`${nameOf(path)} is used as a directory, but it is a file`);
