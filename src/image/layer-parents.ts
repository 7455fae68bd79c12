import { check, type Tree } from '../sys/tree.ts';
import { isDirectory, parentOf } from './layer-below.ts';
import { maxLinks, resolveLink } from './layer-place.ts';
import { badArchive } from './tar-header.ts';

/** Directories that were made because something had to be in them. */
export type MadeFolders = {
  /** Where the layer had nothing. */
  readonly implied: string[];
  /** At names that the layer removes below. */
  readonly replacing: string[];
};

/**
 * Makes the directories on the way to `name` where the layer has none, and says where `name` then is: links of the layer itself
 * are followed.
 * @throws Fault InvalidArgument if the layer has a file in the way.
 */
export function implyParents(own: Tree, name: string, made: MadeFolders, followed = { links: 0 }): string {
  const folder = parentOf(name);
  if (folder === '') return name;
  let at = '';
  for (const part of folder.split('/')) at = implyOne(own, at === '' ? part : `${at}/${part}`, made, followed);
  const base = name.slice(folder.length + 1);
  return at === '' ? base : `${at}/${base}`;
}

function implyOne(own: Tree, path: string, made: MadeFolders, followed: { links: number }): string {
  const kind = own.kind(path);
  if (isDirectory(kind)) return path;
  if (kind === 'symlink') {
    if (++followed.links > maxLinks) throw badArchive(`${JSON.stringify(path)} goes through too many symbolic links`);
    const target = resolveLink(path, own.readlink(path));
    return target === '' ? '' : parentOf(implyParents(own, `${target}/.`, made, followed));
  }
  if (kind === 'file' || kind === 'other') {
    throw badArchive(`${JSON.stringify(path)} is used as a directory, but it is a file`);
  }
  if (kind === 'whiteout') own.remove(path);
  check(own.mkdir(path), 'make directory', path);
  if (kind === 'whiteout') own.hide(path);
  (kind === 'whiteout' ? made.replacing : made.implied).push(path);
  return path;
}
