import { Fault, isFault, messageOf } from '../base/fault.ts';
import { Locks } from '../base/locks.ts';
import { log } from '../base/log.ts';
import { unlessAborted } from '../base/shared-runs.ts';
import { step } from '../base/trace.ts';
import type { Digest } from '../model/ids.ts';
import type { Snapshots, Stage } from '../snapshot/index.ts';

import { chainIds } from './chain.ts';
import type { ChunkSource } from './first-bytes.ts';
import { isDoubt, type LayerLimits } from './layer-form.ts';
import type { LayerPool } from './layer-pool.ts';
import type { LayerNotes } from './layer-writer.ts';
import type { Counted, Progress } from './progress.ts';

/** A layer that somebody can provide. */
export type LayerSource = {
  /** Of the blob as it comes, or null if nobody stated it. */
  readonly digest: Digest | null;
  readonly diffId: Digest;
  /** Where the blob is to be, as it is; absent: it is a layer's tar. */
  readonly file?: string;
  /** Bytes of the blob, as its manifest says; 0 if nobody did. */
  readonly size: number;
  readonly open: ChunkSource;
  /** Told that what it gave is not this layer: true if opening it again may give another answer. */
  readonly blame?: () => boolean;
  /** Who provides it: a registry's name, or empty for an archive. */
  readonly origin: string;
};

type Place = { readonly key: Digest; readonly parent: Digest | null; readonly below: Promise<void> | undefined };
type Run = { readonly budget: Budget; readonly progress: Progress; readonly signal: AbortSignal };
type Unpacked = { readonly stage: Stage; readonly notes: LayerNotes };

/**
 * Turns the layers of images into committed snapshots, each once, however many images of a registry want it at a time. Of
 * two registries the first to be done counts: what a layer is said to be is an image's word, and who says it need not be able
 * to give it, nor ever come to an end.
 */
export class Layers {
  readonly #snapshots: Snapshots;
  readonly #pool: LayerPool;
  readonly #limits: LayerLimits;
  readonly #inOrderOnly: boolean;
  /** By origin and chain id; a holder waits for its parent's holder only, so there is no circle. */
  readonly #locks = new Locks();

  /** `inOrderOnly`: nothing is unpacked by itself, as if all were in doubt; only tests say it. */
  constructor(snapshots: Snapshots, pool: LayerPool, limits: LayerLimits, inOrderOnly = false) {
    this.#inOrderOnly = inOrderOnly;
    this.#snapshots = snapshots;
    this.#pool = pool;
    this.#limits = limits;
  }

