import { type Attributes, check, refusal, Tree } from '../sys/tree.ts';
import { setDirectoryTimes, usedAsDirectory } from './layer-alone.ts';
import { Below, baseOf, type Found, isDirectory, parentOf, under } from './layer-below.ts';
import type { LayerCount, LayerForm, Unsettled } from './layer-form.ts';
import { followed } from './layer-place.ts';
import { PathMap } from './path-map.ts';
import { badArchive, badLink } from './tar-header.ts';

/** Something in the layer's tree that is only about the lower layers: no member of this one has put it there. */
type LowerPart =
  /** A lower directory that something was put into, as it looks below. */
  | { readonly kind: 'directory' }
  | { readonly kind: 'whiteout' }
  /** A lower file that a hard link was made to. */
  | { readonly kind: 'file'; readonly inode: string };

const nothing: Found = { kind: 'none', tree: null };

/**
 * A layer on those below it: each member finds the tree as the ones before it left it, through links of this layer and of lower
 * ones, and changes it as if all were one directory. What changes is written in overlay form to the layer's own tree, as
 * overlayfs would.
 */
export class OrderedForm implements LayerForm, Disposable {
  readonly #own: Tree;
  readonly #count: LayerCount;
  readonly #held: DisposableStack;
  #below: Below;
  readonly #times = new PathMap<readonly [seconds: number, nanoseconds: number]>();
  readonly #lower = new PathMap<LowerPart>();
  /** By layer and inode, where a lower file was copied to: lower layers may have many names for one file. */
  readonly #copies = new Map<string, string>();
  /** Directories of this layer through which none of those below shows. */
  readonly #opaque = new PathMap<true>();
  #hidesAll = false;
  /** The folder used last, and where it is: archives come in directory order. */
  #last: readonly [folder: string, place: string] = ['', ''];

  constructor(own: Tree, lowers: readonly string[], count: LayerCount) {
    this.#own = own;
    this.#count = count;
    using stack = new DisposableStack();
    this.#below = new Below(lowers.map((path) => stack.use(new Tree(path))));
    this.#held = stack.move();
    this.#takeLower('');
  }

  [Symbol.dispose](): void {
    this.#held.dispose();
  }

  create(path: string, make: (place: string) => number): number {
    const place = this.#placeFor(path);
    const result = make(place);
    if (result !== refusal.exists) return check(result, 'create', place);
    this.#clear(place);
    return check(make(place), 'create', place);
  }

