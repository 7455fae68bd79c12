import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, failedPrecondition, invalidArgument, notFound } from '../../base/fault.ts';
import type { Mount } from '../../model/config.ts';
import type { Container } from '../../model/container.ts';
import type { ImageId } from '../../model/ids.ts';
import type { Image } from '../../model/image.ts';
import type { Pod } from '../../model/pod.ts';
import type { ResolvedMount } from '../../oci/index.ts';
import type { Looker } from '../../shim/index.ts';
import { hostId, type IdMaps } from '../../sys/idmap.ts';
import { bindMount, mount as mountAnything, mountFlags, unmount } from '../../sys/mounts.ts';
import { openInRoot } from '../../sys/places.ts';
import { makeDirectory } from '../../sys/write-file.ts';
import type { Deps } from '../deps.ts';
import { podMaps } from '../pod/user-namespaces.ts';
import { resolveMounts } from './mounts.ts';
import { mapped, withMappedLayers } from './root-mount.ts';

// Names of errors that the interface has beside gRPC's codes (cri-api's pkg/errors): kubelet goes by what a message begins with.
const imageVolumeFailed = 'ImageVolumeMountFailed';
const recursiveUnsupported = 'RROUnsupported';

/** The host paths of the request's mounts, resolved or made. @throws Fault FailedPrecondition. */
export async function findMounts(
  deps: Pick<Deps, 'ociRuntimes' | 'settings'>,
  pod: Pod,
  { config }: Container,
  looker: Looker,
): Promise<Mount[]> {
  const { mounts } = config;
  const runtime = await deps.ociRuntimes.of(pod);
  if (mounts.some(({ recursiveReadOnly }) => recursiveReadOnly) && !(await runtime.features()).recursiveReadOnly) {
    throw failedPrecondition(
      `${recursiveUnsupported}: handler ${runtime.name} cannot make mounts recursively read-only: it takes runc 1.1 or crun 1.4, and Linux 5.12`,
    );
  }
  return resolveMounts(looker, mounts, { refuseMissing: deps.settings.refuseMissingHostPaths });
}

/**
 * What findMounts found, ready to be bound: host paths as they are, and below the bundle a mount for every image volume
 * and for every path whose owners are mapped. releaseContainer takes those down.
 * @throws Fault FailedPrecondition, InvalidArgument, NotFound (image).
 */
export async function prepareMounts(
  deps: Pick<Deps, 'images' | 'layout' | 'snapshots'>,
  pod: Pod,
  container: Container,
  found: readonly Mount[],
  looker: Looker,
): Promise<ResolvedMount[]> {
  const ready: ResolvedMount[] = [];
  for (const [index, mount] of found.entries()) {
    const source = await sourceOf(deps, pod, container, mount, String(index), looker);
    const single = mount.recursiveReadOnly && mount.image === '' && (await isSingle(looker, mount.hostPath));
    ready.push({
      ...mount,
      source,
      ...(single && { single }),
      // A name might move to another image later: kubelet wants to know which one was mounted, in the words of PullImage.
      ...(mount.image === '' ? {} : { imageRef: imageOf(deps, mount.image).id }),
    });
  }
  return ready;
}

const isSingle = async (looker: Looker, path: string): Promise<boolean> =>
  (await looker.stat(path))?.kind !== 'directory';

/** The images that the request mounts. @throws Fault NotFound for one that was not pulled. */
export function volumeImages(deps: Pick<Deps, 'images'>, mounts: readonly Mount[]): ImageId[] {
  try {
    return mounts.flatMap(({ image }) => (image === '' ? [] : [imageOf(deps, image).id]));
  } catch (error) {
    throw ofImageVolume(error);
  }
}

const ofImageVolume = (error: unknown): unknown =>
  error instanceof Fault ? new Fault(error.kind, `${imageVolumeFailed}: ${error.message}`, { cause: error }) : error;

function imageOf(deps: Pick<Deps, 'images'>, name: string): Image {
  const image = deps.images.find(name);
  if (!image) throw notFound('image', name);
  return image;
}

