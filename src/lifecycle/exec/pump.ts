import type { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { readFrom } from '../../sys/streams.ts';

/** Copying of one output to a client: `done` resolves when there is no more, or nobody to take it. */
export type Pump = { readonly source: Readable; readonly sink: Writable; readonly done: Promise<void> };

/** Copies at the client's pace; the client's end stays open. Takes the source over. */
export function pump(source: Readable, sink: Writable): Pump {
  const stop = () => source.destroy();
  sink.once('close', stop);
  if (sink.destroyed) stop();
  source.pipe(sink, { end: false });
  const done = finished(source, { writable: false })
    .catch(() => {}) // destroyed: the client left, or the time for it was over
    .finally(() => sink.removeListener('close', stop));
  return { source, sink, done };
}

/** The pump of a descriptor, where there is one and the client wants it. */
export function pumpFrom(fd: number | null, sink: Writable | null): Pump[] {
  return fd === null || sink === null ? [] : [pump(readFrom(fd), sink)];
}

/**
 * Resolves when all is copied. The process has ended: what it wrote itself is in the pipes and is copied at whatever pace
 * the client takes; others that hold them open get `idleMs` milliseconds without a byte.
 */
export async function drain(pumps: readonly Pump[], idleMs: number): Promise<void> {
  const timers = pumps.map(({ source, sink }) => {
    const timer = setTimeout(() => (sink.writableNeedDrain ? timer.refresh() : source.destroy()), idleMs);
    source.on('data', () => timer.refresh());
    return timer;
  });
  await Promise.all(pumps.map(({ done }) => done));
  for (const timer of timers) clearTimeout(timer);
}

/**
 * Copies a client's input; resolves when the client's has ended. A process that reads no more does not hold the client
 * up: the rest is dropped.
 */
export async function feed(from: Readable, to: Writable, end: boolean): Promise<void> {
  to.on('error', () => {
    from.unpipe(to);
    from.resume();
  });
  from.pipe(to, { end });
  await finished(from, { writable: false }).catch(() => {}); // the client left
}
