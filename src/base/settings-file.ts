import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync } from 'node:fs';
import { Fault, isErrno, messageOf } from './fault.ts';
import { tomlOf } from './parse.ts';

/** A configuration with every setting in it and what it means has 12 kB. */
const mostBytes = 1 << 20;

/**
 * What a TOML file says; null if there is no such file. Nothing is waited for: a daemon that is told to reload reads it on
 * its only thread. @throws Fault InvalidArgument that names the file and says what is wrong.
 */
export function readToml(path: string): Record<string, unknown> | null {
  try {
    return tomlOf(readText(path));
  } catch (error) {
    const isNotThere = isErrno(error, 'ENOENT');
    if (isNotThere && !lstatSync(path, { throwIfNoEntry: false })) return null;
    const asRoot = isErrno(error, 'EACCES') ? ': run this as root, with sudo' : '';
    const why = isNotThere ? 'it is a link to what is not there' : `${messageOf(error)}${asRoot}`;
    throw new Fault('InvalidArgument', `Cannot read configuration ${path}: ${why}`, { cause: error });
  }
}

function readText(path: string): string {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    const facts = fstatSync(file);
    if (!facts.isFile()) throw new Error('it is no regular file, but a directory, a pipe or a device');
    if (facts.size > mostBytes) throw new Error(`it has ${facts.size} bytes, and may have ${mostBytes}`);
    return decode(readFileSync(file));
  } finally {
    closeSync(file);
  }
}

/** Other bytes would become a path that nobody wrote. */
function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new Error('it is not UTF-8, which TOML is', { cause: error });
  }
}
