import { messageOf } from '../base/fault.ts';

/** What became of a batch. `again`: the other side may take it later. */
export type Answer =
  | { readonly taken: true; readonly refused: number; readonly why: string }
  | { readonly taken: false; readonly again: boolean; readonly why: string };

export type Lost = 'queue_full' | 'refused' | 'end';

/** Hears what becomes of what is sent. */
export type Heard = {
  exported(count: number): void;
  lost(reason: Lost, count: number): void;
  /** The last attempt failed, for this reason; empty: it did not. */
  state(why: string): void;
};

export type Sending<T> = {
  readonly send: (batch: readonly T[], signal: AbortSignal) => Promise<Answer>;
  readonly heard: Heard;
  readonly most: number;
  readonly batch: number;
  /** How long the first of a batch waits for others, and how long an attempt may take. */
  readonly gatherMs: number;
  readonly attemptMs: number;
  /** After the first failure, and at most: each is twice the one before. */
  readonly againMs: readonly [first: number, most: number];
};

/**
 * Things on their way to somebody who may be slow, silent or gone. There are never more than `most`: what comes then is
 * dropped, and counted. One batch is under way at a time; one that may be taken later is kept.
 */
export class Queue<T> {
  readonly #how: Sending<T>;
  readonly #waiting: T[] = [];
  readonly #ending = new AbortController();
  /** Cuts off what is still under way when the time of the end is over. */
  readonly #cut = new AbortController();
  #wake = Promise.withResolvers<void>();
  #failures = 0;
  readonly #over: Promise<void>;

  constructor(how: Sending<T>) {
    this.#how = how;
    this.#over = this.#work();
  }

  add(one: T): void {
    const { most, batch, heard } = this.#how;
    const ended = this.#ending.signal.aborted;
    if (ended || this.#waiting.length >= most) {
      heard.lost(ended ? 'end' : 'queue_full', 1);
      return;
    }
    this.#waiting.push(one);
    if (this.#waiting.length === 1 || this.#waiting.length === batch) this.#wake.resolve();
  }

  /** Sends what is there, for `ms` milliseconds at most; what is left then is lost. */
  async close(ms: number): Promise<void> {
    const timer = setTimeout(() => this.#cut.abort(), ms);
    this.#ending.abort();
    this.#wake.resolve();
    await this.#over;
    while (this.#waiting.length > 0 && !this.#cut.signal.aborted && (await this.#attempt()));
    clearTimeout(timer);
    if (this.#waiting.length > 0) this.#how.heard.lost('end', this.#waiting.length);
    this.#waiting.length = 0;
  }

  async #work(): Promise<void> {
    const { gatherMs, batch } = this.#how;
    while (!this.#ending.signal.aborted) {
      if (this.#waiting.length === 0) await this.#woken();
      if (this.#waiting.length < batch) await this.#woken(gatherMs);
      if (this.#ending.signal.aborted || this.#waiting.length === 0) continue;
      if (!(await this.#attempt())) await this.#pause();
    }
  }

  /** False: it is to be tried again. */
  async #attempt(): Promise<boolean> {
    const { heard, batch } = this.#how;
    const part = this.#waiting.slice(0, batch);
    const answer = await this.#sent(part);
    if (!answer.taken && answer.again) {
      this.#failures++;
      heard.state(answer.why);
      return false;
    }
    this.#failures = 0;
    this.#waiting.splice(0, part.length);
    const refused = answer.taken ? Math.min(answer.refused, part.length) : part.length;
    if (refused > 0) heard.lost('refused', refused);
    if (refused < part.length) heard.exported(part.length - refused);
    heard.state(answer.why);
    return true;
  }

  /** What cannot even be encoded is nothing to try again. */
  async #sent(part: readonly T[]): Promise<Answer> {
    const { send, attemptMs } = this.#how;
    try {
      return await send(part, AbortSignal.any([this.#cut.signal, AbortSignal.timeout(attemptMs)]));
    } catch (error) {
      return { taken: false, again: false, why: messageOf(error) };
    }
  }

  #pause(): Promise<void> {
    const [first, most] = this.#how.againMs;
    return this.#ended(Math.min(first * 2 ** (this.#failures - 1), most));
  }

  /** Until something is to be sent, a batch is full or the end; `ms` at most. */
  async #woken(ms?: number): Promise<void> {
    if (this.#ending.signal.aborted) return;
    this.#wake = Promise.withResolvers();
    const timer = ms === undefined ? undefined : setTimeout(this.#wake.resolve, ms);
    await this.#wake.promise;
    clearTimeout(timer);
  }

  async #ended(ms: number): Promise<void> {
    const { signal } = this.#ending;
    if (signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    clearTimeout(timer);
  }
}
