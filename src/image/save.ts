import { type FileHandle, open, unlink } from 'node:fs/promises';
import { Fault, isErrno } from '../base/fault.ts';
import { algorithmOf, type Digest, type DigestAlgorithm } from '../model/ids.ts';
import type { Image } from '../model/image.ts';
import type { Snapshots } from '../snapshot/index.ts';
import { configDocument, withLayers } from './config-document.ts';
import { Digester, digestOf } from './digest.ts';
import { translateDiskError } from './layer-errors.ts';
import { packLayer } from './layer-pack.ts';
import { parseConfig } from './manifest.ts';
import { endOfArchive, memberHeader, paddingAfter } from './tar-write.ts';

export type SavedFile = {
  readonly id: string;
  readonly bytes: number;
  /** Why loading the file gives another id than the image's; empty if it does not. */
  readonly note: string;
};
/** `document`: the config as it came, or null if it was not kept. */
export type ToSave = { readonly image: Image; readonly document: Buffer | null };
type Blob = { readonly digest: Digest; readonly size: number; readonly open: () => AsyncIterable<Buffer> };

/**
 * Writes an image to the new file `path`: an OCI layout in a tar, with a manifest.json for readers of docker archives.
 * Layers are packed anew from their trees. Where that gives the bytes that they came in, the config is the one that came,
 * and with it the id; else it says the same of other layers.
 * @throws Fault AlreadyExists, NotFound (the directory), ResourceExhausted.
 */
export async function saveImage(
  what: ToSave,
  snapshots: Snapshots,
  path: string,
  signal: AbortSignal,
): Promise<SavedFile> {
  const file = await create(path);
  try {
    const saved = await write(what, snapshots, file, signal);
    await file.close();
    return saved;
  } catch (error) {
    await file.close();
    await unlink(path);
    throw translateDiskError(error);
  }
}

async function create(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx', 0o600);
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw new Fault('AlreadyExists', `Cannot save to ${path}: there is a file already`);
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) throw new Fault('NotFound', `Cannot save to ${path}: no such directory`);
    throw error;
  }
}

async function write(what: ToSave, snapshots: Snapshots, file: FileHandle, signal: AbortSignal): Promise<SavedFile> {
  const { image, document } = what;
  const expected = document === null ? [] : parseConfig(document).diffIds;
  const layers: Blob[] = [];
  for (const [index, key] of image.layers.entries()) {
    const hidesAll = index > 0 && snapshots.get(key)?.parent === null;
    const pack = () => packLayer(snapshots.treePath(key), hidesAll, signal);
    layers.push(await measured(pack, algorithmOf(expected[index] ?? key)));
  }
  const { config, note } = configOf(what, expected, layers);
  const describe = ({ digest, size }: Blob, mediaType: string) => ({ mediaType, digest, size });
  const manifestType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = inMemory(
    jsonOf({
      schemaVersion: 2,
      mediaType: manifestType,
      config: describe(config, 'application/vnd.oci.image.config.v1+json'),
      layers: layers.map((layer) => describe(layer, 'application/vnd.oci.image.layer.v1.tar')),
    }),
  );
  const named = image.tags.length > 0 ? image.tags : [''];
  const manifests = named.map((tag) => ({
    ...describe(manifest, manifestType),
    ...(tag ? { annotations: { 'io.containerd.image.name': tag, 'org.opencontainers.image.ref.name': tag } } : {}),
  }));
  const docker = [{ Config: nameOf(config), RepoTags: image.tags, Layers: layers.map(nameOf) }];
  const out = new ArchiveFile(file);
  await out.add('oci-layout', inMemory(jsonOf({ imageLayoutVersion: '1.0.0' })));
  await out.add('index.json', inMemory(jsonOf({ schemaVersion: 2, manifests })));
  await out.add('manifest.json', inMemory(jsonOf(docker)));
  for (const blob of new Map([config, manifest, ...layers].map((item) => [item.digest, item])).values()) {
    await out.add(nameOf(blob), blob);
  }
  return { id: config.digest, bytes: await out.end(), note };
}

const nameOf = ({ digest }: Blob): string => `blobs/${digest.replace(':', '/')}`;

const jsonOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

function inMemory(data: Buffer, digest = digestOf(data)): Blob {
  return {
    digest,
    size: data.length,
    open: async function* () {
      yield data;
    },
  };
}

/** A name stands before the content in a tar, and a blob's name is its digest: layers are packed twice instead of kept. */
async function measured(openIt: () => AsyncIterable<Buffer>, algorithm: DigestAlgorithm): Promise<Blob> {
  const digester = new Digester(algorithm);
  let size = 0;
  for await (const chunk of openIt()) {
    digester.update(chunk);
    size += chunk.length;
  }
  return { digest: digester.digest(), size, open: openIt };
}

/** The config that came, if it says of the layers what they are now; else the same over these layers, and why. */
function configOf(
  { image, document }: ToSave,
  expected: readonly Digest[],
  layers: readonly Blob[],
): { config: Blob; note: string } {
  const digests = layers.map(({ digest }) => digest);
  const name = image.tags[0] ?? image.id;
  if (document === null) {
    const note = `${name} gets another id: its config was not kept, an earlier version pulled it`;
    return { config: inMemory(jsonOf(configDocument(image.config, digests))), note };
  }
  const others = expected.filter((diffId, index) => diffId !== digests[index]);
  if (others.length === 0 && expected.length === digests.length)
    return { config: inMemory(document, image.id as string as Digest), note: '' };
  const which = `${others.slice(0, 3).join(', ')}${others.length > 3 ? ', ...' : ''}`;
  const note = `${name} gets another id: ${others.length} of its ${expected.length} layers are packed in another form than they came in (${which})`;
  return { config: inMemory(jsonOf(withLayers(document, digests))), note };
}

class ArchiveFile {
  readonly #file: FileHandle;
  #bytes = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async add(path: string, { digest, size, open: openIt }: Blob): Promise<void> {
    await this.#write(memberHeader({ type: '0', path, mode: 0o644, uid: 0, gid: 0, size, mtimeNs: 0n }));
    const digester = new Digester(algorithmOf(digest));
    for await (const chunk of openIt()) {
      digester.update(chunk);
      await this.#write(chunk);
    }
    if (digester.digest() !== digest) throw new Error(`${path} changed while it was written`);
    await this.#write(paddingAfter(size));
  }

  async end(): Promise<number> {
    await this.#write(endOfArchive);
    await this.#file.datasync();
    return this.#bytes;
  }

  async #write(data: Buffer): Promise<void> {
    for (let done = 0; done < data.length; ) done += (await this.#file.write(data, done)).bytesWritten;
    this.#bytes += data.length;
  }
}
