import { chown, mkdir, stat } from 'node:fs/promises';
import { failedPrecondition, isErrno } from '../base/fault.ts';
import type { ContainerId } from '../model/ids.ts';
import type { Pod } from '../model/pod.ts';
import { bindMapped, hostId, type IdMaps } from '../sys/idmap.ts';
import { unmount } from '../sys/mounts.ts';
import { type Deps, runPaths } from './deps.ts';
import { podMaps } from './user-namespaces.ts';

/**
 * Mounts the container's root on its place in the bundle. In a pod with a user namespace the image's layers are seen
 * with its owners, and the writable layer has them on the disk: nothing in it belongs to the host's root.
 */
export async function mountRoot(deps: Deps, pod: Pod, id: ContainerId): Promise<void> {
  const target = runPaths(deps).rootfs(pod.id, id);
  const maps = podMaps(pod.config);
  if (!maps) return deps.snapshots.mount(id, target);
  await giveUpperLayer(deps, id, maps);
  await withMappedLayers(deps, pod, id, maps, (through) => deps.snapshots.mount(id, target, through));
}

/** The upper directory is the root directory of the overlay: its owner is the image's, mapped. */
async function giveUpperLayer(deps: Deps, id: ContainerId, maps: IdMaps): Promise<void> {
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
  deps: Deps,
  pod: Pod,
  id: ContainerId,
  maps: IdMaps,
  work: (through: string) => Promise<void>,
): Promise<void> {
  const place = runPaths(deps).layers(pod.id, id);
  await mkdir(place, { recursive: true, mode: 0o700 });
  mapOwners(deps.snapshots.root, place, maps);
  try {
    await work(place);
  } finally {
    unmount(place, { detach: true });
  }
}

/** bindMapped; FailedPrecondition where the file system cannot do it. */
export function mapOwners(source: string, target: string, maps: IdMaps): void {
  try {
    bindMapped(source, target, maps);
  } catch (error) {
    if (!isErrno(error, 'EINVAL', 'EPERM', 'EOPNOTSUPP')) throw error;
    throw failedPrecondition(
      `The owners of files in ${source} cannot be mapped for a user namespace: its file system does not support it`,
    );
  }
}
