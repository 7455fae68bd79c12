import { Locks } from '../base/locks.ts';
import { unlessAborted } from '../base/shared-runs.ts';
import type { Digest } from '../model/ids.ts';
import type { Snapshots } from '../snapshot/index.ts';
import { chainIds } from './chain.ts';
import type { ChunkSource, LayerPool } from './layer-pool.ts';
import type { LayerLimits, LayerNotes } from './layer-writer.ts';

/** A layer that somebody can provide. */
export type LayerSource = {
  /** Of the blob as it comes, or null if nobody stated it. */
  readonly digest: Digest | null;
  readonly diffId: Digest;
  readonly open: ChunkSource;
};

/** Turns the layers of images into committed snapshots, each once, however many images want it at a time. */
export class Layers {
  readonly #snapshots: Snapshots;
  readonly #pool: LayerPool;
  readonly #limits: LayerLimits;
  /** By chain id; a holder waits for its parent's holder only, so there is no circle. */
  readonly #locks = new Locks();

  constructor(snapshots: Snapshots, pool: LayerPool, limits: LayerLimits) {
    this.#snapshots = snapshots;
    this.#pool = pool;
    this.#limits = limits;
  }

  /**
   * Makes all layers of an image exist, several at once, and returns when they do. When one fails the others are called
   * off, and every stage is gone before this rejects with the first failure.
   */
  async realize(sources: readonly LayerSource[], signal: AbortSignal): Promise<void> {
    const keys = chainIds(sources.map(({ diffId }) => diffId));
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const runs: Promise<void>[] = [];
    for (const [i, source] of sources.entries()) {
      const run = this.#realizeOne(source, keys[i]!, keys[i - 1] ?? null, runs[i - 1], either);
      run.catch((error) => stop.abort(error));
      runs.push(run);
    }
    await Promise.allSettled(runs);
    signal.throwIfAborted();
    stop.signal.throwIfAborted();
  }

  async #realizeOne(
    source: LayerSource,
    key: Digest,
    parent: Digest | null,
    below: Promise<void> | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    if (this.#snapshots.get(key)) return;
    using _ = await this.#hold(key, signal);
    if (this.#snapshots.get(key)) return;
    await using stage = await this.#snapshots.stage();
    const { digest, diffId, open } = source;
    const job = { path: stage.path, digest, diffId, limits: this.#limits };
    const notes = await this.#pool.unpack(job, open, signal);
    await below;
    signal.throwIfAborted();
    const visible = notes.hidesAll ? null : parent;
    const lowers = visible === null ? [] : this.#snapshots.lowerPaths(visible);
    if (needsJoin(notes, lowers)) await this.#pool.join({ path: stage.path, lowers, notes }, signal);
    await stage.commit(key, visible, notes.bytes);
  }

  async #hold(key: string, signal: AbortSignal): Promise<Disposable> {
    const hold = this.#locks.hold(key);
    try {
      return await unlessAborted(hold, signal);
    } catch (error) {
      hold.then((late) => late[Symbol.dispose]());
      throw error;
    }
  }
}

const needsJoin = (notes: LayerNotes, lowers: readonly string[]): boolean =>
  notes.whiteouts.length > 0 || notes.links.length > 0 || (lowers.length > 0 && notes.implied.length > 0);
