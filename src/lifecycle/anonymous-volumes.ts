import { chmod, mkdir, readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../base/fault.ts';
import type { Container } from '../model/container.ts';
import type { ContainerId } from '../model/ids.ts';
import type { Image } from '../model/image.ts';
import type { Pod } from '../model/pod.ts';
import { cleanPath, inMountOrder, type ResolvedMount } from '../oci/index.ts';
import { removeTree } from '../sys/files.ts';
import { copyTree, openInRoot } from '../sys/places.ts';
import { makeDirectory } from '../sys/write-file.ts';
import type { Deps } from './deps.ts';
import { isReserved } from './landings.ts';
import { giveToPod } from './pod-files.ts';
import { mayHaveNodes } from './root-mount.ts';
import { RootView } from './root-view.ts';

const root = ({ settings }: Pick<Deps, 'settings'>): string => join(settings.dataDir, 'v1', 'volumes');

/**
 * A directory of the container's own for every VOLUME of its image that the request mounts nothing on. It starts with
 * what the image has there, owners and modes included, and goes with the container. What counts is where a path leads, not
 * how it is written: a volume that would hide what Berth mounts is left out.
 */
export async function makeAnonymousVolumes(
  deps: Deps,
  pod: Pod,
  { id, config }: Container,
  image: Image,
  mounted: { readonly rootfs: string; readonly mounts: readonly ResolvedMount[] },
): Promise<ResolvedMount[]> {
  const paths = await freePlaces(mounted, image.config.volumes);
  const nodev = !mayHaveNodes(deps, pod, config);
  const volumes: ResolvedMount[] = [];
  for (const [index, path] of paths.entries()) {
    const folder = join(root(deps), id, String(index));
    await makeDirectory(join(root(deps), id), 0o700);
    await mkdir(folder);
    await fill(pod, mounted.rootfs, path, folder);
    const source = await realpath(folder); // canonical, as the host paths of requests are
    volumes.push({ ...volumeAt(path, source), nodev });
  }
  return volumes;
}

/** Where these paths lead, once each, but for places that are taken and those that are no image's. */
async function freePlaces(
  { rootfs, mounts }: Parameters<typeof makeAnonymousVolumes>[4],
  paths: readonly string[],
): Promise<string[]> {
  const view = new RootView(rootfs);
  const taken = new Set<string>();
  for (const { containerPath, source } of inMountOrder(mounts, ({ containerPath: path }) => cleanPath(path))) {
    const place = await view.resolve(containerPath);
    view.cover(place, source);
    taken.add(place);
  }
  const places = new Set<string>();
  for (const path of paths) places.add(await view.resolve(path));
  return [...places].filter((place) => !taken.has(place) && !isReserved(place));
}

async function fill(pod: Pod, rootfs: string, path: string, folder: string): Promise<void> {
  using found = openInRoot(rootfs, path);
  if (found) {
    try {
      return await copyTree(found.path, folder);
    } catch (error) {
      if (!isErrno(error, 'ENOTDIR')) throw error;
    }
  }
  await chmod(folder, 0o755);
  await giveToPod(pod, folder);
}

const volumeAt = (containerPath: string, folder: string): ResolvedMount => ({
  containerPath,
  hostPath: folder,
  source: folder,
  readonly: false,
  recursiveReadOnly: false,
  selinuxRelabel: true,
  propagation: 'private',
  uidMappings: [],
  gidMappings: [],
  image: '',
  imageSubPath: '',
});

/** Removes the container's anonymous volumes; idempotent. */
export const removeAnonymousVolumes = (deps: Deps, id: ContainerId): Promise<void> => removeTree(join(root(deps), id));

/** Removes those of containers that no record names. */
export async function sweepAnonymousVolumes(deps: Deps): Promise<void> {
  try {
    for (const name of await readdir(root(deps))) {
      if (!deps.containers.get(name as ContainerId)) await removeTree(join(root(deps), name));
    }
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}
