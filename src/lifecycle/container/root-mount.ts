import { chown, mkdir, stat } from 'node:fs/promises';
import { failedPrecondition, isErrno } from '../../base/fault.ts';
import type { ContainerConfig } from '../../model/config.ts';
import type { Container } from '../../model/container.ts';
import type { ContainerId } from '../../model/ids.ts';
import type { Pod } from '../../model/pod.ts';
import { cleanPath, resolveCapabilities } from '../../oci/index.ts';
import { unsupported } from '../../shim/index.ts';
import { bindMapped, hostId, type IdMaps } from '../../sys/idmap.ts';
import { unmount } from '../../sys/mounts.ts';
import type { Deps } from '../deps.ts';
import { podMaps } from '../pod/user-namespaces.ts';
import { requestedDevices } from './cdi-devices.ts';

/**
 * Mounts the container's root on its place in the bundle. In a pod with a user namespace the image's layers are seen
 * with its owners, and the writable layer has them on the disk: nothing in it belongs to the host's root.
 */
export async function mountRoot(
  deps: Pick<Deps, 'host' | 'layout' | 'settings' | 'snapshots'>,
  pod: Pod,
  { id, config }: Container,
): Promise<void> {
  const target = deps.layout.rootfs(pod.id, id);
  const maps = podMaps(pod.config);
  const nodev = !mayHaveNodes(deps, pod, config);
  if (!maps) return deps.snapshots.mount(id, target, { nodev });
  await giveUpperLayer(deps, id, maps);
  await withMappedLayers(deps, pod, id, maps, (through) => deps.snapshots.mount(id, target, { through, nodev }));
}

/**
 * Whether device nodes in the container's root are of use: those that it makes (a chroot's /dev/null; the devices cgroup
 * says which can be opened), and those that it asks for outside of /dev. For everybody else a node in the root is one that
 * came with the image.
 */
export function mayHaveNodes(deps: Pick<Deps, 'host' | 'settings'>, pod: Pod, config: ContainerConfig): boolean {
  const { security, devices } = config;
  const makes =
    podMaps(pod.config) === null && // mknod(2): only in the first user namespace
    resolveCapabilities(security, deps.host.capabilities, deps.settings.containers.capabilities).bounding.includes(
      'CAP_MKNOD',
    );
  const elsewhere = devices.some(
    ({ hostPath, containerPath }) => !cleanPath(containerPath || hostPath).startsWith('/dev/'),
  );
  return security.privileged || makes || elsewhere || requestedDevices(config).length > 0;
}

/** The upper directory is the root directory of the overlay: its owner is the image's, mapped. */
async function giveUpperLayer(deps: Pick<Deps, 'snapshots'>, id: ContainerId, maps: IdMaps): Promise<void> {
  const [below] = deps.snapshots.lowerPaths(id);
  const owner = below === undefined ? { uid: 0, gid: 0 } : await stat(below);
  const uid = hostId(maps.uids, owner.uid);
  const gid = hostId(maps.gids, owner.gid);
  if (uid === null || gid === null) {
    throw failedPrecondition(`The image's root belongs to ${owner.uid}:${owner.gid}, which the pod does not map`);
  }
  await chown(deps.snapshots.treePath(id), uid, gid);
}

/**
 * Runs `work` with a place where all layers are seen with mapped owners. An overlay keeps its own hold on its layers, so
 * that the place can go as soon as it is mounted.
 */
export async function withMappedLayers(
  deps: Pick<Deps, 'layout' | 'snapshots'>,
  pod: Pod,
  id: ContainerId,
  maps: IdMaps,
  work: (through: string) => Promise<void>,
): Promise<void> {
  const place = deps.layout.layers(pod.id, id);
  await mkdir(place, { recursive: true, mode: 0o700 });
  const { root: layers } = deps.snapshots;
  await mapped(layers, () => bindMapped(layers, place, maps, { nosuid: true, nodev: true })); // an image volume of one layer is a part of it
  try {
    await work(place);
  } finally {
    unmount(place, { detach: true });
  }
}

/** Runs what maps the owners of a path; FailedPrecondition where its file system cannot do it. */
export async function mapped(source: string, work: () => void | Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isErrno(error, 'EINVAL', 'EPERM', ...unsupported)) throw error;
    throw failedPrecondition(
      `The owners of files in ${source} cannot be mapped for a user namespace: its file system does not support it`,
    );
  }
}
