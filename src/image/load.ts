import { createReadStream } from 'node:fs';
import { open, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, invalidArgument, isFault, messageOf } from '../base/fault.ts';
import { isObject } from '../base/json.ts';
import { maxLayers } from '../base/limits.ts';
import { type ImageId, parseDigest } from '../model/ids.ts';
import { type Archive, directoryArchive, tarArchive } from './archive.ts';
import { digestOf } from './digest.ts';
import { field, parseJson } from './documents.ts';
import { cleanPath } from './layer-place.ts';
import { compressionOf, decompressed, expectDigest, magicBytes, refuseForeign } from './layer-stream.ts';
import type { LayerSource } from './layers.ts';
import { type IndexEntry, indexEntry, NoPlatform, parseConfig, platformChoices } from './manifest.ts';
import { mostNames } from './names.ts';
import { type Documents, describe, type Found, fileOf } from './pull.ts';
import { byDigest, parseReference, tagOf } from './reference.ts';
import type { FullSettings } from './settings.ts';

/** An image of a saved archive, described and verified but for its layers. */
export type SavedImage = {
  readonly found: Found;
  readonly sources: readonly LayerSource[];
  readonly names: { readonly tags: readonly string[]; readonly digests: readonly string[] };
};

type Contents = {
  readonly images: readonly SavedImage[];
  /** What is there beside, and why it is not loaded. */
  readonly passedOver: readonly string[];
};
export type Saved = Contents & AsyncDisposable;

const maxIndexBytes = 4 * 2 ** 20;
const maxImages = 1000;
const temporaryPrefix = '.load-';
let serial = 0;

/** True for what an interrupted load leaves in the data directory. */
export const isLoadLeftover = (name: string): boolean => name.startsWith(temporaryPrefix);

/**
 * Opens a saved archive: an OCI layout as directory or tar, or a docker archive; a tar may be compressed as a whole.
 * @throws Fault InvalidArgument if it is neither, and what its documents are wrong about.
 */
