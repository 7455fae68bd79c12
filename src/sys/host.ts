import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { hostname, release } from 'node:os';
import { join } from 'node:path';
import { capabilityNames } from '../base/capability-names.ts';
import { isErrno } from '../base/fault.ts';
import type { HostFacts } from '../base/host-facts.ts';
import { type CgroupTree, hierarchyOf, ownCgroup, readCgroupTree } from './cgroup-tree.ts';

/** The running kernel's boot id: mounts, processes and page cache of another one are gone. */
export const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

/** Reads what this host and this process may do, once at start. Throws if no cgroup hierarchy is mounted. */
export function gatherHostFacts(): HostFacts {
  const tree = readCgroupTree();
  const capabilities = ownCapabilities(readFileSync('/proc/self/status', 'utf8'));
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return {
    cgroupMode: tree.mode,
    controllers: limitingControllers(tree),
    capabilities,
    oomScoreAdjMin: capabilities.includes('CAP_SYS_RESOURCE') ? -1000 : Number(textOf('/proc/self/oom_score_adj')),
    openFiles: Number(/^Max open files +\S+ +(\d+)/m.exec(textOf('/proc/self/limits'))?.[1] ?? 1024),
    apparmor: textOf('/sys/module/apparmor/parameters/enabled').startsWith('Y'),
    selinux: existsSync('/sys/fs/selinux/enforce'),
    seccomp: existsSync('/proc/sys/kernel/seccomp/actions_avail'),
    swapAccounting: hasSwapAccounting(tree),
    hugepageSizes: hugepageSizes(),
    architecture: process.arch,
    hostname: hostname(),
    kernel: [major, minor],
  };
}

/** What is both permitted and in the bounding set: a child can be given no more. Takes the text of /proc/self/status. */
export function ownCapabilities(status: string): string[] {
  const mask = (field: string) => BigInt(`0x${new RegExp(`^${field}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1] ?? '0'}`);
  const both = mask('CapPrm') & mask('CapBnd');
  return capabilityNames.filter((_, bit) => (both >> BigInt(bit)) & 1n);
}

/** In hybrid mode the unified tree limits nothing that the OCI runtimes would set there. */
function limitingControllers(tree: CgroupTree): string[] {
  const hierarchies = tree.hierarchies.filter(({ version }) => tree.mode === 'v2' || version === 1);
  return hierarchies.flatMap(({ controllers }) => controllers.filter((name) => !name.startsWith('name=')));
}

/** The root of v2 has no memory files: look at this process's cgroup, and at the root's children if that is the root. */
function hasSwapAccounting(tree: CgroupTree): boolean {
  const hierarchy = hierarchyOf(tree, 'memory');
  if (!hierarchy) return false;
  const file = hierarchy.version === 1 ? 'memory.memsw.limit_in_bytes' : 'memory.swap.max';
  const children = readdirSync(hierarchy.path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const places = ['', ownCgroup(hierarchy), ...children.map(({ name }) => name)];
  return places.some((place) => existsSync(join(hierarchy.path, place, file)));
}

/** `hugepages-2048kB` is `2MB` to the hugetlb controller. */
function hugepageSizes(): string[] {
  const units = ['KB', 'MB', 'GB'];
  return namesIn('/sys/kernel/mm/hugepages').flatMap((name) => {
    let size = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
    let unit = 0;
    for (; size >= 1024 && unit < units.length - 1; unit++) size /= 1024;
    return size > 0 ? [`${size}${units[unit]}`] : [];
  });
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
