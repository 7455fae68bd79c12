import { mkdir, readdir, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { step } from '../base/trace.ts';
import { isTemporary, replaceFile } from '../sys/write-file.ts';

export type RecordsOptions<T> = {
  /** What one record is, for messages: `pod`. */
  readonly what: string;
  /** Gives the record its type, or throws: the file then goes to quarantine. */
  readonly parse: (json: unknown) => T;
  /** True: the bytes are on disk before the name changes; for what cannot be derived again. */
  readonly sync?: boolean;
};

/** Hears of every change after it is on disk: `before` is undefined for a new record, `after` for a deleted one. */
export type Listener<T> = (after: T | undefined, before: T | undefined) => void;

/**
 * One JSON file per object under `<root>/<what>s/`, and the same objects in memory. Disk first, then memory.
 * A file that does not parse moves to `<root>/quarantine/`; it never stops the daemon.
 */
export class Records<Key extends string, T extends { readonly id: Key }> {
  readonly #what: string;
  readonly #directory: string;
  readonly #sync: boolean;
  readonly #map: Map<Key, T>;
  readonly #listeners = new Set<Listener<T>>();

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
    for (const name of await readdir(directory)) {
      const path = join(directory, name);
      if (isTemporary(name)) {
        await unlink(path);
        continue;
      }
      try {
        const record = options.parse(JSON.parse(await readFile(path, 'utf8')));
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
    const exact = this.#map.get(idOrPrefix as Key);
    if (exact || idOrPrefix === '') return exact;
    let found: T | undefined;
    for (const [id, record] of this.#map) {
      if (!id.startsWith(idOrPrefix)) continue;
      if (found) return undefined;
      found = record;
    }
    return found;
  }

  async put(record: T): Promise<void> {
    const path = join(this.#directory, fileName(record.id));
    await step(`record: ${this.#what}`, () => replaceFile(path, JSON.stringify(record), { sync: this.#sync }));
    const before = this.#map.get(record.id);
    this.#map.set(record.id, record);
    this.#tell(record, before);
  }

  /** Calls `listener` from now on; the returned function ends that. */
  listen(listener: Listener<T>): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Forgets the record; one that is not there counts as forgotten. */
  async delete(id: Key): Promise<void> {
    try {
      await unlink(join(this.#directory, fileName(id)));
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
    const before = this.#map.get(id);
    this.#map.delete(id);
    if (before) this.#tell(undefined, before);
  }

  #tell(after: T | undefined, before: T | undefined): void {
    for (const listener of this.#listeners) listener(after, before);
  }
}

/** `sha256:ab` is kept as `sha256-ab.json`. */
const fileName = (id: string): string => `${id.replace(':', '-')}.json`;

async function quarantine(root: string, path: string, what: string, error: unknown): Promise<void> {
  const folder = join(root, 'quarantine');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const kept = join(folder, `${what}-${Date.now()}-${path.slice(path.lastIndexOf('/') + 1)}`);
  await rename(path, kept);
  log.error({ path, kept, reason: messageOf(error) }, `A ${what} record does not parse; it is kept in quarantine`);
}
