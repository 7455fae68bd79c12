import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Fault, isErrno } from '../base/fault.ts';
import { type CgroupTree, cgroupRoot, type Hierarchy, hierarchyOf, ownCgroup, readCgroupTree } from './cgroup-tree.ts';
import { type Folder, foldersBelow, inFolder, readPids } from './cgroup-walk.ts';
import { makeDirectories } from './write-file.ts';

export { type CgroupTree, type Hierarchy, hierarchyOf, ownCgroup, readCgroupTree } from './cgroup-tree.ts';

/** Tests give a tree of their own; everyone else gets the host's, read once. */
export type CgroupOptions = { readonly tree?: CgroupTree; readonly deadlineMs?: number };

const TMPFS_MAGIC = 0x01021994;
const defaultDeadlineMs = 10_000;
let hostTree: CgroupTree | undefined;

function treeOf(options: CgroupOptions): CgroupTree {
  if (options.tree) return options.tree;
  hostTree ??= readCgroupTree();
  return hostTree;
}

/**
 * The directory of a cgroup in every hierarchy. `path` is below the mount points, without `..`: with a leading slash it is
 * taken as it is; without, a slice that it begins with (`a-b.slice/x`) or the systemd driver's `slice:prefix:name` is
 * spelled out. InvalidArgument for anything else.
 */
export function cgroupFolders(path: string, options: CgroupOptions = {}): string[] {
  const parts = partsOf(path);
  return treeOf(options).hierarchies.map((hierarchy) => join(hierarchy.path, ...parts));
}

function partsOf(path: string): string[] {
  const [slice = '', prefix = '', name, more] = path.split(':');
  const plain = name === undefined ? path : `${slice}/${prefix === '' ? name : `${prefix}-${name}.scope`}`;
  const [first = '', ...rest] = plain.split('/').filter((part) => part !== '');
  const isSlice = first.endsWith('.slice') && !path.startsWith('/');
  const parts = [...(isSlice ? sliceParents(first) : [first]), ...rest];
  if (
    first === '' ||
    more !== undefined ||
    path.includes('\0') ||
    parts.some((part) => part === '..' || part === '.')
  ) {
    throw new Fault('InvalidArgument', `Cgroup path ${JSON.stringify(path.slice(0, 200))} is not below the root`);
  }
  return parts;
}

/** A slice's name spells its parents, joined by dashes: `a-b.slice` is in `a.slice` (systemd.slice(5)). */
function sliceParents(slice: string): string[] {
  const names = slice.replace(/\.slice$/, '').split('-');
  return names.map((_, index) => `${names.slice(0, index + 1).join('-')}.slice`);
}

/** How a process gets into a cgroup by itself: it writes to v1's `tasks` files, and is born in v2's folder (or empty). */
export function cgroupEntrance(path: string, options: CgroupOptions = {}): { tasks: string[]; folder: string } {
  const folders = cgroupFolders(path, options);
  const version = treeOf(options).hierarchies.map((hierarchy) => hierarchy.version);
  return {
    tasks: folders.filter((_, index) => version[index] === 1).map((folder) => join(folder, 'tasks')),
    folder: folders.find((_, index) => version[index] === 2) ?? '',
  };
}

/** The directory of `path` that holds a controller's files, or null where the host lacks the controller. */
export function controllerFolder(path: string, controller: string, options: CgroupOptions = {}): string | null {
  const hierarchy = hierarchyOf(treeOf(options), controller);
  return hierarchy ? join(hierarchy.path, ...partsOf(path)) : null;
}

/** The file whose `oom_kill N` line counts the cgroup's processes that the kernel killed for memory, or empty. */
export function oomCountFile(path: string, options: CgroupOptions = {}): string {
  const folder = controllerFolder(path, 'memory', options);
  if (folder === null) return '';
  const version = hierarchyOf(treeOf(options), 'memory')?.version;
  return join(folder, version === 2 ? 'memory.events' : 'memory.oom_control');
}

/**
 * Makes the cgroup and its parents in every hierarchy; what exists is left alone. On v2 the controllers that the root
 * offers are handed down to it. The many hierarchies of v1 are one piece of work off the loop.
 */