async function sourceOf(
  deps: Pick<Deps, 'images' | 'layout' | 'snapshots'>,
  pod: Pod,
  container: Container,
  mount: Mount,
  name: string,
  looker: Looker,
): Promise<string> {
  if (mount.image !== '') {
    return mountImage(deps, pod, container, mount, name).catch((error) => Promise.reject(ofImageVolume(error)));
  }
  const { hostPath, uidMappings, gidMappings, mountOptions = [] } = mount;
  const isMapped = uidMappings.length + gidMappings.length > 0;
  // With options of its own it is bound here: OCI runtimes give them to the first mount of a tree alone, and crun 1.8 not even to
  // that in a user namespace, where it can be written to. A mount that the host shall share cannot go this way.
  if (!isMapped && (mountOptions.length === 0 || mount.propagation === 'bidirectional')) return hostPath;
  if (isMapped && (uidMappings.length === 0 || gidMappings.length === 0)) {
    throw invalidArgument(`Mount ${mount.containerPath}: uidMappings and gidMappings must come together`);
  }
  if (mount.propagation === 'bidirectional') {
    throw invalidArgument(
      `Mount ${mount.containerPath}: mapped owners and bidirectional propagation exclude each other`,
    );
  }
  const target = deps.layout.volume(pod.id, container.id, name);
  await makeDirectory(join(target, '..'), 0o700);
  const maps = { uids: uidMappings, gids: gidMappings };
  const limits = Object.fromEntries(mountOptions.map((option) => [option, true]));
  if (isMapped) await mapped(hostPath, () => looker.bind(hostPath, target, maps, limits));
  else await looker.bind(hostPath, target, maps, limits);
  return target;
}

/** The image's tree, or what its sub-path leads to within it, read-only. Layers are shared with containers. */
async function mountImage(
  deps: Pick<Deps, 'images' | 'layout' | 'snapshots'>,
  pod: Pod,
  container: Container,
  { image: reference, imageSubPath }: Mount,
  name: string,
): Promise<string> {
  const top = imageOf(deps, reference).layers.at(-1);
  const whole = deps.layout.volume(pod.id, container.id, name);
  await makeDirectory(join(whole, '..'), 0o700);
  await makeDirectory(whole, 0o700);
  const maps = podMaps(pod.config);
  if (top === undefined) mountNothing(whole, maps);
  else if (!maps) await deps.snapshots.mountReadOnly(top, whole);
  else {
    await withMappedLayers(deps, pod, container.id, maps, (through) =>
      deps.snapshots.mountReadOnly(top, whole, through),
    );
  }
  return imageSubPath === '' ? whole : mountPart(whole, imageSubPath, reference);
}

/** The tree of an image without layers: one empty directory, which belongs to the pod's root. */
function mountNothing(target: string, maps: IdMaps | null): void {
  const { readonly, nosuid, nodev } = mountFlags;
  const uid = maps ? hostId(maps.uids, 0) : 0;
  const gid = maps ? hostId(maps.gids, 0) : 0;
  mountAnything('tmpfs', target, 'tmpfs', readonly | nosuid | nodev, `mode=755,nr_inodes=1,uid=${uid},gid=${gid}`);
}

async function mountPart(whole: string, subPath: string, reference: string): Promise<string> {
  const shown = `Sub-path ${JSON.stringify(subPath.slice(0, 200))} of image ${reference}`;
  if (subPath.startsWith('/') || subPath.split('/').includes('..')) {
    throw invalidArgument(`${shown} must be relative and without ".."`);
  }
  using part = openInRoot(whole, subPath);
  if (!part) throw failedPrecondition(`${shown} does not exist in it`);
  const found = await stat(part.path);
  if (!found.isDirectory() && !found.isFile()) throw failedPrecondition(`${shown} is no directory and no file`);
  const target = `${whole}-part`;
  if (found.isDirectory()) await makeDirectory(target, 0o700);
  else await writeFile(target, '');
  bindMount(part.path, target, { readonly: true, nosuid: true, nodev: true });
  unmount(whole, { detach: true });
  return target;
}
