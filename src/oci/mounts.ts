import { invalidArgument } from '../base/fault.ts';
import type { ResolvedMount, SpecInput } from './input.ts';
import type { OciMount } from './spec.ts';

const noExecDevice = ['nosuid', 'noexec', 'nodev'];

/**
 * Every mount of a container in the order to make them: parents before children, and within one depth the defaults, the
 * pod's files, then the request's in its own order. Of the defaults those are left out that lie at or below a request's
 * mount: what was asked for is there as it is on the host. The pod's files give way to a mount of the same place, and to
 * one that the host shares: each mount made in it would be the host's too, and outlive the container.
 */
export function buildMounts(input: SpecInput): OciMount[] {
  const requested = [
    ...input.mounts.map((mount) => requestMount(mount, input.recursiveOptions ?? false)),
    ...(input.injected?.mounts ?? []),
  ];
  const places = requested.map((mount) => cleanPath(mount.destination));
  const shared = requested.filter(isShared).map((mount) => cleanPath(mount.destination));
  const own = [
    ...defaultMounts(input).filter(({ destination }) => !places.some((top) => isAtOrBelow(destination, top))),
    ...podFiles(input).filter(
      ({ destination }) => !places.includes(destination) && !shared.some((top) => isAtOrBelow(destination, top)),
    ),
  ];
  return inMountOrder([...own, ...requested], ({ destination }) => destination);
}

/** True for the same clean absolute path, and for one below it. */
export const isAtOrBelow = (path: string, top: string): boolean =>
  path === top || path.startsWith(top === '/' ? top : `${top}/`);

const isShared = ({ options }: OciMount): boolean => options.includes('rshared') || options.includes('shared');

/** Parents before children by what the clean paths say; equals stay in their order. */
export const inMountOrder = <T>(mounts: readonly T[], pathOf: (mount: T) => string): T[] =>
  mounts.toSorted((a, b) => depth(pathOf(a)) - depth(pathOf(b)));

/** The widest propagation that any mount needs of the root, or undefined for private. */
export function rootfsPropagation(mounts: readonly ResolvedMount[]): 'rshared' | 'rslave' | undefined {
  if (mounts.some((mount) => mount.propagation === 'bidirectional')) return 'rshared';
  return mounts.some((mount) => mount.propagation === 'hostToContainer') ? 'rslave' : undefined;
}

/** An absolute path without `.`, `..`, doubled or trailing slashes; `..` stops at the root as in the kernel. */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

function defaultMounts(input: SpecInput): OciMount[] {
  const { user } = input.pod.security.namespaces;
  const access = input.container.security.privileged ? 'rw' : 'ro';
  // A group that the user namespace does not map cannot own anything (EINVAL); 5 is tty everywhere.
  const hasTty = user?.mode !== 'pod' || mapsGroup(user.gids, 5);
  const pts = ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', ...(hasTty ? ['gid=5'] : [])];
  return [
    mount('/proc', 'proc', 'proc', noExecDevice),
    mount('/dev', 'tmpfs', 'tmpfs', ['nosuid', 'strictatime', 'mode=755', 'size=65536k']),
    mount('/dev/pts', 'devpts', 'devpts', pts),
    mount('/dev/mqueue', 'mqueue', 'mqueue', noExecDevice),
    sysMount(input, access),
    cgroupMount(input, access),
  ];
}

/**
 * There is one cgroup2 of the host: who mounts it anew from the host's cgroup namespace takes nsdelegate and memory_recursiveprot
 * from all of its mounts, as crun 1.8 and runc 1.1 do for a container that has no such namespace of its own.
 */
function cgroupMount({ host, container }: SpecInput, access: string): OciMount {
  const options = [...noExecDevice, 'relatime', access];
  if (host.cgroupMode !== 'v2' || !container.security.privileged)
    return mount('/sys/fs/cgroup', 'cgroup', 'cgroup', options);
  return mount('/sys/fs/cgroup', 'bind', '/sys/fs/cgroup', ['rbind', 'rprivate', ...options]);
}