export async function createCgroup(path: string, options: CgroupOptions = {}): Promise<void> {
  const parts = partsOf(path);
  const { hierarchies } = treeOf(options);
  const levels = (hierarchy: Hierarchy) => parts.map((_, index) => join(hierarchy.path, ...parts.slice(0, index + 1)));
  const plain = hierarchies.filter((hierarchy) => !settlerOf(hierarchy));
  const made = makeDirectories(plain.flatMap(levels), passableMode);
  for (const hierarchy of hierarchies) {
    const settle = settlerOf(hierarchy);
    if (settle) for (const folder of levels(hierarchy)) makeSettled(folder, settle);
  }
  await made;
}

/** The root of a user namespace goes through a container's cgroups, whatever the daemon's umask is. */
const passableMode = 0o755;

/** What a new directory of the hierarchy needs before it takes processes, if anything. */
function settlerOf({ version, controllers }: Hierarchy): ((folder: string) => void) | null {
  if (version === 2) return (folder) => handDown(dirname(folder), controllers);
  return controllers.includes('cpuset') ? copyCpuset : null;
}

/**
 * Has the kernel ready to move processes between cgroups for some milliseconds. The first move after a pause waits for an
 * RCU grace period, whatever moves (cgroup_threadgroup_rwsem): here this process, to where it is. It names no other by
 * its pid, which might be a stranger's by then.
 */
export async function readyToMove(options: CgroupOptions = {}): Promise<void> {
  try {
    const hierarchy = treeOf(options).hierarchies[0]!;
    await writeFile(join(hierarchy.path, ownCgroup(hierarchy), 'cgroup.procs'), '0');
  } catch {
    // Without this, the next move takes its time.
  }
}

function makeSettled(folder: string, settle: (folder: string) => void): void {
  try {
    mkdirSync(folder);
    chmodSync(folder, passableMode);
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  }
  settle(folder);
}

/** A parent with processes refuses (EBUSY), one whose own parent kept a controller back has none to give (ENOENT). */
function handDown(folder: string, controllers: readonly string[]): void {
  for (const controller of controllers) {
    try {
      writeFileSync(join(folder, 'cgroup.subtree_control'), `+${controller}`);
    } catch (error) {
      if (!isErrno(error, 'EBUSY', 'ENOENT', 'EOPNOTSUPP', 'EINVAL')) throw error;
    }
  }
}

/** A new v1 cpuset has no processors and takes no process (ENOSPC) until it is given its parent's. */
function copyCpuset(folder: string): void {
  for (const name of ['cpuset.cpus', 'cpuset.mems']) {
    const file = join(folder, name);
    if (readFileSync(file, 'utf8').trim() !== '') continue;
    writeFileSync(file, readFileSync(join(dirname(folder), name), 'utf8'));
  }
}

/** Every pid in the cgroup and below it, as this pid namespace sees it. A cgroup that is gone has none. */
export async function pidsIn(path: string, options: CgroupOptions = {}): Promise<number[]> {
  const pids = new Set<number>();
  for (const folder of cgroupFolders(path, options)) {
    for await (const each of foldersBelow(folder)) for (const pid of readPids(each)) pids.add(pid);
  }
  return [...pids];
}

/** The same by the word of one hierarchy: for what is told of them, and not for what ends them. */
export async function pidsInOne(path: string, options: CgroupOptions = {}): Promise<number[]> {
  const folder = controllerFolder(path, 'pids', options) ?? cgroupFolders(path, options)[0]!;
  const pids: number[] = [];
  for await (const each of foldersBelow(folder)) for (const pid of readPids(each)) pids.push(pid);
  return pids;
}

/** v1 freezer: a frozen process gets no SIGKILL (freezer-subsystem.rst); v2 lets it die, yet not what it left undone. */
const thawing = [
  { file: 'freezer.state', text: 'THAWED' },
  { file: 'cgroup.freeze', text: '0' },
] as const;

