import { createHash } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Fault, failedPrecondition, isFault, messageOf, notFound } from '../base/fault.ts';
import { Locks } from '../base/locks.ts';
import { log } from '../base/log.ts';
import { step, traced } from '../base/trace.ts';
import type { ImageId } from '../model/ids.ts';
import type { Image } from '../model/image.ts';
import type { Snapshots } from '../snapshot/index.ts';
import { Records } from '../state/records.ts';
import { removeTree } from '../sys/files.ts';
import { tidy } from '../sys/tidy.ts';
import type { RegistryAuth } from './auth.ts';
import { authFor, type PullRequest } from './auth-for.ts';
import { chainIds } from './chain.ts';
import { findImage } from './find-image.ts';
import { type GcOptions, unneeded } from './garbage.ts';
import { parseImageRecord } from './image-record.ts';
import { KeptDocuments } from './kept-documents.ts';
import { translateDiskError } from './layer-errors.ts';
import { LayerPool } from './layer-pool.ts';
import { Layers } from './layers.ts';
import { LayersOnDisk } from './layers-on-disk.ts';
import { Leases } from './leases.ts';
import { isLoadLeftover, isOfImage, noneOf, notesOf, openSaved, type SavedImage, type Tell } from './load.ts';
import { union } from './names.ts';
import { PlaceMemories } from './place-memory.ts';
import { logPull, type Progress, RunningPulls } from './progress.ts';
import { describe, layersFrom, repositoryFor } from './pull.ts';
import { byDigest, canonical, type Reference, shortName, tagOf, targetOf } from './reference.ts';
import type { Repository } from './registry.ts';
import { type SavedFile, saveImage } from './save.ts';
import { type FullSettings, type ImageSettings, withDefaults } from './settings.ts';
import { SharedPulls } from './shared-pulls.ts';
import { ShortNames } from './short-names.ts';
import { SyncLater } from './sync-later.ts';

/** Opens the images of `settings.dataDir`. A record whose layers are not all there is dropped: it can be pulled again. */
export async function openImages(settings: ImageSettings, snapshots: Snapshots): Promise<Images> {
  await mkdir(settings.dataDir, { recursive: true, mode: 0o700 });
  // Not synced one by one: a record is worth something only once its layers are on disk, and the syncfs that sees to
  // those covers it too.
  const records = await Records.open<ImageId, Image>(settings.dataDir, { what: 'image', parse: parseImageRecord });
  for (const image of [...records.all()]) {
    const missing = image.layers.find((key) => snapshots.get(key)?.kind !== 'committed');
    if (missing === undefined) continue;
    log.warn({ image: image.id, layer: missing }, 'Forgetting an image of which a layer is gone');
    await tidy(() => records.delete(image.id));
  }
  for (const name of await readdir(settings.dataDir)) {
    if (isLoadLeftover(name)) await tidy(() => removeTree(join(settings.dataDir, name)));
  }
  const documents = await KeptDocuments.open(settings.dataDir);
  await documents.keepOnly((id) => records.get(id) !== undefined);
  const images = new Images(withDefaults(settings), snapshots, { records, documents });
  await images.shortNames.read(settings.hostFiles).catch((error: unknown) => {
    log.warn({ reason: messageOf(error) }, 'What short names of images mean is not known; pulls of them fail');
  });
  return images;
}

type Kept = { readonly records: Records<ImageId, Image>; readonly documents: KeptDocuments };

/** The images of this host: records with the documents that came with them, and the committed snapshots that their layers are. */
export class Images {
  readonly #settings: FullSettings;
  readonly #snapshots: Snapshots;
  readonly #records: Records<ImageId, Image>;
  readonly #documents: KeptDocuments;
  readonly #pool: LayerPool;
  readonly #layers: Layers;
  readonly #pulls = new SharedPulls<Image>();
  /** Records are changed by one at a time: a tag belongs to one image. */
  readonly #locks = new Locks();
  /** Layers that a pull or a save under way counts on. */
  readonly #leases = new Leases();
  readonly #memories = new PlaceMemories();
  readonly shortNames: ShortNames;
  /** The pulls and loads under way. */
  readonly pulls = new RunningPulls(() => this.#sync.look());
  readonly #onDisk: LayersOnDisk;
  readonly #sync = new SyncLater(
    () => this.#toDisk(),
    () => this.pulls.isBusy,
  );

