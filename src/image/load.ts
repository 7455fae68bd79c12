import { createReadStream } from 'node:fs';
import { open, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, type FaultKind, invalidArgument, messageOf } from '../base/fault.ts';
import { isObject } from '../base/json.ts';
import { maxLayers } from '../base/limits.ts';
import { type ImageId, parseDigest } from '../model/ids.ts';
import { type Archive, directoryArchive, tarArchive } from './archive.ts';
import { digestOf } from './digest.ts';
import { field, parseJson } from './documents.ts';
import { cleanPath } from './layer-place.ts';
import { compressionOf, decompressed, expectDigest, magicBytes, refuseForeign } from './layer-stream.ts';
import type { LayerSource } from './layers.ts';
import { type IndexEntry, indexEntry, parseConfig, platformChoices } from './manifest.ts';
import { mostNames } from './names.ts';
import { platformName } from './platform.ts';
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
/** Reasons in one error. */
const mostTold = 5;
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
  const good = new Good(tell);
  for (const item of docker) await good.add(labelOf(item), () => dockerImage(archive, item, settings, tell)); // one at a time in memory
  return { images: good.images(), passedOver };
}

type Tell = (note: string) => void;

/** One that is bad costs no other; if all are, the first failure is that of the whole. */
class Good {
  readonly #images: SavedImage[] = [];
  readonly #failures: { readonly name: string; readonly error: Fault }[] = [];
  readonly #tell: Tell;

  constructor(tell: Tell) {
    this.#tell = tell;
  }

  async add(name: string, read: () => Promise<SavedImage>): Promise<void> {
    try {
      this.#images.push(await read());
    } catch (error) {
      this.failed(name, error);
    }
  }

  /** @throws what is no single image's fault. */
  failed(name: string, error: unknown): void {
    if (!isOfImage(error)) throw error;
    this.#failures.push({ name, error });
  }

  images(): SavedImage[] {
    const [first, ...more] = this.#failures;
    if (this.#images.length === 0 && first) {
      if (more.length === 0) throw first.error;
      const words = this.#failures.slice(0, mostTold).map(({ name, error }) => `${name}: ${error.message}`);
      throw new Fault(first.error.kind, `None of ${more.length + 1} images can be loaded: ${words.join('; ')}`);
    }
    for (const { name, error } of this.#failures) this.#tell(`${name}: ${error.message}`);
    return this.#images;
  }
}

/** True for what is wrong with one image of an archive: no reason not to load the others. */
export const isOfImage = (error: unknown): error is Fault => error instanceof Fault && ofImage.has(error.kind);

/** A disk that is full, or a caller who left, is none of them. */
const ofImage: ReadonlySet<string> = new Set<FaultKind>([
  'DataLoss',
  'FailedPrecondition',
  'InvalidArgument',
  'NotFound',
  'Unimplemented',
]);

const json = (data: Buffer, what: string): unknown => {
  try {
    return JSON.parse(data.toString('utf8'));
  } catch (error) {
    throw new Fault('InvalidArgument', `${what} in the archive is not JSON`, { cause: error });
  }
};

type DockerImage = { readonly config: string; readonly tags: readonly string[]; readonly layers: readonly string[] };
/** An entry of manifest.json, or what is wrong with it. */
type DockerItem = DockerImage | Fault;

const labelOf = (item: DockerItem): string => (item instanceof Fault ? 'manifest.json' : (item.tags[0] ?? item.config));

async function dockerManifest(archive: Archive): Promise<DockerItem[]> {
  const list = json(await archive.read('manifest.json', maxIndexBytes), 'manifest.json');
  if (!Array.isArray(list)) throw invalidArgument('manifest.json in the archive is not a list');
  expectAtMost(maxImages, list, 'manifest.json in the archive lists', 'images');
  return list.map((item) => {
    try {
      return dockerEntry(item);
    } catch (error) {
      if (isOfImage(error)) return error;
      throw error;
    }
  });
}

const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string');

function dockerEntry(item: unknown): DockerImage {
  const { Config, RepoTags, Layers } = isObject(item) ? item : {};
  const [tags, layers] = [RepoTags ?? [], Layers ?? []];
  if (typeof Config !== 'string' || !isStrings(layers) || !isStrings(tags)) {
    throw invalidArgument('manifest.json in the archive does not describe images');
  }
  expectAtMost(maxLayers, layers, 'manifest.json in the archive has', 'layers of one image');
  expectAtMost(mostNames, tags, 'manifest.json in the archive has', 'tags of one image');
  return { config: cleanPath(Config), tags, layers: layers.map(cleanPath) };
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
  if (item instanceof Fault) throw item;
  const data = await archive.read(item.config, settings.limits.maxConfigBytes);
  const { config, diffIds } = parseConfig(data);
  if (diffIds.length !== item.layers.length) {
    throw invalidArgument(`${item.config} lists ${diffIds.length} layers, manifest.json ${item.layers.length}`);
  }
  if (config.os !== '' && config.os !== settings.platform.os)
    throw new Fault('FailedPrecondition', `${item.config} is for ${platformName(config)}`);
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
  const good = new Good(tell);
  const image = async (entries: readonly [Listed, ...Listed[]]): Promise<SavedImage> => {
    const [{ name }] = entries;
    const found = await imageOf(documents, entries, settings);
    // `docker save` names its images in manifest.json also.
    const config = blobName(found.id);
    const names = [
      ...(name ? [name] : []),
      ...docker.flatMap((item) => (!(item instanceof Fault) && item.config === config ? item.tags : [])),
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
    return { found, sources, names: { tags: [...new Set(tags)], digests: [...new Set(digests)] } };
  };
  for (const entries of byName(await listedImages(archive, good)))
    await good.add(entries[0].name || entries[0].digest, () => image(entries));
  return good.images();
}

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
      if (!isOfImage(error)) throw error;
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
async function listedImages(archive: Archive, good: Good): Promise<Listed[]> {
  const index = parseJson(await archive.read('index.json', maxIndexBytes), 'index.json of the archive');
  const manifests = field(index, 'manifests');
  if (!Array.isArray(manifests)) throw invalidArgument('index.json in the archive lists no manifests');
  expectAtMost(maxImages, manifests, 'index.json in the archive lists', 'manifests');
  if (manifests.length === 0) throw invalidArgument('The OCI layout lists no image');
  return manifests.flatMap((item) => {
    const name = nameOf(item);
    try {
      return [{ ...indexEntry(item), name }];
    } catch (error) {
      good.failed(name || 'index.json', error);
      return [];
    }
  });
}

function nameOf(item: unknown): string {
  const annotations = isObject(item) ? field(item, 'annotations') : null;
  if (!isObject(annotations)) return '';
  const named = annotations['io.containerd.image.name'] ?? annotations['org.opencontainers.image.ref.name'];
  // A bare word is a tag without a repository, by the specification's example: no name to go by.
  return typeof named === 'string' && /[/:]/.test(named) ? named : '';
}
