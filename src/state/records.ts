import { readdirSync, readFileSync, unlinkSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { jsonOf } from '../base/parse.ts';
import { step } from '../base/trace.ts';
import { tidy } from '../sys/tidy.ts';
import { isTemporary, removeFile, replaceFile } from '../sys/write-file.ts';

export type RecordsOptions<T> = {
  /** What one record is, for messages: `pod`. */
  readonly what: string;
  /** Gives the record its type, or throws: the file then goes to quarantine. */
  readonly parse: (json: unknown) => T;
  /** True: the bytes are on disk before the name changes; for what cannot be derived again. */
  readonly sync?: boolean;
};

/** Hears of every change once it is true: `before` is undefined for a new record, `after` for a deleted one. */
export type Listener<T> = (after: T | undefined, before: T | undefined) => void;

/** How long a disk that refused an end is left alone. */
const retryMs = 1000;

/**
 * One JSON file per object under `<root>/<what>s/`, and the same objects in memory. Disk first, then memory; but for
 * ends (`settle`), which are true whatever the disk says. A file that does not parse moves to `<root>/quarantine/`; it
 * never stops the daemon.
 */
export class Records<Key extends string, T extends { readonly id: Key }> {
  readonly #what: string;
  readonly #directory: string;
  readonly #sync: boolean;
  readonly #map: Map<Key, T>;
  readonly #listeners = new Set<Listener<T>>();
  /** The last change under way of each file: a later one waits for it. */
  readonly #changes = new Map<Key, Promise<void>>();
  /** Records that came by settle(). */
  readonly #ends = new WeakSet<T>();
  /** Those of them that the disk has refused until now. */
  readonly #unsaved = new Set<Key>();
  #retry: NodeJS.Timeout | null = null;

  private constructor(what: string, directory: string, sync: boolean, map: Map<Key, T>) {
    this.#what = what;
    this.#directory = directory;
    this.#sync = sync;
    this.#map = map;
  }

  static async open<Key extends string, T extends { readonly id: Key }>(
    root: string,
    options: RecordsOptions<T>,
  ): Promise<Records<Key, T>> {
    const directory = join(root, `${options.what}s`);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const map = new Map<Key, T>();
    // Nobody is served yet, and one call of the kernel is sooner done than handed to a thread and back: 200 records take 5 ms, not 30.
    for (const name of readdirSync(directory)) {
      const path = join(directory, name);
      if (isTemporary(name)) {
        await tidy(() => unlinkSync(path));
        continue;
      }
      try {
        const record = options.parse(jsonOf(readFileSync(path, 'utf8')));
        if (fileName(record.id) !== name) throw new Error(`it describes ${record.id}`);
        map.set(record.id, record);
      } catch (error) {
        await quarantine(root, path, options.what, error);
      }
    }
    return new Records(options.what, directory, options.sync ?? false, map);
  }

  get size(): number {
    return this.#map.size;
  }

  get(id: Key): T | undefined {
    return this.#map.get(id);
  }

  all(): IterableIterator<T> {
    return this.#map.values();
  }

  /** The record with this id, or the only one whose id starts with it. */
  find(idOrPrefix: string): T | undefined {
    const [found, another] = this.#named(idOrPrefix);
    return another ? undefined : found;
  }

  /** True for no id, but the beginning of several. */
  isAmbiguous(idOrPrefix: string): boolean {
    return this.#named(idOrPrefix).length > 1;
  }

  /** The record with this id, or else those whose ids start with it, two at most. */
  #named(idOrPrefix: string): T[] {
    const exact = this.#map.get(idOrPrefix as Key);
    if (exact || idOrPrefix === '') return exact ? [exact] : [];
    const found: T[] = [];
    for (const [id, record] of this.#map) {
      if (id.startsWith(idOrPrefix) && found.push(record) === 2) break;
    }
    return found;
  }

  /**
   * Makes the record true: on disk first. Rejects, and nothing has changed, if the disk refuses it. An end that was settled
   * meanwhile stays the truth.
   */
  async put(record: T): Promise<void> {
    const before = this.#map.get(record.id);
    await this.#inTurn(record.id, async () => {
      await this.#write(record);
      const now = this.#map.get(record.id);
      if (now === before || !now || !this.#ends.has(now)) this.#make(record);
    });
  }

  /**
   * Makes an end true at once: what has stopped has stopped, with a full disk too. Resolves when the disk has it or has
   * refused it; then it is written as soon as the disk takes it.
   */
  async settle(record: T): Promise<void> {
    this.#ends.add(record);
    this.#make(record);
    try {
      await this.#inTurn(record.id, () => this.#write(record));
    } catch (error) {
      if (this.#map.get(record.id) !== record) return;
      log.error(
        { [this.#what]: record.id, reason: messageOf(error) },
        `The end of a ${this.#what} cannot be recorded yet; it is tried again until the disk takes it`,
      );
      this.#unsaved.add(record.id);
      this.#retryLater();
    }
  }

  async #write(record: T): Promise<void> {
    const path = join(this.#directory, fileName(record.id));
    await step(`record: ${this.#what}`, () => replaceFile(path, JSON.stringify(record), { sync: this.#sync }));
    this.#unsaved.delete(record.id);
  }

  #make(record: T): void {
    const before = this.#map.get(record.id);
    this.#map.set(record.id, record);
    this.#tell(record, before);
  }

  #retryLater(): void {
    this.#retry ??= setTimeout(() => void this.#writeUnsaved(), retryMs).unref();
  }

  async #writeUnsaved(): Promise<void> {
    const again = async (id: Key) => {
      const record = this.#map.get(id);
      if (record && this.#unsaved.has(id)) await this.#write(record);
    };
    await Promise.allSettled([...this.#unsaved].map((id) => this.#inTurn(id, () => again(id))));
    this.#retry = null;
    if (this.#unsaved.size > 0) this.#retryLater();
  }

  /** A file's changes happen one after the other, in the order in which they were asked for. */
  async #inTurn(id: Key, change: () => Promise<void>): Promise<void> {
    const before = this.#changes.get(id);
    const mine = before ? before.then(change, change) : change();
    this.#changes.set(id, mine);
    try {
      await mine;
    } finally {
      if (this.#changes.get(id) === mine) this.#changes.delete(id);
    }
  }

  /** Calls `listener` from now on; the returned function ends that. */
  listen(listener: Listener<T>): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Forgets the record; one that is not there counts as forgotten. */
  async delete(id: Key): Promise<void> {
    await this.#inTurn(id, async () => {
      await removeFile(join(this.#directory, fileName(id)));
      this.#unsaved.delete(id);
      const before = this.#map.get(id);
      this.#map.delete(id);
      if (before) this.#tell(undefined, before);
    });
  }

  #tell(after: T | undefined, before: T | undefined): void {
    for (const listener of this.#listeners) listener(after, before);
  }
}

/** `sha256:ab` is kept as `sha256-ab.json`. */
const fileName = (id: string): string => `${id.replace(':', '-')}.json`;

async function quarantine(root: string, path: string, what: string, error: unknown): Promise<void> {
  const folder = join(root, 'quarantine');
  const kept = join(folder, `${what}-${Date.now()}-${path.slice(path.lastIndexOf('/') + 1)}`);
  const reason = messageOf(error);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await rename(path, kept);
    log.error({ path, kept, reason }, `A ${what} record does not parse; it is kept in quarantine`);
  } catch (failure) {
    log.error({ path, reason, failure: messageOf(failure) }, `A ${what} record does not parse; it is left where it is`);
  }
}
