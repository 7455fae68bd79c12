import type { TracedCall } from '../base/trace.ts';

/** What a call was about, by the names that the log has them under; as a client sent them. */
export type Names = Readonly<Record<string, string>>;

/** A call of CRI that was answered, as its span is made of it. */
export type EndedCall = {
  /** `runtime.v1.RuntimeService`. */
  readonly service: string;
  /** `RunPodSandbox`. */
  readonly method: string;
  /** A gRPC code in words: NOT_FOUND. */
  readonly outcome: string;
  readonly code: number;
  readonly timed: TracedCall;
  /** Of a W3C trace context, as they came; empty: none. */
  readonly traceparent: string;
  readonly tracestate: string;
  readonly names: Names;
};

/** A read or a probe is told of only if it failed or took so long, ms. */
export const slowMs = 250;

/**
 * kubelet lists, asks and probes all the time, for ever: such a call has a span only if there is something to see in it. Those
 * that change something are few, and each may.
 */
export const isTelling = (changes: boolean, { outcome, timed }: Pick<EndedCall, 'outcome' | 'timed'>): boolean =>
  changes || outcome !== 'OK' || timed.end - timed.begin >= slowMs;
