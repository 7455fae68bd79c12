import { Fault } from '../base/fault.ts';
import type { Digest, ImageId } from '../model/ids.ts';
import type { ImageConfig } from '../model/image.ts';
import type { RegistryAuth } from './auth.ts';
import type { LayerSource } from './layers.ts';
import { choosePlatform, type Descriptor, type Manifest, parseConfig, parseManifest } from './manifest.ts';
import type { PlaceMemories } from './place-memory.ts';
import type { Reference } from './reference.ts';
import { type Fetched, Repository } from './registry.ts';
import type { FullSettings } from './settings.ts';

/** An image as described by verified documents; its layers are still to be fetched. */
export type Found = {
  readonly id: ImageId;
  /** Digest of what the reference names: an index, or the manifest itself. */
  readonly target: Digest;
  readonly config: ImageConfig;
  readonly configSize: number;
  readonly diffIds: readonly Digest[];
  readonly layers: readonly Descriptor[];
};

/** Anything that answers for documents by digest: a repository, or a saved archive. */
export type Documents = {
  manifest(target: string, limit: number): Promise<Fetched>;
  smallBlob(descriptor: Descriptor, limit: number): Promise<Buffer>;
};

/**
 * Reads manifest and config of an image. An index is followed once: an index inside an index means nothing that a client
 * is required to know.
 */
export async function describe(documents: Documents, target: string, settings: FullSettings): Promise<Found> {
  const { platform, limits } = settings;
  const fetched = await documents.manifest(target, limits.maxManifestBytes);
  const { manifest, size } = await imageManifest(documents, fetched, settings);
  if (manifest.layers.length > limits.maxLayers) {
    const count = manifest.layers.length;
    throw new Fault('ResourceExhausted', `The image ${target} has ${count} layers, the limit is ${limits.maxLayers}`);
  }
  const data = await documents.smallBlob(manifest.config, limits.maxConfigBytes);
  const { config, diffIds } = parseConfig(data);
  if (diffIds.length !== manifest.layers.length) {
    const counts = `${manifest.layers.length} layers, its config ${diffIds.length}`;
    throw new Fault('InvalidArgument', `The manifest of ${target} has ${counts}; the image is damaged`);
  }
  if (config.os !== '' && config.os !== platform.os) {
    throw new Fault('FailedPrecondition', `The image ${target} is for ${config.os}, this host is ${platform.os}`);
  }
  return {
    id: manifest.config.digest as string as ImageId,
    target: fetched.digest,
    config,
    configSize: data.length + size,
    diffIds,
    layers: manifest.layers,
  };
}

async function imageManifest(
  documents: Documents,
  fetched: Fetched,
  { platform, limits }: FullSettings,
): Promise<{ manifest: Manifest; size: number }> {
  const first = parseManifest(fetched.data, fetched.contentType);
  if (first.kind === 'manifest') return { manifest: first, size: fetched.data.length };
  const chosen = choosePlatform(first, platform);
  const { data, contentType } = await documents.manifest(chosen.digest, limits.maxManifestBytes);
  const second = parseManifest(data, contentType);
  if (second.kind === 'manifest') return { manifest: second, size: data.length };
  throw new Fault('InvalidArgument', `The index names ${chosen.digest}, which is an index again`);
}

/** The layers of a described image as its repository provides them. */
export const layersFrom = (repository: Repository, found: Found): LayerSource[] =>
  found.layers.map((descriptor, i) => {
    const blob = repository.blob(descriptor);
    return {
      digest: descriptor.digest,
      diffId: found.diffIds[i]!,
      size: descriptor.size,
      open: (signal) => blob.bytes(signal),
      blame: () => blob.blame(),
      origin: repository.domain,
    };
  });

/** Opens the reference's repository. The caller disposes of it. */
export function repositoryFor(
  reference: Reference,
  auth: RegistryAuth | null,
  { certsDir, firstByteTimeoutMs, progressTimeoutMs, connectionsPerLayer }: FullSettings,
  { memories, signal }: { memories: PlaceMemories; signal: AbortSignal },
): Promise<Repository> {
  const patience = { answerMs: firstByteTimeoutMs, progressMs: progressTimeoutMs };
  return Repository.open(reference, auth, { certsDir, patience, memories, connectionsPerLayer, signal });
}
