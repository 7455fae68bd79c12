import { setTimeout as delay } from 'node:timers/promises';
import { Turns } from '../base/turns.ts';
import type { Snapshots } from '../snapshot/index.ts';

/** `at`: milliseconds since the epoch. */
export type Usage = { readonly bytes: number; readonly inodes: number; readonly at: number };

/** As the peers: walking a writable layer costs a stat per file, so it is done at most this often. */
const freshMs = 10_000;
/** At once: there may be hundreds of layers, and each takes a thread and the disk. */
const mostWalks = 4;
/** So long a walk is waited for: a container may have millions of files, and all figures are asked for together. */
const patienceMs = 2000;

type Known = {
  last: Usage | null;
  /** When the walk that `last` is of began. */
  since: number;
  walk: Promise<Usage | null> | null;
};

type Options = { readonly now?: () => number; readonly patienceMs?: number };

/** Sizes of writable layers, walked on a thread when somebody asks and the last walk is old. */
export class LayerUsages {
  readonly #snapshots: Pick<Snapshots, 'get' | 'usage'>;
  readonly #now: () => number;
  readonly #patienceMs: number;
  readonly #known = new Map<string, Known>();
  readonly #turns = new Turns(mostWalks);

  /** `now` in milliseconds, monotonic: by the host's time of day an old size would stay new until that is as late again. */
  constructor(snapshots: Pick<Snapshots, 'get' | 'usage'>, options: Options = {}) {
    this.#snapshots = snapshots;
    this.#now = options.now ?? (() => performance.now());
    this.#patienceMs = options.patienceMs ?? patienceMs;
  }

  /** The size of before where the walk takes long. Null for a layer that is gone, and for one that was never walked to its end. */
  async of(key: string): Promise<Usage | null> {
    if (!this.#snapshots.get(key)) return null;
    const known = this.#known.get(key) ?? { last: null, since: -Infinity, walk: null };
    this.#known.set(key, known);
    if (!known.walk && this.#now() - known.since < freshMs) return known.last;
    known.walk ??= this.#walk(key, known);
    return await Promise.race([known.walk, delay(this.#patienceMs, known.last, { ref: false })]);
  }

  async #walk(key: string, known: Known): Promise<Usage | null> {
    try {
      using _ = await this.#turns.take('', new AbortController().signal);
      const [at, since] = [Date.now(), this.#now()];
      const found = await this.#snapshots.usage(key);
      known.last = found && { ...found, at };
      known.since = since;
      return known.last;
    } finally {
      known.walk = null;
    }
  }

  keep(keys: ReadonlySet<string>): void {
    for (const key of this.#known.keys()) if (!keys.has(key)) this.#known.delete(key);
  }
}
