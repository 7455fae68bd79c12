import { status } from '@grpc/grpc-js';
import { Counter, Histogram, type Sample } from '../base/metrics.ts';

const outcomes = new Map(Object.entries(status).map(([name, code]) => [code, name]));
/** A gRPC code in words: NOT_FOUND. */
export const outcomeOf = (code: number): string => outcomes.get(code) ?? `${code}`;

/** From a list's answer to a pull's. */
const seconds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/**
 * What somebody may be woken for. A series that begins with its first failure begins at 1, which no rate() sees: so these
 * are there from the start.
 */
const awaited = ['OK', 'INTERNAL', 'DEADLINE_EXCEEDED', 'DATA_LOSS', 'RESOURCE_EXHAUSTED', 'UNAVAILABLE'];

/** What a one-shot URL stands for. */
export const streamKinds = ['exec', 'attach', 'portforward'] as const;
export type StreamKind = (typeof streamKinds)[number];

/** How many calls there were, how they ended, how long they took; and the streams. Method names are those of the services. */
export class CallStats {
  readonly ended = new Counter();
  readonly took = new Histogram(seconds);
  readonly streams = new Counter(streamKinds.map((kind) => ({ kind })));
  readonly #open = new Map<StreamKind, number>(streamKinds.map((kind) => [kind, 0]));
  underWay = 0;

  /** A call that is served: told of from now on, though nobody has made it yet. */
  expect(method: string): void {
    for (const code of awaited) this.ended.add({ method, code }, 0);
  }

  end(method: string, code: number, ms: number): void {
    this.ended.add({ method, code: outcomeOf(code) });
    this.took.observe({ method }, ms / 1000);
  }

  /** A client has connected for a stream; it calls what is returned when the connection is over. */
  streamBegan(kind: StreamKind): () => void {
    const add = (by: number) => this.#open.set(kind, this.#open.get(kind)! + by);
    this.streams.add({ kind });
    add(1);
    return () => add(-1);
  }

  openStreams(): Sample[] {
    return [...this.#open].map(([kind, value]) => ({ labels: { kind }, value }));
  }
}
