import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, isErrno } from '../base/fault.ts';
import type { Image } from '../model/image.ts';
import type { Snapshots } from '../snapshot/index.ts';
import { Digester, digestOf } from './digest.ts';
import { translateDiskError } from './layer-errors.ts';
import { packLayer } from './layer-pack.ts';
import { endOfArchive, memberHeader, paddingAfter } from './tar-write.ts';

export type SavedFile = { readonly id: string; readonly bytes: number };
type Blob = { readonly digest: string; readonly size: number; readonly open: () => AsyncIterable<Buffer> };

/**
 * Writes an image to the new file `path`: an OCI layout in a tar, with a manifest.json for readers of docker archives.
 * Layers are packed anew from their trees: the content is the pulled image's, its digests and its id are not.
 * @throws Fault AlreadyExists, NotFound (the directory), ResourceExhausted.
 */
export async function saveImage(
  image: Image,
  snapshots: Snapshots,
  path: string,
  signal: AbortSignal,
): Promise<SavedFile> {
  const file = await create(path);
  try {
    const saved = await write(image, snapshots, file, signal);
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

async function write(image: Image, snapshots: Snapshots, file: FileHandle, signal: AbortSignal): Promise<SavedFile> {
  const layers: Blob[] = [];
  for (const [index, key] of image.layers.entries()) {
    const hidesAll = index > 0 && snapshots.get(key)?.parent === null;
    layers.push(await measured(() => packLayer(snapshots.treePath(key), hidesAll, signal)));
  }
  const config = inMemory(configOf(image, layers));
  const describe = ({ digest, size }: Blob, mediaType: string) => ({ mediaType, digest, size });
  const manifestType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = inMemory({
    schemaVersion: 2,
    mediaType: manifestType,
    config: describe(config, 'application/vnd.oci.image.config.v1+json'),
    layers: layers.map((layer) => describe(layer, 'application/vnd.oci.image.layer.v1.tar')),
  });
  const named = image.tags.length > 0 ? image.tags : [''];
  const manifests = named.map((tag) => ({
    ...describe(manifest, manifestType),
    ...(tag ? { annotations: { 'io.containerd.image.name': tag, 'org.opencontainers.image.ref.name': tag } } : {}),
  }));
  const docker = [{ Config: nameOf(config), RepoTags: image.tags, Layers: layers.map(nameOf) }];
  const out = new ArchiveFile(file);
  await out.add('oci-layout', inMemory({ imageLayoutVersion: '1.0.0' }));
  await out.add('index.json', inMemory({ schemaVersion: 2, manifests }));
  await out.add('manifest.json', inMemory(docker));
  for (const blob of new Map([config, manifest, ...layers].map((item) => [item.digest, item])).values()) {
    await out.add(nameOf(blob), blob);
  }
  return { id: config.digest, bytes: await out.end() };
}

const nameOf = ({ digest }: Blob): string => join('blobs/sha256', digest.slice('sha256:'.length));

function inMemory(value: unknown): Blob {
  const data = Buffer.from(JSON.stringify(value));
  return {
    digest: digestOf(data),
    size: data.length,
    open: async function* () {
      yield data;
    },
  };
}

/** A name stands before the content in a tar, and a blob's name is its digest: layers are packed twice instead of kept. */
async function measured(openIt: () => AsyncIterable<Buffer>): Promise<Blob> {
  const digester = new Digester('sha256');
  let size = 0;
  for await (const chunk of openIt()) {
    digester.update(chunk);
    size += chunk.length;
  }
  return { digest: digester.digest(), size, open: openIt };
}

function configOf({ config }: Image, layers: readonly Blob[]): object {
  const { os, architecture, variant, env, entrypoint, cmd, user, workingDir, labels, volumes, stopSignal } = config;
  const set = <T extends { length: number }>(key: string, value: T) => (value.length > 0 ? { [key]: value } : {});
  return {
    architecture,
    os,
    ...set('variant', variant),
    config: {
      ...set('Env', env),
      ...set('Entrypoint', entrypoint),
      ...set('Cmd', cmd),
      ...set('User', user),
      ...set('WorkingDir', workingDir),
      ...set('StopSignal', stopSignal),
      ...(Object.keys(labels).length > 0 ? { Labels: labels } : {}),
      ...(volumes.length > 0 ? { Volumes: Object.fromEntries(volumes.map((volume) => [volume, {}])) } : {}),
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
  };
}

class ArchiveFile {
  readonly #file: FileHandle;
  #bytes = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async add(path: string, { digest, size, open: openIt }: Blob): Promise<void> {
    await this.#write(memberHeader({ type: '0', path, mode: 0o644, uid: 0, gid: 0, size, mtimeNs: 0n }));
    const digester = new Digester('sha256');
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
