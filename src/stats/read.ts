import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { isErrno } from '../base/fault.ts';

/** A cgroup or proc file's text, or null when it is not there: the controller lacks it or the cgroup is gone. */
export const readText = (path: string): string | null => unlessAbsent(() => readFileSync(path, 'utf8'));

function unlessAbsent(read: () => string): string | null {
  try {
    return read();
  } catch (error) {
    // ENODEV: the cgroup was removed meanwhile; EOPNOTSUPP: pressure without CONFIG_PSI_DEFAULT; EINVAL: an offline device
    if (isErrno(error, 'ENOENT', 'ENODEV', 'EOPNOTSUPP', 'ENOTDIR', 'ESRCH', 'EINVAL')) return null;
    throw error;
  }
}

/** The first bytes of such a file, which somebody else can make large. */
export function readStart(path: string, most: number): string | null {
  return unlessAbsent(() => {
    const file = openSync(path, 'r');
    try {
      const bytes = Buffer.allocUnsafe(most);
      let size = 0;
      for (let got = -1; got !== 0 && size < most; size += got) got = readSync(file, bytes, size, most - size, null);
      return bytes.toString('utf8', 0, size);
    } finally {
      closeSync(file);
    }
  });
}

/** A file with one number in it, or null; `max` is Infinity. */
export function readNumber(path: string): number | null {
  const text = readText(path)?.trim();
  if (text === undefined || text === '') return null;
  return text === 'max' ? Number.POSITIVE_INFINITY : Number(text);
}

/** A file of `key value` lines; absent keys read as 0. */
export function readTable(path: string): ReadonlyMap<string, number> | null {
  const text = readText(path);
  return text === null ? null : parseTable(text);
}

export function parseTable(text: string): ReadonlyMap<string, number> {
  const lines = text.split('\n').flatMap((line) => {
    const space = line.indexOf(' ');
    return space < 0 ? [] : [[line.slice(0, space), Number(line.slice(space + 1))] as const];
  });
  return new Map(lines);
}
