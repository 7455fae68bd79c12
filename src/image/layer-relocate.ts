import { check, refusal, type Tree } from '../sys/tree.ts';
import { type Below, implyParents, isDirectory } from './layer-below.ts';
import { type LayerNotes, resolveLink } from './layer-writer.ts';
import { badArchive } from './tar-header.ts';

type Names = Pick<LayerNotes, 'implied' | 'whiteouts' | 'links'>;

/** Far more than any image has links to directories. */
const maxMoves = 1000;

/**
 * Moves what a layer put behind a symbolic link of a lower layer to where that link leads. A layer with `lib/x` and no
 * entry for `lib`, over one with `lib -> usr/lib`, means `usr/lib/x`: unpacked alone it has made a directory `lib`, which
 * would hide the link. Returns the notes with the names as they are afterwards.
 */
export function followLowerLinks(own: Tree, below: Below, notes: LayerNotes): Names {
  let names: Names = { implied: [...notes.implied], whiteouts: notes.whiteouts, links: notes.links };
  let moves = 0;
  // Parents come before what is in them, and what a move implies is added at the end.
  for (let i = 0; i < names.implied.length; i++) {
    const name = names.implied[i]!;
    const found = below.find(name);
    if (found.kind !== 'symlink' || !found.tree || !isDirectory(own.kind(name))) continue;
    const target = resolveLink(name, found.tree.readlink(name));
    if (++moves > maxMoves || target === name || target.startsWith(`${name}/`)) {
      throw badArchive(`${JSON.stringify(name)} goes through links that lead nowhere`);
    }
    if (target !== '') implyParents(own, target, names.implied);
    moveInto(own, name, target);
    names = renamed(names, name, target);
  }
  return names;
}

const under = (folder: string, name: string): string => (folder === '' ? name : `${folder}/${name}`);

/** Moves a directory, or what is in it if there is a directory already. What it meets otherwise gives way. */
function moveInto(own: Tree, from: string, to: string): void {
  const result = to === '' ? refusal.exists : own.rename(from, to);
  if (result === 0) return;
  if (result !== refusal.exists) check(result, 'rename', from);
  if (to === '' || (isDirectory(own.kind(from)) && isDirectory(own.kind(to)))) {
    for (const child of own.list(from)) moveInto(own, `${from}/${child}`, under(to, child));
    own.remove(from);
    return;
  }
  own.remove(to);
  check(own.rename(from, to), 'rename', from);
}

function renamed({ implied, whiteouts, links }: Names, from: string, to: string): Names {
  const moved = (name: string): string => {
    if (name === from) return to;
    return name.startsWith(`${from}/`) ? under(to, name.slice(from.length + 1)) : name;
  };
  return {
    implied: implied.map(moved),
    whiteouts: whiteouts.map(moved),
    links: links.map(([name, existing]) => [moved(name), moved(existing)]),
  };
}
