import type { BigIntStats } from 'node:fs';
import { lstat, readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, isErrno } from '../base/fault.ts';
import type { FileFacts, HostFiles } from '../base/host-files.ts';
import { readText } from './read-file.ts';

const isAbsent = (error: unknown): boolean => isErrno(error, 'ENOENT', 'ENOTDIR');

/** Read by this process itself, which hangs with what hangs: for paths that are known to answer. */
export const ownFiles = (): HostFiles => ({
  readText,
  list: async (path, most) => {
    const names = await readdir(path).catch((error) => {
      if (isAbsent(error)) return null;
      throw error;
    });
    if (names === null) return null;
    if (names.length > most) throw new Fault('ResourceExhausted', `${path} has more than ${most} names`);
    return Promise.all(
      names.sort().map(async (name) => [name, factsOf(await lstat(join(path, name), { bigint: true }))]),
    );
  },
  stat: (path) =>
    stat(path, { bigint: true }).then(factsOf, (error) => {
      if (isAbsent(error)) return null;
      throw error;
    }),
  fileSystem: async (path) => (await statfs(path)).type,
  [Symbol.dispose]: () => {},
});

function factsOf(stats: BigIntStats): FileFacts {
  const kind = stats.isDirectory() ? 'directory' : stats.isFile() ? 'file' : stats.isSymbolicLink() ? 'link' : 'other';
  const device = Number(stats.rdev);
  return {
    kind,
    mode: Number(stats.mode) & 0o777,
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    major: (device >> 8) & 0xfff,
    minor: (device & 0xff) | ((device >> 12) & 0xfff00),
  };
}
