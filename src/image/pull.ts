import { Fault, invalidArgument, isFault } from '../base/fault.ts';
import type { Digest, ImageId } from '../model/ids.ts';
import type { ImageConfig } from '../model/image.ts';
import { artifactTypeOf, filesOf, isLayer, isUnknownLayer, noConfig } from './artifact.ts';
import type { RegistryAuth } from './auth.ts';
import type { LayerSource } from './layers.ts';
import {
  type Descriptor,
  type Index,
  type ListedLayer,
  type Manifest,
  NotForThisHost,
  parseConfig,
  parseManifest,
  platformChoices,
} from './manifest.ts';
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
  readonly layers: readonly FoundLayer[];
  /** Empty for an image. */
  readonly artifactType: string;
  /** What the manifest lists beside layers. */
  readonly passedOver: readonly string[];
};

/** `file`: where in the tree the blob is to be, as it is; absent for a layer, which holds a tree. */
export type FoundLayer = Descriptor & { readonly file?: string };

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
    if (parsed.kind === 'index') return this.#best(parsed, where);
    this.#checkCount(parsed, where);
    const type = artifactTypeOf(parsed);
    return type === null ? this.#described(parsed, fetched, where) : artifact(parsed, fetched, type);
  }

  /**
   * The first choice that is an image for this host; an artifact that does not say so if none is. What says that it is one,
   * and is not, is the image's fault.
   */
  async #best(index: Index, { name, depth }: Where): Promise<Omit<Found, 'target'>> {
    if (depth >= deepest) throw invalidArgument(`The index ${name} has indexes inside it more than ${deepest} deep`);
    const { platform, limits } = this.#settings;
    let failure: unknown;
    let beside: Omit<Found, 'target'> | undefined;
    for (const { digest, isNamed, data, mediaType } of platformChoices(index, platform)) {
      if (this.#left-- <= 0) break;
      try {
        const inlined = data && { data, digest, contentType: mediaType };
        const fetched = inlined ?? (await this.#documents.manifest(digest, limits.maxManifestBytes));
        const found = await this.image(fetched, { name: digest, depth: depth + 1, isNamed });
        if (isNamed || found.artifactType === '') return found;
        beside ??= found;
      } catch (error) {
        failure ??= error;
        const isElsewhere = isFault(error, 'NotFound') && depth + 1 < deepest;
        if (isNamed ? !isElsewhere : !(error instanceof Fault) || error.kind === 'Cancelled') throw error;
      }
    }
    if (beside) return beside;
    throw (
      failure ?? invalidArgument(`The index ${name} leads to more than ${mostManifests} manifests that may be meant`)
    );
  }

  async #described(manifest: Manifest, { data }: Fetched, { name, isNamed }: Where): Promise<Omit<Found, 'target'>> {
    const { platform, limits } = this.#settings;
    const { layers, others } = partsOf(manifest);
    const document = await this.#documents.smallBlob(manifest.config, limits.maxConfigBytes);
    const { config, diffIds } = parseConfig(document);
    const ofLayers = diffIdsOf(manifest, diffIds);
    if (ofLayers.length !== layers.length) {
      const counts = `${layers.length} layers, its config ${diffIds.length}`;
      throw new Fault('InvalidArgument', `The manifest of ${name} has ${counts}; the image is damaged`);
    }
    const runs = isNamed ? config.os === '' || config.os === platform.os : distance(config, platform) >= 0;
    if (!runs) {
      const its = platformName(config);
      const why = `The image ${name} is for ${its}, this host is ${platformName(platform)}`;
      throw new NotForThisHost('FailedPrecondition', why);
    }
    return {
      id: manifest.config.digest as string as ImageId,
      config,
      document,
      configSize: document.length + data.length,
      diffIds: ofLayers,
      layers,
      artifactType: '',
      passedOver: others,
    };
  }

  #checkCount({ layers: { length } }: Manifest, { name }: Where): void {
    const { maxLayers } = this.#settings.limits;
    if (length <= maxLayers) return;
    throw new Fault('ResourceExhausted', `The image ${name} has ${length} layers, the limit is ${maxLayers}`);
  }
}

/** Named by its manifest: of the same empty config there are many. */
function artifact({ layers }: Manifest, { data, digest }: Fetched, artifactType: string): Omit<Found, 'target'> {
  const files = filesOf(layers);
  return {
    id: digest as string as ImageId,
    config: noConfig,
    document: data,
    configSize: data.length,
    diffIds: files.map(({ diffId }) => diffId),
    layers: files,
    artifactType,
    passedOver: [],
  };
}

/** The layers of an image, and what else its manifest lists (a module, an SBOM): nothing of that is in its tree, as with containerd. */
function partsOf({ layers }: Manifest): { layers: ListedLayer[]; others: string[] } {
  const unknown = layers.find(isUnknownLayer);
  if (unknown) {
    const type = JSON.stringify(unknown.mediaType.slice(0, 200));
    throw new Fault('Unimplemented', `A layer has the media type ${type}, not a tar`);
  }
  const others = layers.filter((layer) => !isLayer(layer));
  return {
    layers: layers.filter(isLayer),
    others: others.map(({ mediaType, digest }) => `${mediaType.slice(0, 200).replace(/[^\x21-\x7e]/g, '?')} ${digest}`),
  };
}

/** Some builders count in their configs what is no layer, others do not. */
const diffIdsOf = ({ layers }: Manifest, diffIds: readonly Digest[]): readonly Digest[] =>
  diffIds.length === layers.length ? diffIds.filter((_, index) => isLayer(layers[index]!)) : diffIds;

export const fileOf = ({ file }: FoundLayer): { file?: string } => (file === undefined ? {} : { file });

/** The layers of a described image as its repository provides them. */
export const layersFrom = (repository: Repository, found: Found): LayerSource[] =>
  found.layers.map((descriptor, i) => {
    const blob = repository.blob(descriptor);
    return {
      digest: descriptor.digest,
      diffId: found.diffIds[i]!,
      ...fileOf(descriptor),
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
  settings: FullSettings,
  { memories, signal }: { memories: PlaceMemories; signal: AbortSignal },
): Promise<Repository> {
  const { certsDir, registriesConf, hostFiles, authFile, connectionsPerLayer } = settings;
  const patience = { answerMs: settings.firstByteTimeoutMs, progressMs: settings.progressTimeoutMs };
  return Repository.open(reference, auth, {
    where: { certsDir, registriesConf, hostFiles },
    authFile,
    patience,
    memories,
    connectionsPerLayer,
    signal,
  });
}