/** Lets the processes of the cgroup and below go on, whoever froze them; a cgroup that is gone is left alone. */
export async function thawCgroup(path: string, options: CgroupOptions = {}): Promise<void> {
  for (const root of cgroupFolders(path, options))
    for await (const folder of foldersBelow(root, 'before')) thaw(folder);
}

function thaw(folder: Folder): void {
  for (const { file, text } of thawing) {
    try {
      writeFileSync(inFolder(folder, file), text, { flag: 'r+' });
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENODEV', 'EOPNOTSUPP')) throw error;
    }
  }
}

const pollMs = 5;

/**
 * Kills every process of the cgroup and below, and waits until none is left. DeadlineExceeded names the survivors: they
 * are stuck in the kernel.
 */
export async function killCgroup(path: string, options: CgroupOptions = {}): Promise<void> {
  const end = performance.now() + (options.deadlineMs ?? defaultDeadlineMs);
  for (;;) {
    const began = performance.now();
    const pids = await killOnce(path, options);
    if (pids.size === 0) return;
    if (performance.now() > end) {
      throw new Fault('DeadlineExceeded', `Processes ${[...pids].slice(0, 20)} of cgroup ${path} survive SIGKILL`);
    }
    await delay(Math.max(pollMs, performance.now() - began)); // of tens of thousands a look takes long: half of the time is for others
  }
}

/**
 * cgroup.kill (Linux 5.14) is one step; without it a fork can win against one pass, hence the caller's loop. Each pid is
 * killed as soon as it is read: it might be a stranger's after a long walk. What is frozen dies when it is thawed.
 */
async function killOnce(path: string, options: CgroupOptions): Promise<ReadonlySet<number>> {
  const killed = new Set<number>();
  for (const root of cgroupFolders(path, options)) {
    killAtOnce(root);
    for await (const folder of foldersBelow(root)) {
      for (const pid of readPids(folder)) {
        if (!killed.has(pid)) kill(pid);
        killed.add(pid);
      }
    }
  }
  if (killed.size > 0) await thawCgroup(path, options);
  return killed;
}

/** v1 and older kernels have no such file, and a cgroup that is gone has none either; EOPNOTSUPP: a threaded one. */
function killAtOnce(root: string): void {
  try {
    writeFileSync(join(root, 'cgroup.kill'), '1', { flag: 'r+' });
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENODEV', 'EOPNOTSUPP')) throw error;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}

/**
 * Removes the cgroup and all below it from every hierarchy; one that is gone counts as removed. The kernel keeps a cgroup
 * busy for a moment after its last process: retried until the deadline, then DeadlineExceeded.
 */
export async function removeCgroup(path: string, options: CgroupOptions = {}): Promise<void> {
  const end = performance.now() + (options.deadlineMs ?? defaultDeadlineMs);
  for (const folder of strayFolders(path, options)) rmSync(folder, { recursive: true, force: true });
  for (const root of cgroupFolders(path, options)) {
    for await (const folder of foldersBelow(root)) {
      while (!removed(folder)) {
        if (performance.now() > end)
          throw new Fault('DeadlineExceeded', `Cgroup ${root}, or one in it, stays busy: ${readPids(folder)}`);
        await delay(pollMs);
      }
    }
  }
}

/**
 * crun 1.8 makes a container's directory for controllers that are not mounted too, with plain files in it: in the tmpfs
 * that holds the v1 mount points.
 */
function strayFolders(path: string, options: CgroupOptions): string[] {
  const { mode, hierarchies } = treeOf(options);
  if (mode === 'v2') return [];
  const mounted = new Set(hierarchies.map((hierarchy) => hierarchy.path));
  const plain = readdirSync(cgroupRoot, { withFileTypes: true }).filter(
    (entry) => entry.isDirectory() && !mounted.has(join(cgroupRoot, entry.name)),
  );
  const folders = plain.map(({ name }) => join(cgroupRoot, name, ...partsOf(path)));
  return folders.filter((folder) => existsSync(folder) && statfsSync(folder).type === TMPFS_MAGIC);
}

function removed(folder: Folder): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return true;
    if (isErrno(error, 'EBUSY', 'ENOTEMPTY')) return false;
    throw error;
  }
}