  /** Use openImages. */
  constructor(settings: FullSettings, snapshots: Snapshots, { records, documents }: Kept) {
    this.#settings = settings;
    this.#snapshots = snapshots;
    this.#onDisk = new LayersOnDisk(snapshots);
    this.#records = records;
    this.#documents = documents;
    // More threads than processors would only take memory.
    const threads = Math.min(settings.maxParallelLayers, availableParallelism());
    this.#pool = new LayerPool(threads, settings.progressTimeoutMs, settings.maxParallelLayers);
    this.#layers = new Layers(snapshots, this.#pool, settings.limits, settings.inOrderOnly);
    this.shortNames = new ShortNames(settings.registriesConf);
  }

  /**
   * Fetches, verifies and unpacks an image; with the node's own credentials where the request has none. Equal requests
   * (reference and credentials) share one download, which is called off when the last of them is aborted. A failed pull leaves
   * nothing behind. What a short name may mean is asked for in turn, until a registry has it.
   */
  async pull(request: PullRequest, signal?: AbortSignal): Promise<Image> {
    if (shortName(request.reference) !== null) await this.shortNames.read(this.#settings.hostFiles);
    const meanings = this.shortNames.meanings(request.reference);
    const failures: Fault[] = [];
    for (const reference of meanings) {
      try {
        return await this.#pullOf(reference, await authFor(reference, request, this.#settings), signal);
      } catch (error) {
        // Who cannot be asked may have it: another registry's image is not what was meant then.
        if (meanings.length === 1 || !isFault(error, 'NotFound', 'PermissionDenied', 'Unauthenticated')) throw error;
        failures.push(error);
      }
    }
    throw new Fault(failures[0]!.kind, `${request.reference}: ${failures.map(messageOf).join('; ')}`);
  }

  async #pullOf(reference: Reference, auth: RegistryAuth | null, signal?: AbortSignal): Promise<Image> {
    const secret = createHash('sha256').update(JSON.stringify(auth)).digest('hex');
    const name = canonical(reference);
    return this.#pulls.join(
      { key: `${name} ${secret}`, name, timeoutMs: this.#settings.pullTimeoutMs },
      (run) => this.#pull(reference, auth, run),
      signal,
    );
  }

