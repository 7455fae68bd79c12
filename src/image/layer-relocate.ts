import { check, type Tree } from '../sys/tree.ts';
import { type Below, hasOpaqueParent, implyParents, isDirectory } from './layer-below.ts';
import { type LayerNotes, maxLinks, resolveLink } from './layer-writer.ts';
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
  let moves = 0;
  for (let next = 0; next < waiting.length; ) {
    const name = waiting[next++]!;
    const found = below.find(name);
    if (found.kind !== 'symlink' || !found.tree || !isDirectory(own.kind(name)) || hasOpaqueParent(own, name)) continue;
    const target = resolveLink(name, found.tree.readlink(name));
    if (++moves > maxMoves || target === name || target.startsWith(`${name}/`)) {
      throw badArchive(`${JSON.stringify(name)} goes through links that lead nowhere`);
    }
    const made: Made = { implied: [], merged: new Set() };
    if (target !== '') implyParents(own, target, made.implied);
    check(own.rename(name, onItsWay), 'rename', name);
    moveInto(own, onItsWay, target, made);
    const moved = mover(name, target);
    const before = new Set(names.implied);
    names = renamed(names, name, moved);
    // What was moved into a directory that the layer describes is described.
    const implied = names.implied.filter((path) => before.has(path) || !made.merged.has(path));
    names = { ...names, implied: [...implied, ...made.implied] };
    // Another link may be in the way where it is now; what was looked at before has moved along.
    const again = names.implied.filter((path) => path === target || isBelow(target, path));
    waiting = [...new Set([...waiting.slice(next).map(moved), ...made.implied, ...again])];
    next = 0;
  }
  return names;
}

const isBelow = (folder: string, name: string): boolean => folder === '' || name.startsWith(`${folder}/`);
const under = (folder: string, name: string): string => (folder === '' ? name : `${folder}/${name}`);

/** What a move did: directories that it made on its way, and those that were there already. */
type Made = { readonly implied: string[]; readonly merged: Set<string> };

/**
 * Moves a directory, or what is in it if there is a directory already: both mean the same one. Links of the layer itself are
 * followed, as they would have been when it was written.
 */
function moveInto(own: Tree, from: string, to: string, made: Made, links = 0): void {
  const kind = own.kind(from);
  const there = to === '' ? 'directory' : own.kind(to);
  if (there === 'none') return void check(own.rename(from, to), 'rename', from);
  if (isDirectory(kind) && isDirectory(there)) {
    made.merged.add(to);
    if (kind === 'opaque' && to !== '') own.hide(to);
    for (const child of own.list(from)) moveInto(own, `${from}/${child}`, under(to, child), made, links);
    own.remove(from);
    return;
  }
  if (there === 'symlink' && isDirectory(kind)) {
    if (links >= maxLinks) throw badArchive(`${JSON.stringify(to)} goes through links that lead nowhere`);
    const target = resolveLink(to, own.readlink(to));
    if (target !== '') implyParents(own, target, made.implied);
    moveInto(own, from, target, made, links + 1);
    return;
  }
  if (kind === 'whiteout') {
    if (isDirectory(there)) own.hide(to); // the name is removed below, and the layer has it itself
    own.remove(from);
    return;
  }
  own.remove(to);
  check(own.rename(from, to), 'rename', from);
  if (there === 'whiteout' && isDirectory(kind)) own.hide(to);
}

type Mover = (name: string) => string;

const mover =
  (from: string, to: string): Mover =>
  (name) => {
    if (name === from) return to;
    return name.startsWith(`${from}/`) ? under(to, name.slice(from.length + 1)) : name;
  };

/** A hard link to `from` itself is one to the lower link, which stays. */
const renamed = ({ implied, whiteouts, links, replacing }: Names, from: string, moved: Mover): Names => ({
  implied: [...new Set(implied.map(moved))],
  whiteouts: whiteouts.map(moved),
  links: links.map(([name, existing]) => [moved(name), existing === from ? existing : moved(existing)]),
  replacing: replacing.map(moved),
});