/**
 * The kernel lets only the owner of a network namespace mount a sysfs for it: a user namespace on the host's network has
 * to make do with the host's tree.
 */
function sysMount({ pod }: SpecInput, access: string): OciMount {
  const { namespaces } = pod.security;
  if (namespaces.user?.mode === 'pod' && namespaces.network === 'node') {
    return mount('/sys', 'none', '/sys', ['rbind', 'rslave', ...noExecDevice, access]);
  }
  return mount('/sys', 'sysfs', 'sysfs', [...noExecDevice, access]);
}

function podFiles({ files, container, pod }: SpecInput): OciMount[] {
  const access = container.security.readonlyRootfs ? 'ro' : 'rw';
  const shm = files.shm === '' && pod.security.namespaces.ipc === 'node' ? '/dev/shm' : files.shm;
  const bind = (destination: string, source: string, options: string[]) =>
    source === '' ? [] : [mount(destination, 'bind', source, options)];
  return [
    ...bind('/etc/hosts', files.hosts, ['rbind', 'rprivate', access]),
    ...bind('/etc/hostname', files.hostname, ['rbind', 'rprivate', access]),
    ...bind('/etc/resolv.conf', files.resolvConf, ['rbind', 'rprivate', access]),
    ...bind('/dev/shm', shm, ['rbind', 'rprivate', ...noExecDevice]),
  ];
}

const propagationOption = { private: 'rprivate', hostToContainer: 'rslave', bidirectional: 'rshared' } as const;

/** Programs of an image volume may be run, as with containerd, but give nobody another user's rights. */
const imageVolume = ['nosuid', 'nodev'];

/** `rnodev`: crun 1.8 does nothing else about a mount that can be written to in a user namespace. */
function requestMount(request: ResolvedMount, recursive: boolean): OciMount {
  const restrictions = new Set([
    ...(request.image === '' ? [] : imageVolume),
    ...(request.nodev ? ['nodev'] : []),
    ...(request.mountOptions ?? []),
  ]);
  return mount(mountPoint(request.containerPath), 'bind', request.source, [
    'rbind',
    propagationOption[request.propagation],
    accessOption(request),
    ...restrictions,
    ...(request.kept ?? []).filter((option) => !restrictions.has(option)),
    ...(recursive && request.nodev ? ['rnodev'] : []),
  ]);
}

function mountPoint(containerPath: string): string {
  if (containerPath === '' || containerPath.includes('\0')) {
    throw invalidArgument(`Mount path ${JSON.stringify(containerPath.slice(0, 200))} is not a path in the container`);
  }
  const destination = cleanPath(containerPath);
  if (destination === '/') throw invalidArgument('Mount path "/" would cover the root: mount below it');
  return destination;
}

/** CRI: recursive read-only needs a read-only mount without propagation (Mount.recursive_read_only). */
function accessOption(mount: ResolvedMount): string {
  const { containerPath, readonly, recursiveReadOnly, propagation, image } = mount;
  if (image !== '') return 'ro';
  if (!recursiveReadOnly) return readonly ? 'ro' : 'rw';
  const path = JSON.stringify(containerPath.slice(0, 200));
  if (!readonly) throw invalidArgument(`Mount ${path} is recursive read-only but not read-only: set readonly too`);
  if (propagation !== 'private') {
    throw invalidArgument(
      `Mount ${path} is recursive read-only with propagation ${propagation}: only private is possible`,
    );
  }
  return mount.single ? 'ro' : 'rro'; // crun 1.8 refuses the latter for a file
}

const mount = (destination: string, type: string, source: string, options: readonly string[]): OciMount => ({
  destination,
  type,
  source,
  options: [...options],
});

const depth = (path: string) => path.split('/').length;

const mapsGroup = (maps: readonly { containerId: number; length: number }[], gid: number) =>
  maps.some((map) => gid >= map.containerId && gid < map.containerId + map.length);
