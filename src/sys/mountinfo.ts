import { readFileSync } from 'node:fs';

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

/** Every mount of this process's mount namespace, in the order that they were made visible. */
export const readMountInfo = (): MountEntry[] => parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'));

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

/** The mount that holds an absolute, canonical path: the longest mount point above it, the topmost of a stack. */
export function mountOf(path: string, mounts: readonly MountEntry[]): MountEntry | undefined {
  let found: MountEntry | undefined;
  for (const mount of mounts) {
    if (!isBelow(path, mount.mountPoint)) continue;
    if (!found || mount.mountPoint.length >= found.mountPoint.length) found = mount;
  }
  return found;
}

/** Mount points below a directory, the newest first: the order to unmount them in. */
export const mountsBelow = (directory: string): string[] =>
  readMountInfo()
    .map(({ mountPoint }) => mountPoint)
    .filter((path) => path.startsWith(`${directory}/`))
    .reverse();

const isBelow = (path: string, folder: string) => folder === '/' || path === folder || path.startsWith(`${folder}/`);

/** Blanks, tabs, newlines and backslashes are written as three octal digits. */
const unescaped = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
