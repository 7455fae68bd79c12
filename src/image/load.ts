import { createReadStream } from 'node:fs';
import { open, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, type FaultKind, invalidArgument, isErrno, messageOf } from '../base/fault.ts';
import { isObject } from '../base/json.ts';
import { maxLayers } from '../base/limits.ts';
import { type ImageId, parseDigest } from '../model/ids.ts';
import { type Archive, directoryArchive, tarArchive } from './archive.ts';
import { digestOf } from './digest.ts';
import { field, parseJson, parseValue } from './documents.ts';
import { isOfDisk, translateDiskError } from './layer-errors.ts';
import { cleanPath } from './layer-place.ts';
import {
  compressionOf,
  decompressed,
  expectDigest,
  magicBytes,
  refuseForeign,
  translateDamage,
} from './layer-stream.ts';
import type { LayerSource } from './layers.ts';
import { type IndexEntry, indexEntry, NotForThisHost, parseConfig, platformChoices } from './manifest.ts';
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

/** What of an archive is not loaded, and why: by its own fault, or because nobody on this host has a use for it. */
export type Note = { readonly kind: 'failed' | 'passedOver'; readonly words: string };
export type Tell = (note: Note) => void;

type Contents = {
  readonly images: readonly SavedImage[];
  readonly failures: readonly Failure[];
  readonly passedOver: readonly string[];
};
export type Saved = Contents & AsyncDisposable;

const maxIndexBytes = 4 * 2 ** 20;
const maxImages = 1000;
/** Reasons in one error. */
const mostTold = 5;
/** What is told of an archive has to fit into an answer (gRPC's clients take 4 MiB): so many notes, so many characters of each. */
const mostNotes = 1000;
const longestNote = 1000;
/** Of a name as an archive has it. */
const longestLabel = 200;
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
  if (await isDirectory(file)) return directoryArchive(file);
  const begin = await firstBytes(file);
  refuseForeign(begin, file);
  const compression = compressionOf(begin);
  if (compression === 'none') return tarArchive(file);
  const plain = join(settings.dataDir, `${temporaryPrefix}${process.pid}-${serial++}.tar`);
  try {
    await using out = await open(plain, 'wx', 0o600);
    stack.defer(() => unlink(plain));
    const whole = decompressed(createReadStream(file), compression);
    await out.writeFile(bounded(whole, settings.limits.maxBytes, file), { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw translateDiskError(translateDamage(error, file), `${file} unpacked`);
  }
  return tarArchive(plain, file);
}

async function isDirectory(file: string): Promise<boolean> {
  try {
    return (await stat(file)).isDirectory();
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error;
    throw new Fault('NotFound', `Cannot load ${file}: there is no such file`, { cause: error });
  }
}

async function* bounded(source: AsyncIterable<Buffer>, limit: number, file: string): AsyncGenerator<Buffer> {
  let left = limit;
  for await (const chunk of source) {
    left -= chunk.length;
    if (left < 0) throw new Fault('ResourceExhausted', `${file} unpacks to more than ${limit} bytes`);
    yield chunk;
  }
}

async function firstBytes(file: string): Promise<Buffer> {
  await using handle = await open(file);
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(magicBytes), 0, magicBytes, 0);
  return buffer.subarray(0, bytesRead);
}

async function savedImages(archive: Archive, settings: FullSettings): Promise<Contents> {
  const docker = (await archive.has('manifest.json')) ? await dockerManifest(archive) : [];
  const found = new Gathered();
  if (await archive.has('oci-layout')) await ociImages(archive, settings, docker, found);
  // One at a time in memory.
  else for (const item of docker) await found.add(labelOf(item), () => dockerImage(archive, item, settings, found));
  if (found.images.length === 0) throw noneOf(found.failures);
  return found;
}

/** An image of an archive that is not loaded. */
export type Failure = { readonly name: string; readonly error: Fault };

/** What an archive was found to have: an image that is bad costs no other. */
class Gathered implements Contents {
  readonly images: SavedImage[] = [];
  readonly failures: Failure[] = [];
  readonly passedOver: string[] = [];

  async add(name: string, read: () => Promise<SavedImage>): Promise<void> {
    try {
      this.images.push(await read());
    } catch (error) {
      this.failed(name, error);
    }
  }

  /** @throws what is no single image's fault. */
  failed(name: string, error: unknown): void {
    if (!isOfImage(error)) throw error;
    this.failures.push({ name: name.slice(0, longestLabel), error });
  }
}

const told = ({ name, error }: Failure): string => `${name}: ${error.message}`.slice(0, longestNote);

/** What is told of an archive: what it has beside images, then the images that are not loaded. */
export function* notesOf(passedOver: readonly string[], failures: readonly Failure[]): Generator<Note> {
  for (const words of passedOver.slice(0, mostNotes)) yield { kind: 'passedOver', words: words.slice(0, longestNote) };
  if (passedOver.length > mostNotes)
    yield { kind: 'passedOver', words: `${passedOver.length - mostNotes} other things` };
  for (const failure of failures)
    yield { kind: failure.error instanceof NotForThisHost ? 'passedOver' : 'failed', words: told(failure) };
}

