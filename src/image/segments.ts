/** A part of a blob: bytes from `from` up to, not including, `to`. */
export type Range = { readonly from: number; readonly to: number };

/** Blobs from here on are fetched in segments: below, one connection is as fast. */
export const segmentedFrom = 32 * 1024 * 1024;
/** Long enough that a round trip does not show, short enough that some of them fit into memory. */
const segmentBytes = 2 * 1024 * 1024;

/** Cuts a blob of `size` bytes. */
export function* segmentsOf(size: number): Generator<Range> {
  for (let from = 0; from < size; from += segmentBytes) yield { from, to: Math.min(from + segmentBytes, size) };
}

/**
 * Fetches ranges, `lanes` of them at a time, and yields their chunks in order. What is ahead of its turn waits in memory:
 * at most `lanes` ranges. Ends every fetch, also when the consumer leaves, before it returns.
 */
export async function* inLanes(
  ranges: Iterable<Range>,
  lanes: number,
  fetch: (range: Range, signal: AbortSignal) => AsyncIterable<Buffer>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const ahead: Promise<Buffer[]>[] = [];
  const iterator = ranges[Symbol.iterator]();
  const refill = () => {
    while (ahead.length < lanes) {
      const { value, done } = iterator.next();
      if (done) return;
      const run = Array.fromAsync(fetch(value, either));
      run.catch(() => {}); // its turn may never come
      ahead.push(run);
    }
  };
  try {
    for (refill(); ahead.length > 0; refill()) {
      const parts = await ahead[0]!;
      ahead.shift();
      refill();
      yield* parts;
    }
  } finally {
    stop.abort(new Error('The rest of the blob is not wanted'));
    await Promise.allSettled(ahead);
  }
}
