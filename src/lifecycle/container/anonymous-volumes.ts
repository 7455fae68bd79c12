import { chmod, lstat, mkdir, readdir, readlink, realpath, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../../base/fault.ts';
import type { Container } from '../../model/container.ts';
import type { ContainerId } from '../../model/ids.ts';
import type { Pod } from '../../model/pod.ts';
import { isAtOrBelow, type PlannedMount } from '../../oci/index.ts';
import { removeTree } from '../../sys/files.ts';
import { readMountTable } from '../../sys/mountinfo.ts';
import { copyTree, openInRoot } from '../../sys/places.ts';
import { makeDirectory } from '../../sys/write-file.ts';
import type { Deps } from '../deps.ts';
import { giveToPod } from '../pod/files.ts';
import { podMaps } from '../pod/user-namespaces.ts';
import { limitsOf } from './kept-limits.ts';
import { mayHaveNodes } from './root-mount.ts';

const root = ({ layout }: Pick<Deps, 'layout'>): string => layout.anonymousVolumes;

/**
 * The mounts, with a directory of the container's own for each VOLUME among them. It starts with what the image has there,
 * owners and modes included, and goes with the container. The outer VOLUME comes before the inner: see `fill`.
 */
export async function makeAnonymousVolumes(
  deps: Pick<Deps, 'host' | 'layout' | 'ociRuntimes' | 'settings'>,
  pod: Pod,
  container: Container,
  rootfs: string,
  mounts: readonly PlannedMount[],
): Promise<PlannedMount[]> {
  if (!mounts.some(isVolume)) return [...mounts];
  const { id } = container;
  await makeDirectory(join(root(deps), id), 0o700);
  const top = await realpath(join(root(deps), id)); // canonical, as the host paths of requests are
  const limits = await limitsFor(deps, pod, container, top);
  const image = await realpath(rootfs);
  const made: PlannedMount[] = [];
  const all: PlannedMount[] = [];
  for (const mount of mounts) {
    if (!isVolume(mount)) {
      all.push(mount);
      continue;
    }
    const source = join(top, String(made.length));
    await mkdir(source);
    if (!(await fill(image, mount.place, source, made))) {
      await chmod(source, 0o755);
      await giveToPod(pod, source);
    }
    const volume = { ...mount, source, options: [...mount.options, ...limits] };
    made.push(volume);
    all.push(volume);
  }
  return all;
}

/** What VOLUMEs below `top` forbid. Of these crun 1.8 heeds `rnodev` alone for a mount that can be written to in a user namespace. */
async function limitsFor(
  deps: Pick<Deps, 'host' | 'ociRuntimes' | 'settings'>,
  pod: Pod,
  container: Container,
  top: string,
): Promise<string[]> {
  if (mayHaveNodes(deps, pod, container.config)) return [];
  if (!podMaps(pod.config)) return ['nodev'];
  const { recursiveReadOnly } = await (await deps.ociRuntimes.of(container)).features();
  const kept = limitsOf(top, await readMountTable());
  return [...new Set(['nodev', ...kept, ...(recursiveReadOnly ? ['rnodev'] : [])])];
}

export const isVolume = ({ origin }: PlannedMount): boolean => origin === 'volume';

/**
 * Gives a volume's folder what the image has there; false if that is no directory. Nothing is copied twice, so that a
 * thousand volumes, each in the one before, cost the disk one image: the inner one is taken out of the outer one's copy.
 * `rootfs` is canonical.
 */
async function fill(rootfs: string, path: string, folder: string, made: readonly PlannedMount[]): Promise<boolean> {
  const outer = made.findLast(({ place }) => isAtOrBelow(path, place));
  if (outer) return takeOut(outer.source, path.slice(outer.place.length + 1).split('/'), folder);
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