  async #pull(reference: Reference, auth: RegistryAuth | null, signal: AbortSignal): Promise<Image> {
    const name = canonical(reference);
    traced(name, name);
    using progress = this.pulls.begin(name);
    const shared = { memories: this.#memories, signal };
    using repository = await step('registry: open', () => repositoryFor(reference, auth, this.#settings, shared));
    const here = await step('registry: is it here', () => this.#alreadyHere(reference, repository));
    if (here) return here;
    const found = await step('registry: documents', () => describe(repository, targetOf(reference), this.#settings));
    const tag = reference.digest ? null : tagOf(reference);
    const names = { tags: tag ? [tag] : [], digests: [byDigest(reference, found.target)] };
    if (found.passedOver.length > 0) {
      log.info({ image: name, passedOver: found.passedOver }, 'Not all that an image lists are layers');
    }
    // Awaited here: the repository's connections are needed until the last layer is there.
    const image = await this.#keep({ found, sources: layersFrom(repository, found), names }, progress, signal);
    logPull(progress.status(), repository.hosts());
    return image;
  }

  /**
   * The image that a reference means, if it is here: then a HEAD is all that a pull asks for (imagePullPolicy: Always). Only
   * worth asking where an image of that repository is here.
   */
  async #alreadyHere(reference: Reference, repository: Repository): Promise<Image | null> {
    const prefix = byDigest(reference, '');
    if (!this.list().some(({ digests }) => digests.some((name) => name.startsWith(prefix)))) return null;
    const digest = await repository.digestOf(targetOf(reference));
    if (digest === null || (reference.digest && digest !== reference.digest)) return null;
    using _ = await this.#locks.hold('records');
    const image = this.list().find(({ digests }) => digests.includes(byDigest(reference, digest)));
    if (!image || !this.#isWhole(image)) return null;
    const tag = reference.digest ? null : tagOf(reference);
    if (tag === null || image.tags.includes(tag)) return image;
    const tagged = { ...image, tags: union(image.tags, [tag]) };
    await this.#records.put(tagged);
    await this.#takeTags(tagged, [tag]);
    return tagged;
  }

  #isWhole({ id, layers }: Image): boolean {
    return this.#documents.has(id) && layers.every((key) => this.#snapshots.get(key)?.kind === 'committed');
  }

  /** Makes the layers exist and records the image; the names are taken from whichever image had them. */
  async #keep({ found, sources, names }: SavedImage, progress: Progress, signal: AbortSignal): Promise<Image> {
    const layers = chainIds(found.diffIds);
    const lease = this.#leases.take(layers);
    try {
      await this.#layers.realize(sources, progress, signal);
      progress.phase = 'recording';
      using _ = await this.#locks.hold('records');
      const before = this.#records.get(found.id);
      const image: Image = {
        id: found.id,
        tags: union(before?.tags, names.tags),
        digests: union(before?.digests, names.digests),
        config: found.config,
        artifactType: found.artifactType,
        passedOver: found.passedOver,
        layers,
        size: layers.reduce((sum, key) => sum + this.#snapshots.size(key), found.configSize),
        pulledAt: Date.now(),
      };
      await step('record: image', () => this.#record(image, found.document));
      await this.#takeTags(image, names.tags);
      this.#sync.want();
      return image;
    } catch (error) {
      lease[Symbol.dispose]();
      await this.#removeLate(layers.toReversed());
      throw translateDiskError(error);
    } finally {
      lease[Symbol.dispose]();
    }
  }

  async #record(image: Image, document: Buffer): Promise<void> {
    try {
      await this.#documents.keep(image.id, document);
      await this.#records.put(image);
    } catch (error) {
      await this.#sweepDocuments();
      throw error;
    }
  }

  async #sweepDocuments(): Promise<void> {
    await this.#documents.keepOnly((id) => this.#records.get(id) !== undefined);
  }

  /** The document that an image is named by, as it came; null if an earlier version pulled it. */
  async document({ id }: Image): Promise<Buffer | null> {
    return await this.#documents.read(id);
  }

  async #takeTags(owner: Image, tags: readonly string[]): Promise<void> {
    for (const other of [...this.#records.all()]) {
      if (other.id === owner.id || !other.tags.some((tag) => tags.includes(tag))) continue;
      await this.#records.put({ ...other, tags: other.tags.filter((tag) => !tags.includes(tag)) });
    }
  }

  /** By reference, by digest, by id, or by the start of an id (three digits or more) if it means one image only. */
  find(nameOrId: string): Image | undefined {
    return findImage(nameOrId, this.#records, (name) => this.shortNames.possible(name));
  }

  list(): Image[] {
    return [...this.#records.all()];
  }

  /**
   * Forgets an image, with every tag and digest; a missing one counts as forgotten. Layers go unless another image has
   * them or a container stands on them; those of earlier removals that were freed since go too.
   * @throws Fault FailedPrecondition if `isVolume` says that it is mounted into a container.
   */
  async remove(nameOrId: string, isVolume: (id: ImageId) => boolean): Promise<void> {
    using _ = await this.#locks.hold('records');
    const image = this.find(nameOrId);
    if (!image) return;
    if (isVolume(image.id)) {
      throw failedPrecondition(`Cannot remove image ${nameOrId}: a container mounts it; remove the container first`);
    }
    await this.#records.delete(image.id);
    await this.#sweep([]);
  }

  /** Removes every layer that nothing needs any more. */
  async collect(): Promise<void> {
    using _ = await this.#locks.hold('records');
    await this.#sweep([]);
  }

  /**
   * Removes every layer that no image, no pull under way, no active snapshot and none of `usedParents` needs; or with
   * `dryRun` only says which those are, and what they take on disk.
   */
  async gc({ usedParents = [], dryRun = false }: GcOptions = {}): Promise<{ key: string; bytes: number }[]> {
    using _ = await this.#locks.hold('records');
    const found = await Promise.all(
      this.#unneeded(usedParents).map(async (key) => ({ key, bytes: (await this.#onDisk.of(key)).bytes })),
    );
    if (!dryRun) await this.#sweep(usedParents);
    return found;
  }

  async #sweep(usedParents: Iterable<string>): Promise<void> {
    await this.#sweepDocuments();
    await this.#remove(this.#unneeded(usedParents));
  }

  #unneeded(usedParents: Iterable<string>): string[] {
    return unneeded(this.#snapshots.list(), usedParents, this.#neededByImages());
  }

  /** Whether an image or a pull under way needs a layer. */
  #neededByImages(): (key: string) => boolean {
    const ofImages = new Set([...this.#records.all()].flatMap(({ layers }) => layers as readonly string[]));
    return (key) => ofImages.has(key) || this.#leases.has(key);
  }

  /** Nobody records an image meanwhile: what it needs would be found out too late. */
  async #removeLate(keys: readonly string[]): Promise<void> {
    using _ = await this.#locks.hold('records');
    await this.#remove(keys);
  }

  /** Removes those of `keys` (top first) that nothing needs; under the lock of the records. */
  async #remove(keys: readonly string[]): Promise<void> {
    const needed = this.#neededByImages();
    for (const key of keys) {
      try {
        await this.#snapshots.remove(key, () => needed(key));
        if (!this.#snapshots.get(key)) this.#onDisk.forget(key);
      } catch (error) {
        // A container, or a layer of another image, stands on it: gc comes back for it.
        if (!isFault(error, 'FailedPrecondition')) throw error;
      }
    }
  }

  /**
   * Loads every image of a saved archive: an OCI layout (directory or tar) or what `docker save` writes. `tell` hears of what is
   * not loaded. @throws Fault if nothing is.
   */
  async load(
    file: string,
    signal: AbortSignal = new AbortController().signal,
    tell: Tell = () => {},
  ): Promise<Image[]> {
    await using saved = await openSaved(file, this.#settings, signal);
    const images: Image[] = [];
    const failures = [...saved.failures];
    const passedOver = [...saved.passedOver];
    using progress = this.pulls.begin(file);
    for (const image of saved.images) {
      const name = image.names.tags[0] ?? image.found.id;
      try {
        images.push(await this.#keep(image, progress, signal));
        passedOver.push(...image.found.passedOver.map((what) => `${name}: ${what} is no layer`));
      } catch (error) {
        if (!isOfImage(error)) throw error;
        failures.push({ name, error });
      }
    }
    if (images.length === 0) throw noneOf(failures);
    for (const note of notesOf(passedOver, failures)) tell(note);
    return images;
  }

  /**
   * Writes an image to a new file; see saveImage. Its layers stay until that is done.
   * @throws Fault NotFound
   */
  async save(nameOrId: string, path: string, signal: AbortSignal): Promise<SavedFile> {
    const image = this.find(nameOrId);
    if (!image) throw notFound('image', nameOrId);
    if (image.artifactType !== '') {
      throw new Fault(
        'Unimplemented',
        `Cannot save ${nameOrId}: it is an artifact (${image.artifactType}); its registry has it`,
      );
    }
    using _ = this.#leases.take(image.layers);
    const document = await this.#documents.read(image.id);
    return await saveImage({ image, document }, this.#snapshots, path, signal);
  }

  /** Where images are, and what they take there: every layer once, as `du` counts. */
  async fsInfo(): Promise<{ mountpoint: string; bytes: number; inodes: number }> {
    return { mountpoint: this.#snapshots.root, ...(await this.#onDisk.usage()) };
  }

  /** Waits until no pull is under way, called-off ones included. */
  settled(): Promise<void> {
    return this.#pulls.idle();
  }

  /** The same, and what was pulled is on disk: that takes as long as the disk is busy with whatever others write. */
  async idle(): Promise<void> {
    await this.settled();
    await this.#sync.idle();
  }

  /** Calls off every pull, waits until all is quiet, and ends the worker threads. */
  async close(): Promise<void> {
    this.#pulls.stop();
    await this.idle();
    await this.#pool[Symbol.asyncDispose]();
  }

  /** Layers and records. */
  async #toDisk(): Promise<void> {
    try {
      await this.#snapshots.sync();
    } catch (error) {
      log.error({ reason: messageOf(error) }, 'Cannot write pulled images to the disk');
    }
  }
}
