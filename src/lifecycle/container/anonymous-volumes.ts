import { chmod, lstat, mkdir, readdir, readlink, realpath, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../../base/fault.ts';
import type { Container } from '../../model/container.ts';
import type { ContainerId } from '../../model/ids.ts';
import type { Image } from '../../model/image.ts';
import type { Pod } from '../../model/pod.ts';
import { cleanPath, inMountOrder, isAtOrBelow, type ResolvedMount } from '../../oci/index.ts';
import type { Looker } from '../../shim/index.ts';
import { removeTree } from '../../sys/files.ts';
import { copyTree, openInRoot } from '../../sys/places.ts';
import { makeDirectory } from '../../sys/write-file.ts';
import type { Deps } from '../deps.ts';
import { giveToPod } from '../pod/files.ts';
import { isReserved } from './landings.ts';
import { mayHaveNodes } from './root-mount.ts';
import { RootView } from './root-view.ts';

const root = ({ layout }: Pick<Deps, 'layout'>): string => layout.anonymousVolumes;

/**
 * A directory of the container's own for every VOLUME of its image that the request mounts nothing on. It starts with
 * what the image has there, owners and modes included, and goes with the container. What counts is where a path leads, not
 * how it is written: a volume that would hide what Berth mounts is left out, and one in what the container shares with the
 * host both ways, which would be mounted there too.
 */
export async function makeAnonymousVolumes(
  deps: Pick<Deps, 'host' | 'layout' | 'settings'>,
  pod: Pod,
  { id, config }: Container,
  image: Image,
  mounted: { readonly rootfs: string; readonly mounts: readonly ResolvedMount[] },
  looker: Looker,
): Promise<ResolvedMount[]> {
  const paths = await freePlaces(mounted, image.config.volumes, looker);
  if (paths.length === 0) return [];
  const nodev = !mayHaveNodes(deps, pod, config);
  await makeDirectory(join(root(deps), id), 0o700);
  const top = await realpath(join(root(deps), id)); // canonical, as the host paths of requests are
  const rootfs = await realpath(mounted.rootfs);
  const volumes: ResolvedMount[] = [];
  // The outer before the inner: see `fill`.
  for (const [index, path] of inMountOrder(paths, (each) => each).entries()) {
    const folder = join(top, String(index));
    await mkdir(folder);
    if (!(await fill(rootfs, path, folder, volumes))) {
      await chmod(folder, 0o755);
      await giveToPod(pod, folder);
    }
    volumes.push({ ...volumeAt(path, folder), nodev });
  }
  return volumes;
}

/** Where these paths lead, once each, but for places that are taken and those that are no image's. */
async function freePlaces(
  { rootfs, mounts }: Parameters<typeof makeAnonymousVolumes>[4],
  paths: readonly string[],
  looker: Looker,
): Promise<string[]> {
  const view = new RootView(rootfs, looker);
  const taken = new Set<string>();
  const shared: string[] = [];
  for (const { containerPath, source, propagation } of inMountOrder(mounts, ({ containerPath: path }) =>
    cleanPath(path),
  )) {
    const place = await view.resolve(containerPath);
    view.cover(place, source);
    taken.add(place);
    if (propagation === 'bidirectional') shared.push(place);
  }
  const places = new Set<string>();
  for (const path of paths) places.add(await view.resolve(path));
  const isShared = (place: string) => shared.some((top) => isAtOrBelow(place, top));
  return [...places].filter((place) => !taken.has(place) && !isReserved(place) && !isShared(place));
}

/**
 * Gives a volume's folder what the image has there; false if that is no directory. Nothing is copied twice, so that a
 * thousand volumes, each in the one before, cost the disk one image: the inner one is taken out of the outer one's copy.
 * `rootfs` is canonical.
 */
async function fill(rootfs: string, path: string, folder: string, made: readonly ResolvedMount[]): Promise<boolean> {
  const outer = made.findLast(({ containerPath }) => isAtOrBelow(path, containerPath));
  if (outer) return takeOut(outer.source, path.slice(outer.containerPath.length + 1).split('/'), folder);
  using found = openInRoot(rootfs, path);
  // `path` has no links as the container sees it. What a mount hides may have some, which the container never sees.
  if (!found || (await readlink(found.path)) !== join(rootfs, path)) return false;
  try {
    await copyTree(found.path, folder);
    return true;
  } catch (error) {
    if (!isErrno(error, 'ENOTDIR')) throw error;
    return false;
  }
}

/** Moves a directory out of a volume that no process has yet, unless the way there has a link. A mount point is left. */
async function takeOut(volume: string, names: readonly string[], folder: string): Promise<boolean> {
  let path = volume;
  for (const name of names) {
    path = join(path, name);
    if (!(await isDirectory(path))) return false;
  }
  await rename(path, folder);
  await mkdir(path);
  return true;
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isDirectory();
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error;
    return false;
  }
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
export const removeAnonymousVolumes = (deps: Pick<Deps, 'layout'>, id: ContainerId): Promise<void> =>
  removeTree(join(root(deps), id));

/** Removes those of containers that no record names. */
export async function sweepAnonymousVolumes(deps: Pick<Deps, 'containers' | 'layout'>): Promise<void> {
  try {
    for (const name of await readdir(root(deps))) {
      if (!deps.containers.get(name as ContainerId)) await removeTree(join(root(deps), name));
    }
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}
