import { log } from '../base/log.ts';
import type { ChunkSource } from './first-bytes.ts';

export type PullPhase = 'resolving' | 'fetching' | 'recording';

/** How far a pull is. Bytes are compressed ones, as they come; layers that were there before are not counted. */
export type PullStatus = {
  readonly reference: string;
  readonly phase: PullPhase;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly layers: number;
  readonly layersDone: number;
  readonly bytesTotal: number;
  readonly bytesFetched: number;
  readonly bytesUnpacked: number;
  /** Bytes a second, over the last seconds. */
  readonly rate: number;
};

const sampleMs = 1000;
const maxSamples = 6;

/** A source whose bytes are counted. `inVain`: what was read of it comes again. */
export type Counted = { readonly open: ChunkSource; readonly inVain: () => void };

/** Counts what a pull does. */
export class Progress {
  readonly #reference: string;
  readonly #startedAt = Date.now();
  phase: PullPhase = 'resolving';
  #layers = 0;
  #layersDone = 0;
  #total = 0;
  #fetched = 0;
  #unpacked = 0;
  /** Bytes fetched by a time, one sample a second. */
  readonly #samples: { at: number; bytes: number }[] = [{ at: performance.now(), bytes: 0 }];

  readonly #onBytes: (bytes: number) => void;

  /** `onBytes` hears of each piece as it comes. */
  constructor(reference: string, onBytes: (bytes: number) => void = () => {}) {
    this.#reference = reference;
    this.#onBytes = onBytes;
  }

  /** A layer of so many bytes is to be fetched. */
  expect(bytes: number): void {
    this.phase = 'fetching';
    this.#layers++;
    this.#total += bytes;
  }

  done(unpacked: number): void {
    this.#layersDone++;
    this.#unpacked += unpacked;
  }

  /** The source, counted as it is read. */
  counted(open: ChunkSource): Counted {
    let read = 0;
    const fetched = (bytes: number) => {
      read += bytes;
      this.#count(bytes);
    };
    return {
      open: async function* (signal) {
        for await (const chunk of open(signal)) {
          fetched(chunk.length);
          yield chunk;
        }
      },
      inVain: () => {
        this.#total += read;
        read = 0;
      },
    };
  }

  #count(bytes: number): void {
    this.#fetched += bytes;
    this.#onBytes(bytes);
    const now = performance.now();
    if (now - this.#samples.at(-1)!.at < sampleMs) return;
    this.#samples.push({ at: now, bytes: this.#fetched });
    if (this.#samples.length > maxSamples) this.#samples.shift();
  }

  status(): PullStatus {
    const { at, bytes } = this.#samples[0]!;
    const seconds = (performance.now() - at) / 1000;
    return {
      reference: this.#reference,
      phase: this.phase,
      startedAt: this.#startedAt,
      layers: this.#layers,
      layersDone: this.#layersDone,
      bytesTotal: this.#total,
      bytesFetched: this.#fetched,
      bytesUnpacked: this.#unpacked,
      rate: seconds > 0 ? Math.round((this.#fetched - bytes) / seconds) : 0,
    };
  }
}

/** The pulls and loads under way, and what they and those before have read. */
export class RunningPulls {
  readonly #running = new Set<Progress>();
  readonly #onEnd: () => void;
  #bytes = 0;

  /** `onEnd` hears of the end of each. */
  constructor(onEnd: () => void = () => {}) {
    this.#onEnd = onEnd;
  }

  get isBusy(): boolean {
    return this.#running.size > 0;
  }

  /** One more, until it is disposed of. */
  begin(name: string): Progress & Disposable {
    const progress = new Progress(name, (bytes) => {
      this.#bytes += bytes;
    });
    this.#running.add(progress);
    const end = () => {
      this.#running.delete(progress);
      this.#onEnd();
    };
    return Object.assign(progress, { [Symbol.dispose]: end });
  }

  statuses(): PullStatus[] {
    return [...this.#running].map((progress) => progress.status());
  }

  /** Of layers, as they come. */
  get bytes(): number {
    return this.#bytes;
  }
}

/** The line of the log for a pull that has ended well; `hosts` gave something of it. */
export function logPull({ reference, startedAt, layers, bytesFetched }: PullStatus, hosts: readonly string[]): void {
  const took = { bytes: bytesFetched, ms: Date.now() - startedAt };
  log.info({ image: reference, layersFetched: layers, ...took, hosts }, 'An image was pulled');
}
