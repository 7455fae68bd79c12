import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** What was read first, and all of it again. Short chunks are joined until `least` bytes are there. */
export async function peek(
  source: AsyncIterable<Buffer>,
  least: number,
): Promise<{ start: Buffer; all: AsyncIterable<Buffer> }> {
  const iterator = source[Symbol.asyncIterator]();
  let start: Buffer = Buffer.alloc(0);
  while (start.length < least) {
    const { value, done } = await iterator.next();
    if (done) break;
    // A copy of what is too short: it is no longer valid once more is asked for.
    start = start.length === 0 && value.length >= least ? value : Buffer.concat([start, value]);
  }
  async function* all(): AsyncGenerator<Buffer> {
    try {
      if (start.length > 0) yield start;
      for (;;) {
        const { value, done } = await iterator.next();
        if (done) return;
        yield value;
      }
    } finally {
      await iterator.return?.();
    }
  }
  return { start, all: all() };
}

/** What a stream makes of a source. It has ended when this has, also where the reader leaves. @throws what either breaks with. */
export async function* through(source: AsyncIterable<Buffer>, stream: Duplex): AsyncGenerator<Buffer> {
  const feeding = pipeline(source, stream);
  feeding.catch(() => {}); // who reads the stream hears of it
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) yield chunk;
    await feeding;
  } finally {
    stream.destroy();
    await feeding.catch(() => {});
  }
}
