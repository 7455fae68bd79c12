import { Locks } from '../base/locks.ts';
import type { Snapshots } from '../snapshot/index.ts';

export type Usage = { readonly bytes: number; readonly inodes: number; readonly at: number };

/** As the peers: walking a writable layer costs a stat per file, so it is done at most this often. */
const freshMs = 10_000;

/** At once: they take threads that all else is read and written by, of which libuv has four. */
const mostWalks = 2;

/** Sizes of writable layers, walked on a thread when somebody asks and the last walk is old. */
export class LayerUsages {
  readonly #snapshots: Snapshots;
  readonly #known = new Map<string, Promise<Usage | null>>();
  readonly #madeAt = new Map<string, number>();
  readonly #turns = new Locks();
  #serial = 0;

  constructor(snapshots: Snapshots) {
    this.#snapshots = snapshots;
  }

  /** Null for a layer that is gone, or went while it was walked. */
  async of(key: string, now: number): Promise<Usage | null> {
    if (!this.#snapshots.get(key)) return null;
    const known = this.#known.get(key);
    if (known && now - (this.#madeAt.get(key) ?? 0) < freshMs) return known;
    const walk = this.#walk(key).then((usage) => usage && { ...usage, at: now });
    this.#known.set(key, walk);
    this.#madeAt.set(key, now);
    walk.catch(() => this.#known.delete(key));
    return walk;
  }

  async #walk(key: string) {
    using _ = await this.#turns.hold(`${this.#serial++ % mostWalks}`);
    return await this.#snapshots.usage(key);
  }

  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#known.keys()) {
      if (keys.has(key)) continue;
      this.#known.delete(key);
      this.#madeAt.delete(key);
    }
  }
}
