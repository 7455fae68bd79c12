import { closeSync, type Dirent, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { isErrno } from '../base/fault.ts';

/** A directory, as bytes: names of cgroups need not be UTF-8. */
export type Folder = Buffer;

/** Paths of folders that are longer than this go on from a descriptor: the kernel takes 4,095 bytes, and trees may be deeper. */
const longest = 3000;

/** Milliseconds of walking after which others have their turn of the event loop: who may make cgroups makes any number. */
const aTurnMs = 5;
/** A folder with more folders in it than this is read in pieces, by another thread. */
const many = 500;

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
 * a path that holds until the next is asked for. A walk that takes long lets others have their turns.
 */
export async function* foldersBelow(folder: string, order: 'after' | 'before' = 'after'): AsyncGenerator<Folder> {
  const levels: Level[] = [];
  const enter = async (path: Folder): Promise<boolean> => {
    const level = await look(path);
    if (level) levels.push(level);
    return level !== null;
  };
  let turnEnds = performance.now() + aTurnMs;
  try {
    const root = Buffer.from(folder);
    if ((await enter(root)) && order === 'before') yield root;
    for (let level = levels.at(-1); level; level = levels.at(-1)) {
      if (performance.now() > turnEnds) {
        await turn();
        turnEnds = performance.now() + aTurnMs;
      }
      const name = level.names.pop();
      if (name !== undefined) {
        const path = inFolder(level.base, name);
        if ((await enter(path)) && order === 'before') yield path;
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
async function look(folder: Folder): Promise<Level | null> {
  let fd: number | null = null;
  try {
    if (folder.length > longest) fd = openSync(folder, 'r');
    const base = fd === null ? folder : Buffer.from(`/proc/self/fd/${fd}`);
    return { folder, base, fd, names: await foldersIn(base) };
  } catch (error) {
    if (fd !== null) closeSync(fd);
    if (isErrno(error, 'ENOENT', 'ENODEV')) return null;
    throw error;
  }
}

/** What Node takes, and its types do not know. */
const asBytes = { encoding: 'buffer' as BufferEncoding, bufferSize: many };

/** The links of a cgroup's folder are its own two and one of each folder in it, as on most file systems: on others it has one. */
async function foldersIn(folder: Folder): Promise<Buffer[]> {
  const { nlink } = statSync(folder);
  if (nlink === 2) return [];
  const names: Buffer[] = [];
  const take = (entry: Dirent<Buffer>) => entry.isDirectory() && names.push(entry.name);
  if (nlink < many) for (const entry of readdirSync(folder, { withFileTypes: true, encoding: 'buffer' })) take(entry);
  else for await (const entry of await opendir(folder, asBytes)) take(entry as unknown as Dirent<Buffer>);
  return names;
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
