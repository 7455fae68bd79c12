import { readFileSync, statfsSync } from 'node:fs';
import type { CgroupMode } from '../base/host-facts.ts';
import { type MountEntry, mountTableAtOnce, parseMountInfo } from './mountinfo.ts';

/** One mounted hierarchy: `controllers` as v1 names them, or those of the unified tree. */
export type Hierarchy = {
  readonly path: string;
  readonly version: 1 | 2;
  readonly controllers: readonly string[];
};

/** Where this host's cgroups are mounted. */
export type CgroupTree = { readonly mode: CgroupMode; readonly hierarchies: readonly Hierarchy[] };

/** Where every distribution mounts them. */
export const cgroupRoot = '/sys/fs/cgroup';
const CGROUP2_SUPER_MAGIC = 0x63677270;

/** Finds the mounted hierarchies below /sys/fs/cgroup. Throws if there is none. */
export function readCgroupTree(): CgroupTree {
  if (statfsSync(cgroupRoot).type === CGROUP2_SUPER_MAGIC) return { mode: 'v2', hierarchies: [unified(cgroupRoot)] };
  const mounts = parseMountInfo(mountTableAtOnce()).filter((mount) => mount.mountPoint.startsWith(`${cgroupRoot}/`));
  const first = mounts.filter((mount) => mount.type === 'cgroup').map(legacy);
  const second = mounts.filter((mount) => mount.type === 'cgroup2').map((mount) => unified(mount.mountPoint));
  if (first.length === 0) throw new Error(`No cgroup is mounted below ${cgroupRoot}: mount cgroup2 there`);
  return { mode: second.length > 0 ? 'hybrid' : 'v1', hierarchies: [...first, ...second] };
}

/** The super options of a v1 mount hold its controllers among flags; a named hierarchy says `name=...`. */
const flags = new Set(['rw', 'ro', 'xattr', 'noprefix', 'clone_children', 'relatime', 'seclabel']);
const legacy = (mount: MountEntry): Hierarchy => ({
  path: mount.mountPoint,
  version: 1,
  controllers: mount.superOptions.filter((option) => !flags.has(option) && !option.startsWith('release_agent=')),
});

const unified = (path: string): Hierarchy => ({
  path,
  version: 2,
  controllers: readFileSync(`${path}/cgroup.controllers`, 'utf8').trim().split(' ').filter(Boolean),
});

/** The hierarchy of a controller, v1 before v2, or undefined. */
export const hierarchyOf = (tree: CgroupTree, controller: string): Hierarchy | undefined =>
  tree.hierarchies.find(({ controllers }) => controllers.includes(controller));

/** Where this process is in a hierarchy, as a path below its mount point, from /proc/self/cgroup. */
export function ownCgroup(hierarchy: Hierarchy): string {
  for (const line of readFileSync('/proc/self/cgroup', 'utf8').split('\n')) {
    const [, names = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const same =
      hierarchy.version === 2 ? line.startsWith('0::') : hierarchy.controllers.includes(names.split(',')[0]!);
    if (same) return path;
  }
  return '/';
}