export async function openSaved(file: string, settings: FullSettings, signal: AbortSignal): Promise<Saved> {
  const stack = new AsyncDisposableStack();
  try {
    const archive = stack.use(await openArchive(file, settings, stack, signal));
    const contents = await savedImages(archive, settings);
    return { ...contents, [Symbol.asyncDispose]: () => stack.disposeAsync() };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function openArchive(
  file: string,
  settings: FullSettings,
  stack: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<Archive> {
  if ((await stat(file)).isDirectory()) return directoryArchive(file);
  const begin = await firstBytes(file);
  refuseForeign(begin, file);
  const compression = compressionOf(begin);
  if (compression === 'none') return tarArchive(file);
  const plain = join(settings.dataDir, `${temporaryPrefix}${process.pid}-${serial++}.tar`);
  stack.defer(() => unlink(plain));
  let left = settings.limits.maxBytes;
  const bounded = async function* (source: AsyncIterable<Buffer>) {
    for await (const chunk of source) {
      left -= chunk.length;
      if (left < 0)
        throw new Fault('ResourceExhausted', `${file} unpacks to more than ${settings.limits.maxBytes} bytes`);
      yield chunk;
    }
  };
  await using out = await open(plain, 'wx', 0o600);
  await out.writeFile(bounded(decompressed(createReadStream(file), compression)), { signal });
  return tarArchive(plain);
}

async function firstBytes(file: string): Promise<Buffer> {
  await using handle = await open(file);
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(magicBytes), 0, magicBytes, 0);
  return buffer.subarray(0, bytesRead);
}

async function savedImages(archive: Archive, settings: FullSettings): Promise<Contents> {
  const docker = (await archive.has('manifest.json')) ? await dockerManifest(archive) : [];
  const passedOver: string[] = [];
  const tell = (note: string) => passedOver.push(note);
  if (await archive.has('oci-layout')) return { images: await ociImages(archive, settings, docker, tell), passedOver };
  if (docker.length === 0) throw invalidArgument('The archive is neither an OCI layout nor a docker archive');
  const images: SavedImage[] = [];
  for (const item of docker) images.push(await dockerImage(archive, item, settings, tell)); // one at a time in memory
  return { images, passedOver };
}

type Tell = (note: string) => void;

const json = (data: Buffer, what: string): unknown => {
  try {
    return JSON.parse(data.toString('utf8'));
  } catch (error) {
    throw new Fault('InvalidArgument', `${what} in the archive is not JSON`, { cause: error });
  }
};

type DockerItem = { readonly config: string; readonly tags: readonly string[]; readonly layers: readonly string[] };

async function dockerManifest(archive: Archive): Promise<DockerItem[]> {
  const list = json(await archive.read('manifest.json', maxIndexBytes), 'manifest.json');
  if (!Array.isArray(list)) throw invalidArgument('manifest.json in the archive is not a list');
  expectAtMost(maxImages, list, 'manifest.json in the archive lists', 'images');
  return list.map(({ Config, RepoTags, Layers }: Record<string, unknown>) => {
    const tags = RepoTags ?? [];
    const strings = (value: unknown): value is string[] =>
      Array.isArray(value) && value.every((item) => typeof item === 'string');
    if (typeof Config !== 'string' || !strings(Layers) || !strings(tags)) {
      throw invalidArgument('manifest.json in the archive does not describe images');
    }
    expectAtMost(maxLayers, Layers, 'manifest.json in the archive has', 'layers of one image');
    expectAtMost(mostNames, tags, 'manifest.json in the archive has', 'tags of one image');
    return { config: cleanPath(Config), tags, layers: Layers.map(cleanPath) };
  });
}

function expectAtMost(most: number, list: readonly unknown[], where: string, what: string): void {
  if (list.length > most) throw invalidArgument(`${where} ${list.length} ${what}: at most ${most} are taken`);
}

/** A name that is none is told, and costs no other. */
const fullTags = (tags: readonly string[], tell: Tell): string[] =>
  tags.flatMap((tag) => {
    try {
      return tagOf(parseReference(tag)) ?? [];
    } catch (error) {
      tell(messageOf(error));
      return [];
    }
  });

/** Only the config vouches for the layers of such an archive: by the digests of their unpacked form. */
async function dockerImage(
  archive: Archive,
  item: DockerItem,
  settings: FullSettings,
  tell: Tell,
): Promise<SavedImage> {
  const data = await archive.read(item.config, settings.limits.maxConfigBytes);
  const { config, diffIds } = parseConfig(data);
  if (diffIds.length !== item.layers.length) {
    throw invalidArgument(`${item.config} lists ${diffIds.length} layers, manifest.json ${item.layers.length}`);
  }
  const id = digestOf(data);
  const found: Found = {
    id: id as string as ImageId,
    target: id,
    config,
    document: data,
    configSize: data.length,
    diffIds,
    layers: [],
    artifactType: '',
    passedOver: [],
  };
  const sources = item.layers.map((name, i) => ({
    digest: null,
    diffId: diffIds[i]!,
    size: 0,
    open: (signal: AbortSignal) => archive.stream(name, signal),
    origin: '',
  }));
  return { found, sources, names: { tags: fullTags(item.tags, tell), digests: [] } };
}

const blobName = (digest: string): string => `blobs/${parseDigest(digest).replace(':', '/')}`;

/** The blobs of a layout, verified as they are read. */
const layoutDocuments = (archive: Archive): Documents => ({
  manifest: async (target, limit) => {
    const digest = parseDigest(target);
    const data = await archive.read(blobName(digest), limit);
    expectDigest('Manifest', digest, digestOf(data, digest));
    return { data, digest, contentType: '' };
  },
  smallBlob: async ({ digest, data: inlined }, limit) => {
    if (inlined) return inlined;
    const data = await archive.read(blobName(digest), limit);
    expectDigest('Blob', digest, digestOf(data, digest));
    return data;
  },
});

type Listed = IndexEntry & { readonly name: string };

async function ociImages(
  archive: Archive,
  settings: FullSettings,
  docker: readonly DockerItem[],
  tell: Tell,
): Promise<SavedImage[]> {
  const documents = layoutDocuments(archive);
  const images: SavedImage[] = [];
  const noImages: string[] = [];
  for (const entries of byName(await listedImages(archive))) {
    const [{ name }] = entries;
    const found = await imageOf(documents, entries, settings).catch((error) => {
      if (!isNoImage(error)) throw error;
      noImages.push(`${name || entries[0].digest}: ${error.message}`);
      return null;
    });
    if (!found) continue;
    // `docker save` names its images in manifest.json also.
    const config = blobName(found.id);
    const names = [
      ...(name ? [name] : []),
      ...docker.filter((item) => item.config === config).flatMap((item) => item.tags),
    ];
    const tags = fullTags(names, tell);
    const sources = found.layers.map((layer, i) => ({
      digest: layer.digest,
      diffId: found.diffIds[i]!,
      ...fileOf(layer),
      size: layer.size,
      open: (signal: AbortSignal) => archive.stream(blobName(layer.digest), signal),
      origin: '',
    }));
    const digests = tags.map((tag) => byDigest(parseReference(tag), found.target));
    images.push({ found, sources, names: { tags: [...new Set(tags)], digests: [...new Set(digests)] } });
  }
  if (images.length === 0) throw invalidArgument(['The OCI layout lists no image', ...noImages].join('; '));
  noImages.forEach(tell);
  return images;
}

/** A layer that cannot be read, an image for other machines: no reason not to load the others. */
const isNoImage = (error: unknown): error is Fault =>
  error instanceof NoPlatform || isFault(error, 'Unimplemented') || isFault(error, 'FailedPrecondition');

/** Of entries with one name (platforms of an image) the one for this host. */
async function imageOf(
  documents: Documents,
  entries: readonly [Listed, ...Listed[]],
  settings: FullSettings,
): Promise<Found> {
  let failure: unknown;
  let beside: Found | undefined;
  for (const { digest } of platformChoices({ kind: 'index', manifests: entries }, settings.platform)) {
    try {
      const found = await describe(documents, digest, settings);
      if (found.artifactType === '') return found;
      beside ??= found;
    } catch (error) {
      if (!isNoImage(error)) throw error;
      failure ??= error;
    }
  }
  if (beside) return beside;
  throw failure;
}

/** What has no name stands for itself. */
function byName(listed: readonly Listed[]): [Listed, ...Listed[]][] {
  const groups = new Map<string, [Listed, ...Listed[]]>();
  for (const entry of listed) {
    const key = entry.name || entry.digest;
    const group = groups.get(key);
    if (group) group.push(entry);
    else groups.set(key, [entry]);
  }
  return [...groups.values()];
}

/** index.json: one descriptor an image or platform, its name in an annotation. */
async function listedImages(archive: Archive): Promise<Listed[]> {
  const index = parseJson(await archive.read('index.json', maxIndexBytes), 'index.json of the archive');
  const manifests = field(index, 'manifests');
  if (!Array.isArray(manifests)) throw invalidArgument('index.json in the archive lists no manifests');
  expectAtMost(maxImages, manifests, 'index.json in the archive lists', 'manifests');
  return manifests.map((item) => ({ ...indexEntry(item), name: nameOf(item) }));
}

function nameOf(item: unknown): string {
  const annotations = isObject(item) ? field(item, 'annotations') : null;
  if (!isObject(annotations)) return '';
  const named = annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name'];
  // A bare word is a tag without a repository, by the specification's example: no name to go by.
  return typeof named === 'string' && /[/:]/.test(named) ? named : '';
}
