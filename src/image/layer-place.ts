// Where names of a layer are inside its root.
import type { Found } from './layer-below.ts';

/** Links in one path, as many as the kernel follows (path_resolution(7)). Counted together: by depth alone, links that name
 * others many times would be powers of that many. */
export const maxLinks = 40;

/** Where a symbolic link at `path` leads inside the root, by its text. */
export const resolveLink = (path: string, link: string): string =>
  cleanPath(link.startsWith('/') ? link : `${path.slice(0, path.lastIndexOf('/') + 1)}${link}`);

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

/**
 * Where a name is once the links on the way to it are followed; what is there is not. `find` says what a name is whose way
 * has no links, and hears of each that is on it. Null: there are too many links.
 */
export function placeOf(path: string, find: (name: string) => Found): string | null {
  const todo = path.split('/');
  let at = '';
  for (let links = 0; todo.length > 1; ) {
    const next = at === '' ? todo.shift()! : `${at}/${todo.shift()}`;
    const found = find(next);
    if (found.kind !== 'symlink' || !found.tree) {
      at = next;
      continue;
    }
    if (++links > maxLinks) return null;
    todo.unshift(...resolveLink(next, found.tree.readlink(next)).split('/').filter(Boolean));
    at = '';
  }
  return at === '' ? todo[0]! : `${at}/${todo[0]}`;
}
