import { Fault, invalidArgument, isFault } from '../base/fault.ts';
import type { Digest, ImageId } from '../model/ids.ts';
import type { ImageConfig } from '../model/image.ts';
import type { RegistryAuth } from './auth.ts';
import type { LayerSource } from './layers.ts';
import { type Descriptor, type Index, type Manifest, parseConfig, parseManifest, platformChoices } from './manifest.ts';
import type { PlaceMemories } from './place-memory.ts';
import { distance, platformName } from './platform.ts';
import type { Reference } from './reference.ts';
import { type Fetched, Repository } from './registry.ts';
import type { FullSettings } from './settings.ts';

/** An image as described by verified documents; its layers are still to be fetched. */
export type Found = {
  readonly id: ImageId;
  /** Digest of what the reference names: an index, or the manifest itself. */
  readonly target: Digest;
  readonly config: ImageConfig;
  /** What `id` is the digest of, as it came. */
  readonly document: Buffer;
  /** Bytes of the documents that describe it. */
  readonly configSize: number;
  readonly diffIds: readonly Digest[];
  readonly layers: readonly Descriptor[];
};

/** Anything that answers for documents by digest: a repository, or a saved archive. */
export type Documents = {
  manifest(target: string, limit: number): Promise<Fetched>;
  smallBlob(descriptor: Descriptor, limit: number): Promise<Buffer>;
};

/** Indexes inside indexes: tools that put images of several makers together make two. */
const deepest = 4;
/** Manifests that are read to find the one that runs here. */
const mostManifests = 24;

/**
 * Reads manifest and config of an image. An index is followed to what runs on this host, also through indexes inside it.
 * @throws Fault as the documents are wrong; NotFound if nothing in an index runs here.
 */
export async function describe(documents: Documents, target: string, settings: FullSettings): Promise<Found> {
  const fetched = await documents.manifest(target, settings.limits.maxManifestBytes);
  const found = await new Search(documents, settings).image(fetched, { name: target, depth: 0, isNamed: true });
  return { ...found, target: fetched.digest };
}

type Where = { readonly name: string; readonly depth: number; readonly isNamed: boolean };

/** The search for an image's manifest, which is bounded however its indexes are nested. */
class Search {
  readonly #documents: Documents;
  readonly #settings: FullSettings;
  #left = mostManifests;

  constructor(documents: Documents, settings: FullSettings) {
    this.#documents = documents;
    this.#settings = settings;
  }

  async image(fetched: Fetched, where: Where): Promise<Omit<Found, 'target'>> {
    const parsed = parseManifest(fetched.data, fetched.contentType);
    return parsed.kind === 'manifest' ? this.#described(parsed, fetched, where) : this.#best(parsed, where);
  }

  /** The first choice that is an image for this host. What says that it is one, and is not, is the image's fault. */
  async #best(index: Index, { name, depth }: Where): Promise<Omit<Found, 'target'>> {
    if (depth >= deepest) throw invalidArgument(`The index ${name} has indexes inside it more than ${deepest} deep`);
    const { platform, limits } = this.#settings;
    let failure: unknown;
    for (const { digest, isNamed } of platformChoices(index, platform)) {
      if (this.#left-- <= 0) break;
      try {
        const fetched = await this.#documents.manifest(digest, limits.maxManifestBytes);
        return await this.image(fetched, { name: digest, depth: depth + 1, isNamed });
      } catch (error) {
        failure ??= error;
        const isElsewhere = isFault(error, 'NotFound') && depth + 1 < deepest;
        if (isNamed ? !isElsewhere : !(error instanceof Fault) || error.kind === 'Cancelled') throw error;
      }
    }
    throw (
      failure ?? invalidArgument(`The index ${name} leads to more than ${mostManifests} manifests that may be meant`)
    );
  }

  async #described(manifest: Manifest, { data }: Fetched, { name, isNamed }: Where): Promise<Omit<Found, 'target'>> {
    const { platform, limits } = this.#settings;
    if (manifest.layers.length > limits.maxLayers) {
      const count = manifest.layers.length;
      throw new Fault('ResourceExhausted', `The image ${name} has ${count} layers, the limit is ${limits.maxLayers}`);
    }
    const document = await this.#documents.smallBlob(manifest.config, limits.maxConfigBytes);
    const { config, diffIds } = parseConfig(document);
    if (diffIds.length !== manifest.layers.length) {
      const counts = `${manifest.layers.length} layers, its config ${diffIds.length}`;
      throw new Fault('InvalidArgument', `The manifest of ${name} has ${counts}; the image is damaged`);
    }
    const runs = isNamed ? config.os === '' || config.os === platform.os : distance(config, platform) >= 0;
    if (!runs) {
      const its = platformName(config);
      throw new Fault('FailedPrecondition', `The image ${name} is for ${its}, this host is ${platformName(platform)}`);
    }
    return {
      id: manifest.config.digest as string as ImageId,
      config,
      document,
      configSize: document.length + data.length,
      diffIds,
      layers: manifest.layers,
    };
  }
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