  /**
   * Makes all layers of an image exist, several at once, and returns when they do. When one fails the others are called
   * off, and every stage is gone before this rejects with the first failure.
   */
  async realize(sources: readonly LayerSource[], progress: Progress, signal: AbortSignal): Promise<void> {
    const keys = chainIds(sources.map(({ diffId }) => diffId));
    const stop = new AbortController();
    const either = AbortSignal.any([signal, stop.signal]);
    const runs: Promise<void>[] = [];
    const budget = new Budget(this.#limits);
    for (const [i, { size }] of sources.entries()) if (!this.#snapshots.get(keys[i]!)) progress.expect(size);
    for (const [i, source] of sources.entries()) {
      const place = { key: keys[i]!, parent: keys[i - 1] ?? null, below: runs[i - 1] };
      const run = this.#realizeOne(source, place, { budget, progress, signal: either });
      run.catch((error) => stop.abort(error));
      runs.push(run);
    }
    await Promise.allSettled(runs);
    signal.throwIfAborted();
    stop.signal.throwIfAborted();
  }

  async #realizeOne(source: LayerSource, place: Place, run: Run): Promise<void> {
    const { digest, diffId, origin } = source;
    const { key, parent } = place;
    const { progress, signal } = run;
    if (this.#snapshots.get(key)) return;
    const name = digest ?? diffId;
    using _ = await step(`wait: ${name}, another pull's`, () => this.#hold(`${origin} ${key}`, signal));
    if (this.#snapshots.get(key)) return progress.done(0); // another pull was faster
    const unpacked = (await this.#alone(source, place, run)) ?? (await this.#inOrder(source, place, run));
    await using stage = unpacked.stage;
    const { notes } = unpacked;
    await step(`snapshot: commit ${name}`, () => stage.commit(key, notes.hidesAll ? null : parent, notes.bytes));
    progress.done(notes.bytes);
  }

  /** By itself, while those below it are under way, and then joined with them. Null: what it means cannot be told so. */
  async #alone(source: LayerSource, place: Place, run: Run): Promise<Unpacked | null> {
    const name = source.digest ?? source.diffId;
    if (this.#inOrderOnly) return null;
    const counted = run.progress.counted(source.open);
    let begun: Unpacked | null = null;
    try {
      const unpacked = await this.#unpack(source, counted, run);
      begun = unpacked;
      await this.#below(name, place, run);
      await this.#join(name, unpacked, source.origin, place, run);
      return unpacked;
    } catch (error) {
      await begun?.stage[Symbol.asyncDispose]();
      if (run.signal.aborted || !isDoubt(error)) throw error;
      if (begun) run.budget.giveBack(begun.notes);
      counted.inVain();
      log.info(
        { layer: name, reason: error.message },
        'A layer is read twice, to be unpacked in order on those below it',
      );
      return null;
    }
  }

  /** On those below it, one member after the other. */
  async #inOrder(source: LayerSource, place: Place, run: Run): Promise<Unpacked> {
    const name = source.digest ?? source.diffId;
    await this.#below(name, place, run);
    const counted = run.progress.counted(source.open);
    return await this.#unpack(source, counted, run, this.#lowersOf(place));
  }

  async #below(name: string, { below }: Place, { signal }: Run): Promise<void> {
    await step(`wait: ${name}, those below`, async () => below);
    signal.throwIfAborted();
  }

  #lowersOf({ parent }: Place): readonly string[] {
    return parent === null ? [] : this.#snapshots.lowerPaths(parent);
  }

  async #join(name: string, { stage, notes }: Unpacked, origin: string, place: Place, run: Run): Promise<void> {
    const lowers = this.#lowersOf(place);
    if (!needsJoin(notes, lowers)) return;
    const job = { path: stage.path, name, lowers, notes };
    const { entries } = await step(`join: ${name}`, () => this.#pool.join(job, origin, run.signal));
    run.budget.spend({ bytes: 0, entries });
  }

  /** Into a stage of its own; again where it came from a place that gave another layer, and another place may know better. */
  async #unpack(
    { digest, diffId, file, origin, blame }: LayerSource,
    source: Counted,
    { budget, signal }: Run,
    lowers?: readonly string[],
  ): Promise<Unpacked> {
    for (;;) {
      const stage = await this.#snapshots.stage();
      let mayBeElsewhere = false;
      const failed = (error: unknown) => {
        const isWrong = isFault(error, 'DataLoss', 'InvalidArgument');
        mayBeElsewhere = isWrong && !signal.aborted && (blame?.() ?? false);
      };
      try {
        const job = {
          path: stage.path,
          digest,
          diffId,
          limits: budget.left(),
          ...(file === undefined ? {} : { file }),
          ...(lowers === undefined ? {} : { lowers }),
        };
        const notes = await this.#pool.unpack(job, source.open, { origin, failed }, signal);
        budget.spend(notes);
        return { stage, notes };
      } catch (error) {
        await stage[Symbol.asyncDispose]();
        if (!mayBeElsewhere) throw error;
        source.inVain();
        log.warn(
          { layer: digest ?? diffId, reason: messageOf(error) },
          'A layer was not what it should be: asked for elsewhere',
        );
      }
    }
  }

  async #hold(name: string, signal: AbortSignal): Promise<Disposable> {
    const hold = this.#locks.hold(name);
    try {
      return await unlessAborted(hold, signal);
    } catch (error) {
      hold.then((late) => late[Symbol.dispose]());
      throw error;
    }
  }
}

/** What an image may still unpack to. Layers under way at the same time each get what is left, and are added up after. */
class Budget {
  readonly #limits: LayerLimits;
  #bytes = 0;
  #entries = 0;

  constructor(limits: LayerLimits) {
    this.#limits = limits;
  }

  left(): LayerLimits {
    const { maxBytes, maxEntries } = this.#limits;
    return { ...this.#limits, maxBytes: maxBytes - this.#bytes, maxEntries: maxEntries - this.#entries };
  }

  /** Of a tree that is gone. */
  giveBack({ bytes, entries }: Pick<LayerNotes, 'bytes' | 'entries'>): void {
    this.#bytes -= bytes;
    this.#entries -= entries;
  }

  /** @throws Fault ResourceExhausted */
  spend({ bytes, entries }: Pick<LayerNotes, 'bytes' | 'entries'>): void {
    this.#bytes += bytes;
    this.#entries += entries;
    const { maxBytes, maxEntries } = this.left();
    if (maxBytes >= 0 && maxEntries >= 0) return;
    const most = `${this.#limits.maxBytes} bytes or ${this.#limits.maxEntries} entries`;
    throw new Fault('ResourceExhausted', `The image unpacks to more than ${most} (images.limits)`);
  }
}

const needsJoin = (notes: LayerNotes, lowers: readonly string[]): boolean =>
  notes.whiteouts.length > 0 ||
  (notes.hidesAll && notes.implied.length > 0) ||
  (lowers.length > 0 && notes.implied.length + notes.former.length > 0);