  directory(path: string, attributes: Attributes): void {
    const place = path === '' ? '' : this.#placeFor(path);
    const result = this.#own.makeDir(place, attributes);
    if (result === refusal.exists) {
      this.#clear(place);
      check(this.#own.makeDir(place, attributes), 'make directory', place);
      this.#hide(place);
    } else check(result, 'make directory', place);
    this.#lower.delete(place);
    this.#times.set(place, [attributes.seconds, attributes.nanoseconds]);
  }

  link(path: string, existing: string): void {
    const place = this.#placeFor(path);
    const folder = followed(parentOf(existing), this.#find);
    const source = under(folder.place, baseOf(existing));
    const { kind } = isDirectory(folder.kind) ? this.#find(source) : nothing;
    if (kind === 'whiteout') throw badLink(path, existing, 'which the layer removes');
    if (kind === 'none') throw badLink(path, existing, 'which is not there');
    if (isDirectory(kind)) throw badLink(path, existing, 'a directory');
    if (source === place) return;
    if (this.#own.kind(source) === 'none') this.#copyUp(path, source);
    const result = this.#own.link(source, place);
    if (result !== refusal.exists) return void check(result, 'link', place);
    if (this.#own.inode(source) === this.#own.inode(place)) {
      this.#forgetLower(place); // it is that file, and the layer's own from here on
      return;
    }
    this.#clear(place);
    check(this.#own.link(source, place), 'link', place);
  }

  remove(folder: string, name: string | null): void {
    const { place, kind, tree } = followed(folder, this.#find);
    if (!isDirectory(kind)) {
      if (tree === this.#own && !this.#lower.has(place)) throw usedAsDirectory(place);
      return; // nothing is there
    }
    if (name !== null) this.#whiteout(under(place, name));
    else {
      this.#imply(place);
      this.#hide(place);
    }
  }

  vanish(path: string): void {
    const place = this.#placeFor(path);
    if (this.#own.kind(place) !== 'none') this.#clear(place);
    this.#whiteout(place);
  }

  settle(): Unsettled {
    setDirectoryTimes(this.#own, this.#times);
    return { implied: [], former: [], whiteouts: [], plain: false, hidesAll: this.#hidesAll };
  }

  /** What is at a place in a directory. */
  readonly #find = (place: string): Found => {
    const kind = this.#own.kind(place);
    return kind === 'none' ? this.#shown(place) : { kind, tree: this.#own };
  };

  /** What the layers below show at a place, if this one has nothing there. */
  #shown(place: string): Found {
    return this.#opaque.covers(parentOf(place)) ? nothing : this.#below.find(place);
  }

  /** Where a member of that name goes; the directories on the way are there then. */
  #placeFor(path: string): string {
    const folder = parentOf(path);
    if (folder === '') return path;
    if (this.#last[0] !== folder) {
      const place = this.#own.isPlain(folder) ? folder : followed(folder, this.#find).place;
      this.#imply(place);
      this.#last = [folder, place];
    }
    return under(this.#last[1], baseOf(path));
  }

  /** Makes a directory at a place, and those on the way to it, where the layer has none. */
  #imply(place: string): void {
    if (place === '' || this.#own.isPlain(place)) return;
    this.#imply(parentOf(place));
    const kind = this.#own.kind(place);
    if (isDirectory(kind)) return;
    if (kind !== 'none' && kind !== 'whiteout' && this.#lower.get(place) === undefined) throw usedAsDirectory(place);
    this.#count.addEntry();
    if (kind !== 'none') {
      this.#clear(place);
      check(this.#own.mkdir(place), 'make directory', place);
      this.#hide(place);
      return;
    }
    check(this.#own.mkdir(place), 'make directory', place);
    this.#takeLower(place);
  }

  /** A directory that was made to put something into looks as it does below. */
  #takeLower(place: string): void {
    const { kind, tree } = place === '' ? this.#below.find(place) : this.#shown(place);
    if (!tree || !isDirectory(kind)) return;
    this.#own.copyAttributes(tree, place);
    this.#times.set(place, tree.times(place));
    this.#lower.set(place, { kind: 'directory' });
  }

  #whiteout(place: string): void {
    const kind = this.#own.kind(place);
    if (isDirectory(kind)) this.#hide(place);
    const part = this.#lower.get(place);
    if (kind === 'whiteout' || (kind !== 'none' && !part)) return; // what the layer itself has stays
    if (isDirectory(kind) && this.#own.list(place).length > 0) {
      this.#describe(place);
      return;
    }
    if (this.#shown(place).kind === 'none') return;
    if (kind === 'none') this.#imply(parentOf(place));
    else this.#clear(place);
    check(this.#own.whiteout(place), 'whiteout', place);
    this.#lower.set(place, { kind: 'whiteout' });
    this.#last = ['', ''];
  }

  /** A lower directory that is removed but for what this layer has put into it: it is one that nobody described. */
  #describe(place: string): void {
    const now = { seconds: Math.floor(Date.now() / 1000), nanoseconds: 0 };
    check(this.#own.makeDir(place, { mode: 0o755, uid: 0, gid: 0, ...now, xattrs: undefined }), 'describe', place);
    this.#lower.delete(place);
    this.#times.delete(place);
  }

  /** Nothing of the layers below shows through a directory any more, nor what is in it only because of them. */
  #hide(place: string): void {
    if (place === '' ? this.#hidesAll : this.#opaque.has(place)) return;
    const parts = [...this.#lower.entries(place)].reverse().filter(([name]) => name !== place);
    for (const [name, { kind }] of parts) {
      if (kind === 'directory' && this.#own.list(name).length > 0) this.#describe(name);
      else this.#clear(name);
    }
    const part = this.#lower.get(place);
    this.#lower.deleteTree(place); // with the names of what it knows nothing of any more
    if (part) this.#lower.set(place, part);
    this.#last = ['', ''];
    if (place === '') {
      this.#hidesAll = true;
      this.#below = new Below([]);
    } else if (!this.#opaque.has(place) && this.#shown(place).kind !== 'none') {
      this.#own.hide(place);
      this.#opaque.set(place, true);
    }
  }

  /** Removes what the layer has at a place. */
  #clear(place: string): void {
    if (place === '') throw badArchive('its root is replaced');
    this.#forgetLower(place);
    this.#own.remove(place);
    for (const known of [this.#times, this.#opaque]) known.deleteTree(place);
    this.#last = ['', ''];
  }

  #forgetLower(place: string): void {
    for (const [, part] of this.#lower.entries(place)) if (part.kind === 'file') this.#copies.delete(part.inode);
    this.#lower.deleteTree(place);
  }

  /** A lower file comes to this layer, as overlayfs does it when it is linked; once, however many names it has. */
  #copyUp(name: string, place: string): void {
    const { kind, tree } = this.#below.find(place);
    if (!tree) throw badLink(name, place, 'which is not there');
    this.#imply(parentOf(place));
    const inode = `${tree.inode(place)} of ${tree.root}`;
    const copy = this.#copies.get(inode);
    if (copy !== undefined) check(this.#own.link(copy, place), 'link', place);
    else if (kind === 'file') this.#copyFile(tree, place);
    else check(this.#own.copyNode(tree, place), 'copy', place);
    if (copy === undefined) this.#copies.set(inode, place);
    this.#lower.set(place, { kind: 'file', inode: copy === undefined ? inode : '' });
  }

  #copyFile(tree: Tree, place: string): void {
    const bytes = this.#own.copyFile(tree, place, this.#count.bytesLeft);
    // One more than there may be: the count says what is wrong.
    this.#count.addBytes(bytes === refusal.tooLarge ? this.#count.bytesLeft + 1 : check(bytes, 'copy file', place));
  }
}
