import type * as cri from '../api/runtime/v1/cri.ts';
import { Image as CriImage } from '../api/runtime/v1/cri.ts';
import { invalidArgument } from '../base/fault.ts';
import { eachSound, itself } from '../base/sound.ts';
import { configDocument, type RegistryAuth } from '../image/index.ts';
import type { Deps } from '../lifecycle/deps.ts';
import type { ImageId } from '../model/ids.ts';
import type { Image } from '../model/image.ts';
import type { Call, Handlers } from './calls.ts';
import { line, required, text } from './check.ts';
import { encodeImage } from './encode.ts';
import { item, listBytes } from './list-bytes.ts';
import { nanoseconds, uint64 } from './numbers.ts';
import type { StatsDeps } from './stats-service.ts';

/** Every call of ImageService that is served. */
export function imageHandlers(deps: StatsDeps) {
  return {
    listImages: (request: cri.ListImagesRequest) => listBytes(imageItems(deps, request.filter)),
    imageStatus: async (request: cri.ImageStatusRequest): Promise<cri.ImageStatusResponse> => {
      const found = deps.images.find(imageName(request.image));
      if (!found) return { image: undefined, info: {} };
      return { image: encode(deps, found), info: request.verbose ? { info: await imageInfo(deps, found) } : {} };
    },
    pullImage: async (request: cri.PullImageRequest, { signal }: Call): Promise<cri.PullImageResponse> => {
      deps.ociRuntimes.get(line('image.runtime_handler', request.image?.runtimeHandler ?? '')); // throws for an unknown one
      const image = await deps.images.pull({ reference: imageName(request.image), auth: auth(request.auth) }, signal);
      return { imageRef: image.id };
    },
    removeImage: async (request: cri.RemoveImageRequest): Promise<cri.RemoveImageResponse> => {
      await deps.images.remove(imageName(request.image), (id) => isVolume(deps, id));
      return {};
    },
    imageFsInfo: () => fsInfo(deps),
  } satisfies Handlers;
}

const encode = (deps: Deps, image: Image): cri.Image => encodeImage(image, isPinned(deps, image));

/** Every image, or the one that the filter names, on the wire. Not kept: which are pinned can change with other images. */
export function imageItems(deps: Deps, filter: cri.ImageFilter | undefined): Buffer[] {
  const wanted = line('filter.image.image', filter?.image?.image ?? '');
  const found = wanted === '' ? deps.images.list() : [deps.images.find(wanted)].filter((image) => image !== undefined);
  return eachSound(found, itself, (image) => item(CriImage, encode(deps, image)));
}

function imageName(spec: cri.ImageSpec | undefined): string {
  const name = line('image.image', required('image', spec).image);
  if (name === '') throw invalidArgument('image.image is empty');
  return name;
}

function auth(given: cri.AuthConfig | undefined): RegistryAuth | null {
  if (!given) return null;
  const { username, password, auth: basic, serverAddress, identityToken, registryToken } = given;
  const fields = { username, password, auth: basic, serverAddress, identityToken, registryToken };
  for (const [key, value] of Object.entries(fields)) text(`auth.${key}`, value);
  return fields;
}

const isPinned = (deps: Deps, image: Image): boolean =>
  deps.settings.images.pinned.some((name) => deps.images.find(name)?.id === image.id);

/** A container's own layers are held by its snapshot; an image that is mounted into one has only its record. */
const isVolume = (deps: Deps, id: ImageId): boolean =>
  [...deps.containers.all()].some(({ volumeImages }) => volumeImages?.includes(id));

/** Beyond, the answer might not pass through gRPC: then, as without a document, what Berth itself goes by is shown. */
const longestSpec = 8 * 2 ** 20;

/**
 * As containerd and CRI-O have it: the image's config under imageSpec, here word for word as it came, and its labels. An
 * artifact has its manifest.
 */
async function imageInfo(deps: Deps, image: Image): Promise<string> {
  const document = await deps.images.document(image);
  const text = document === null ? '' : new TextDecoder().decode(document);
  const isShown = text !== '' && Buffer.byteLength(text) <= longestSpec;
  const isArtifact = image.artifactType !== '';
  const known = isArtifact ? {} : configDocument(image.config, []);
  const facts = {
    chainID: image.layers.at(-1) ?? '',
    ...(Object.keys(image.config.labels).length > 0 ? { labels: image.config.labels } : {}),
    ...(isArtifact ? { artifactType: image.artifactType } : {}),
    ...(image.passedOver.length > 0 ? { passedOver: image.passedOver } : {}),
  };
  const name = isArtifact ? 'artifactManifest' : 'imageSpec';
  return `${JSON.stringify(facts).slice(0, -1)},"${name}":${isShown ? text : JSON.stringify(known)}}`;
}

async function fsInfo(deps: StatsDeps): Promise<cri.ImageFsInfoResponse> {
  const { mountpoint, bytes, inodes } = await deps.images.fsInfo();
  const timestamp = nanoseconds(Date.now());
  const usage = (used: { bytes: number; inodes: number }): cri.FilesystemUsage => ({
    timestamp,
    fsId: { mountpoint },
    usedBytes: { value: uint64(used.bytes) },
    inodesUsed: { value: uint64(used.inodes) },
  });
  const layers = deps.snapshots.list().filter(({ kind }) => kind === 'active');
  const used = await Promise.all(layers.map(({ key }) => deps.stats.ofLayer(key)));
  const total = {
    bytes: used.reduce((sum, one) => sum + (one?.bytes ?? 0), 0),
    inodes: used.reduce((sum, one) => sum + (one?.inodes ?? 0), 0),
  };
  return { imageFilesystems: [usage({ bytes, inodes })], containerFilesystems: [usage(total)] };
}
