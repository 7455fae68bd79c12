import { invalidArgument } from '../base/fault.ts';
import type { ResolvedMount, SpecInput } from './input.ts';
import { cleanPath } from './paths.ts';
import type { OciMount } from './spec.ts';

const noExecDevice = ['nosuid', 'noexec', 'nodev'];

/** What every container has, unless it asks for something else there. */
export function defaultMounts(input: SpecInput): OciMount[] {
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

/** What every container of a pod shares with the others. */
export function podFiles({ files, container, pod }: SpecInput): OciMount[] {
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

/** @throws Fault InvalidArgument */
export function requestMount(request: ResolvedMount): OciMount {
  const restrictions = new Set([...(request.image === '' ? [] : imageVolume), ...(request.mountOptions ?? [])]);
  return mount(mountPoint(request.containerPath), 'bind', request.source, [
    'rbind',
    propagationOption[request.propagation],
    accessOption(request),
    ...restrictions,
    ...(request.kept ?? []).filter((option) => !restrictions.has(option)),
  ]);
}

/** Its source is a directory that is made once it is known which there are. */
export const volumeMount = (path: string): OciMount => mount(path, 'bind', '', ['rbind', 'rprivate', 'rw']);

function mountPoint(containerPath: string): string {
  if (containerPath === '' || containerPath.includes('\0')) {
    throw invalidArgument(`Mount path ${JSON.stringify(containerPath.slice(0, 200))} is not a path in the container`);
  }
  if (cleanPath(containerPath) === '/') throw invalidArgument('Mount path "/" would cover the root: mount below it');
  return containerPath;
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

const mapsGroup = (maps: readonly { containerId: number; length: number }[], gid: number) =>
  maps.some((map) => gid >= map.containerId && gid < map.containerId + map.length);
