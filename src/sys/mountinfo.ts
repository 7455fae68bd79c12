import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/** One line of /proc/self/mountinfo (proc(5)). */
export type MountEntry = {
  readonly id: number;
  readonly parent: number;
  /** The path within the file system that is the root of this mount. */
  readonly root: string;
  readonly mountPoint: string;
  readonly options: readonly string[];
  /** Whether mounts made here reach peers (`shared`), and mounts of a master reach here (`slave`). */
  readonly shared: boolean;
  readonly slave: boolean;
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
};

const table = '/proc/self/mountinfo';

/**
 * The mounts of this process's mount namespace as text, in the order that they were made visible: for starts and commands. A container
 * whose mounts reach the host may have made 100,000 of them (fs.mount-max), which the kernel writes out for a third of a second.
 */
export const mountTableAtOnce = (): string => readFileSync(table, 'utf8');

/** The same off the event loop. */
export const readMountTable = (): Promise<string> => readFile(table, 'utf8');

/** The entries of a mountinfo text. Lines without the ` - ` separator are passed over. */
export function parseMountInfo(text: string): MountEntry[] {
  return text.split('\n').flatMap((line) => {
    const [left, right] = line.split(' - ', 2);
    if (left === undefined || right === undefined) return [];
    const [id, parent, , root = '', mountPoint = '', options = '', ...tags] = left.split(' ');
    const [type = '', source = '', superOptions = ''] = right.split(' ');
    return [
      {
        id: Number(id),
        parent: Number(parent),
        root: unescaped(root),
        mountPoint: unescaped(mountPoint),
        options: options.split(','),
        shared: tags.some((tag) => tag.startsWith('shared:')),
        slave: tags.some((tag) => tag.startsWith('master:')),
        type,
        source: unescaped(source),
        superOptions: superOptions.split(','),
      },
    ];
  });
}

/**
 * The mount that holds an absolute, canonical path: the longest mount point above it, the topmost of a stack. Of all others not
 * more than the mount point is looked at.
 */
export function mountOf(path: string, text: string): MountEntry | undefined {
  let found = '';
  let longest = 0;
  for (let at = 0, end = 0; at < text.length; at = end + 1) {
    end = text.indexOf('\n', at);
    if (end < 0) end = text.length;
    const point = mountPointAt(text, at, end);
    if (point === '' || point.length < longest || !isBelow(path, unescaped(point))) continue;
    longest = point.length;
    found = text.slice(at, end);
  }
  return parseMountInfo(found)[0];
}

/** The fifth field of a line, as it is written; empty for a line that has none. */
function mountPointAt(text: string, begin: number, end: number): string {
  let at = begin;
  for (let field = 0; field < 4; field++) at = text.indexOf(' ', at) + 1;
  const after = text.indexOf(' ', at);
  return at > begin && after > 0 && after < end ? text.slice(at, after) : '';
}

/** Mount points below a directory, the newest first: the order to unmount them in. */
export const mountsBelow = async (directory: string): Promise<string[]> =>
  pointsBelow(await readMountTable(), directory);

/** The same of a mountinfo text. A full node has thousands of mounts: only lines that have the directory are parsed. */
export function pointsBelow(text: string, directory: string): string[] {
  const wanted = ` ${escaped(directory)}/`;
  const lines: string[] = [];
  for (let at = text.indexOf(wanted); at >= 0; ) {
    const end = text.indexOf('\n', at);
    lines.push(text.slice(text.lastIndexOf('\n', at) + 1, end < 0 ? undefined : end));
    at = end < 0 ? -1 : text.indexOf(wanted, end);
  }
  return parseMountInfo(lines.join('\n'))
    .map(({ mountPoint }) => mountPoint)
    .filter((path) => path.startsWith(`${directory}/`)) // the directory may also be a mount's root or source
    .reverse();
}

const isBelow = (path: string, folder: string) => folder === '/' || path === folder || path.startsWith(`${folder}/`);

/** Blanks, tabs, newlines and backslashes are written as three octal digits. */
const unescaped = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

const escaped = (text: string) =>
  text.replace(/[ \t\n\\]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`);
