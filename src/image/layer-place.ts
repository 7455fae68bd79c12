// Where names of a layer are inside its root.
import { type Found, isDirectory, parentOf, under } from './layer-below.ts';
import { badArchive } from './tar-header.ts';

/** Links in one path, as many as the kernel follows (path_resolution(7)). Counted together: by depth alone, links that name
 * others many times would be powers of that many. */
const maxLinks = 40;

/** The path without leading slashes, `.`, `..` and doubled slashes, resolved by its text inside the root. */
export function cleanPath(path: string): string {
  let end = path.length;
  while (end > 0 && path[end - 1] === '/') end--;
  let clean = end === path.length ? path : path.slice(0, end);
  if (clean.startsWith('./')) clean = clean.slice(2);
  if (!/(?:^|\/)\.{0,2}(?:\/|$)/.test(clean)) return clean;
  const parts: string[] = [];
  for (const part of clean.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}

/** Where a path leads, and what is there; or what it was that is no directory on the way. */
export type Led = Found & { readonly place: string };

/**
 * Where the directory `path` is once all links are followed, inside the root, as the kernel does it. Where there is nothing, or
 * no directory, it goes on by the names. `find` says what a name is whose way has directories only, and hears of each.
 * @throws Fault InvalidArgument: there are too many links.
 */
export function followed(path: string, find: (name: string) => Found): Led {
  const todo = path.split('/');
  let at = '';
  let end: Led | null = null;
  for (let links = 0; todo.length > 0; ) {
    const part = todo.shift()!;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      at = parentOf(at);
      if (end && !isWithin(end.place, at)) end = null;
      continue;
    }
    const next = under(at, part);
    const { kind, tree }: Found = end ?? find(next);
    if (kind !== 'symlink' || !tree) {
      at = next;
      if (!isDirectory(kind)) end ??= { kind, tree, place: next };
      continue;
    }
    if (++links > maxLinks) throw badArchive(`${JSON.stringify(path)} goes through too many symbolic links`);
    const target = tree.readlink(next);
    if (target.startsWith('/')) at = '';
    todo.unshift(...target.split('/'));
  }
  return end ? { ...end, place: at } : { kind: 'directory', tree: null, place: at };
}

const isWithin = (folder: string, name: string): boolean => name === folder || name.startsWith(`${folder}/`);