/** The error of an archive of which nothing can be loaded. */
export function noneOf(failures: readonly Failure[]): Fault {
  const [first, ...more] = failures;
  if (!first) return invalidArgument('The archive is neither an OCI layout nor a docker archive');
  if (more.length === 0) return first.error;
  const words = failures.slice(0, mostTold).map(told).join('; ');
  return new Fault(first.error.kind, `None of ${failures.length} images can be loaded: ${words}`);
}

/** True for what is wrong with one image of an archive: no reason not to load the others. Not for a full disk, or a caller who left. */
export const isOfImage = (error: unknown): error is Fault =>
  error instanceof Fault && ofImage.has(error.kind) && !isOfDisk(error);

const ofImage: ReadonlySet<string> = new Set<FaultKind>([
  'ResourceExhausted', // larger than an image may be
  'DataLoss',
  'FailedPrecondition',
  'InvalidArgument',
  'NotFound',
  'Unimplemented',
]);

type DockerImage = { readonly config: string; readonly tags: readonly string[]; readonly layers: readonly string[] };
/** An entry of manifest.json, or what is wrong with it. */
type DockerItem = DockerImage | Fault;

const labelOf = (item: DockerItem): string => (item instanceof Fault ? 'manifest.json' : (item.tags[0] ?? item.config));

async function dockerManifest(archive: Archive): Promise<DockerItem[]> {
  const list = parseValue(await archive.read('manifest.json', maxIndexBytes), 'manifest.json in the archive');
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
  const entry = isObject(item) ? item : {};
  const config = field(entry, 'Config');
  const [tags, layers] = [field(entry, 'RepoTags') ?? [], field(entry, 'Layers') ?? []];
  if (typeof config !== 'string' || !isStrings(layers) || !isStrings(tags)) {
    throw invalidArgument('manifest.json in the archive does not describe images');
  }
  expectAtMost(maxLayers, layers, 'manifest.json in the archive has', 'layers of one image');
  expectAtMost(mostNames, tags, 'manifest.json in the archive has', 'tags of one image');
  return { config: cleanPath(config), tags, layers: layers.map(cleanPath) };
}

function expectAtMost(most: number, list: readonly unknown[], where: string, what: string): void {
  if (list.length > most) throw invalidArgument(`${where} ${list.length} ${what}: at most ${most} are taken`);
}

/** A name that is none is told, and costs no other. */
const fullTags = (tags: readonly string[], { passedOver }: Gathered): string[] =>
  tags.flatMap((tag) => {
    try {
      return tagOf(parseReference(tag)) ?? [];
    } catch (error) {
      passedOver.push(messageOf(error));
      return [];
    }
  });

/** Only the config vouches for the layers of such an archive: by the digests of their unpacked form. */
async function dockerImage(
  archive: Archive,
  item: DockerItem,
  settings: FullSettings,
  found: Gathered,
): Promise<SavedImage> {
  if (item instanceof Fault) throw item;
  const data = await archive.read(item.config, settings.limits.maxConfigBytes);
  const { config, diffIds } = parseConfig(data);
  if (diffIds.length !== item.layers.length) {
    throw invalidArgument(`${item.config} lists ${diffIds.length} layers, manifest.json ${item.layers.length}`);
  }
  if (config.os !== '' && config.os !== settings.platform.os)
    throw new NotForThisHost('FailedPrecondition', `${item.config} is for ${platformName(config)}`);
  const id = digestOf(data);
  const described: Found = {
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
  return { found: described, sources, names: { tags: fullTags(item.tags, found), digests: [] } };
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
  found: Gathered,
): Promise<void> {
  const documents = layoutDocuments(archive);
  const image = async (entries: readonly [Listed, ...Listed[]]): Promise<SavedImage> => {
    const [{ name }] = entries;
    const described = await imageOf(documents, entries, settings);
    // `docker save` names its images in manifest.json also.
    const config = blobName(described.id);
    const names = [
      ...(name ? [name] : []),
      ...docker.flatMap((item) => (!(item instanceof Fault) && item.config === config ? item.tags : [])),
    ];
    const tags = fullTags(names, found);
    const sources = described.layers.map((layer, i) => ({
      digest: layer.digest,
      diffId: described.diffIds[i]!,
      ...fileOf(layer),
      size: layer.size,
      open: (signal: AbortSignal) => archive.stream(blobName(layer.digest), signal),
      origin: '',
    }));
    const digests = tags.map((tag) => byDigest(parseReference(tag), described.target));
    return { found: described, sources, names: { tags: [...new Set(tags)], digests: [...new Set(digests)] } };
  };
  for (const entries of byName(await listedImages(archive, found)))
    await found.add(entries[0].name || entries[0].digest, () => image(entries));
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
      if (failure === undefined || failure instanceof NotForThisHost) failure = error;
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
async function listedImages(archive: Archive, found: Gathered): Promise<Listed[]> {
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
      found.failed(name || 'index.json', error);
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
