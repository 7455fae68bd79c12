import type { Endpoint } from './hosts.ts';

/** How long a place that did not answer, or answered that it cannot, is passed over while there is another. */
const downMs = 30_000;
/** How long it is believed that a place gives no parts of blobs. */
const wholeOnlyMs = 60 * 60_000;
const mostPlaces = 1000;

/** What pulls learnt of a place (a mirror or a registry), for those that come after. Times are of the monotonic clock. */
export class PlaceMemory {
  #down: { readonly since: number; readonly until: number; readonly why: string } | null = null;
  #busyUntil = 0;
  #wholeUntil = 0;
  /** Of a place whose scheme nobody said: whether it speaks https; null: nobody knows. */
  speaksTls: boolean | null = null;

  /** Why it is not worth asking now, if it is not. */
  whyDown(now = performance.now()): string | null {
    return this.#down && now < this.#down.until ? this.#down.why : null;
  }

  /** Whether it failed since a moment. */
  failedSince(moment: number): boolean {
    return this.#down !== null && this.#down.since >= moment;
  }

  failed(why: string, now = performance.now()): void {
    this.#down = { since: now, until: now + downMs, why };
  }

  /** It answered a request that was made at a moment: of what failed meanwhile that says nothing. */
  answered(asked: number): void {
    if (this.#down && this.#down.since < asked) this.#down = null;
  }

  /** It asked to be left alone for so long (429). */
  busyFor(ms: number, now = performance.now()): void {
    this.#busyUntil = Math.max(this.#busyUntil, now + ms);
  }

  /** Milliseconds until it may be asked again. */
  busyMs(now = performance.now()): number {
    return Math.max(0, this.#busyUntil - now);
  }

  givesParts(now = performance.now()): boolean {
    return now >= this.#wholeUntil;
  }

  refusedPart(now = performance.now()): void {
    this.#wholeUntil = now + wholeOnlyMs;
  }
}

/** The memories of all places; the one that was asked for longest ago makes room. */
export class PlaceMemories {
  readonly #all = new Map<string, PlaceMemory>();

  of({ base }: Pick<Endpoint, 'base'>): PlaceMemory {
    const memory = this.#all.get(base.href) ?? new PlaceMemory();
    this.#all.delete(base.href);
    this.#all.set(base.href, memory);
    if (this.#all.size > mostPlaces) this.#all.delete(this.#all.keys().next().value!);
    return memory;
  }
}
