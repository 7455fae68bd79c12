import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { isErrno } from '../base/fault.ts';

/** A directory, as bytes: names of cgroups need not be UTF-8. */
export type Folder = Buffer;

/** Paths of folders that are longer than this go on from a descriptor: the kernel takes 4,095 bytes, and trees may be deeper. */
const longest = 3000;

/** A folder that is being looked at: those in it come next. */
type Level = {
  readonly folder: Folder;
  /** What the paths of those in it begin with, and the descriptor that this needs. */
  readonly base: Folder;
  readonly fd: number | null;
  readonly names: Buffer[];
};

/**
 * The folder and every folder below it, each after those in it or before them; none if it does not exist. What is yielded is
 * a path that holds until the next is asked for.
 */
export function* foldersBelow(folder: string, order: 'after' | 'before' = 'after'): Generator<Folder> {
  const levels: Level[] = [];
  const enter = (path: Folder): boolean => {
    const level = look(path);
    if (level) levels.push(level);
    return level !== null;
  };
  try {
    const root = Buffer.from(folder);
    if (enter(root) && order === 'before') yield root;
    for (let level = levels.at(-1); level; level = levels.at(-1)) {
      const name = level.names.pop();
      if (name !== undefined) {
        const path = inFolder(level.base, name);
        if (enter(path) && order === 'before') yield path;
        continue;
      }
      levels.pop();
      if (level.fd !== null) closeSync(level.fd);
      if (order === 'after') yield level.folder;
    }
  } finally {
    for (const { fd } of levels) if (fd !== null) closeSync(fd);
  }
}

/** A path in a folder. */
export const inFolder = (folder: Folder, name: Buffer | string): Buffer =>
  Buffer.concat([folder, Buffer.from('/'), Buffer.from(name)]);

/** Null: it is gone. */
function look(folder: Folder): Level | null {
  let fd: number | null = null;
  try {
    if (folder.length > longest) fd = openSync(folder, 'r');
    const base = fd === null ? folder : Buffer.from(`/proc/self/fd/${fd}`);
    const entries = readdirSync(base, { withFileTypes: true, encoding: 'buffer' });
    return { folder, base, fd, names: entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])) };
  } catch (error) {
    if (fd !== null) closeSync(fd);
    if (isErrno(error, 'ENOENT', 'ENODEV')) return null;
    throw error;
  }
}

/** The pids in the folder's own cgroup. */
export function readPids(folder: Folder): number[] {
  try {
    const text = readFileSync(inFolder(folder, 'cgroup.procs'), 'utf8');
    return text.split('\n').flatMap((line) => (Number(line) > 0 ? [Number(line)] : []));
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV')) return []; // ENODEV: removed while open
    throw error;
  }
}
