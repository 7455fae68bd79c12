import type { Digest } from '../model/ids.ts';
import type { ImageConfig } from '../model/image.ts';
import { digestOf } from './digest.ts';
import { cleanPath } from './layer-place.ts';
import type { ListedLayer, Manifest } from './manifest.ts';

/** A blob of an artifact that becomes a file. */
export type ArtifactFile = ListedLayer & {
  /** Its path below the artifact's root: clean, latin1. */
  readonly file: string;
  /** Stands for blob and name where a layer has its diffID. */
  readonly diffId: Digest;
};

/** What an artifact has instead of an image's config. */
export const noConfig: ImageConfig = {
  os: '',
  architecture: '',
  variant: '',
  env: [],
  entrypoint: [],
  cmd: [],
  user: '',
  workingDir: '',
  labels: {},
  volumes: [],
  stopSignal: '',
};

/** What images call their config; the last four are of old registries and tools, and mean nothing (Docker takes them too). */
const configTypes = [
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
  'application/octet-stream',
  'application/json',
  'text/html',
  '',
];
/** Stands where the specification wants a blob, and an artifact has none. */
const emptyType = 'application/vnd.oci.empty.v1+json';

/** Layers that hold a tar: OCI's and Docker's names, the non-distributable ones too. */
const layerType =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar)(?:[.+](?:gzip|zstd))?$/;

export const isLayer = ({ mediaType }: ListedLayer): boolean => layerType.test(mediaType);

/** What calls itself an image's layer and is none that can be read, such as an encrypted one: without it the image is another. */
export const isUnknownLayer = (layer: ListedLayer): boolean =>
  !isLayer(layer) && /^application\/vnd\.(?:oci\.image\.layer|docker\.image\.rootfs)\./.test(layer.mediaType);

/**
 * What a manifest is of that describes no image: its config is none, or none of what it lists is a layer. Null for an image.
 * (OCI image-spec, manifest.md, "Guidelines for Artifact Usage")
 */
export function artifactTypeOf({ config, layers, artifactType }: Manifest): string | null {
  const isImage = configTypes.includes(config.mediaType);
  const hasLayers = layers.length === 0 || layers.some((layer) => isLayer(layer) || isUnknownLayer(layer));
  if (isImage && hasLayers) return null;
  const type = artifactType || (isImage ? layers[0]?.mediaType : config.mediaType) || 'unknown';
  return type.slice(0, 200).replace(/[^\x21-\x7e]/g, '?');
}

/**
 * The files of an artifact, as CRI-O mounts them: named by their titles, inside the root whatever those say. What has no title
 * that can be a name, or one that is taken, is named by its digest.
 */
export function filesOf(layers: readonly ListedLayer[]): ArtifactFile[] {
  const names = new Names();
  return layers.flatMap((layer) => {
    if (layer.mediaType === emptyType && layer.title === '') return [];
    const byDigest = layer.digest.replace(':', '-');
    const file = [pathOf(layer.title), byDigest].find((name) => name !== null && names.take(name));
    if (!file) return []; // the same blob once more
    return { ...layer, file, diffId: digestOf(Buffer.from(`file ${layer.digest} ${file}`, 'latin1')) };
  });
}

const longestPath = 1024;
const longestName = 255;

/** Where a title leads inside the root, as bytes; null if no file can be there. */
function pathOf(title: string): string | null {
  const path = cleanPath(Buffer.from(title).toString('latin1'));
  const parts = path.split('/');
  const isName = (part: string) => part.length <= longestName && !part.startsWith('.wh.');
  return path !== '' && path.length <= longestPath && !/[\0-\x1f\x7f]/.test(path) && parts.every(isName) ? path : null;
}

/** Paths of files beside each other: none is another's folder. */
class Names {
  readonly #files = new Set<string>();
  readonly #folders = new Set<string>();

  /** False if it cannot be a file any more. */
  take(path: string): boolean {
    const folders = [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index));
    if (this.#files.has(path) || this.#folders.has(path) || folders.some((folder) => this.#files.has(folder)))
      return false;
    this.#files.add(path);
    for (const folder of folders) this.#folders.add(folder);
    return true;
  }
}
