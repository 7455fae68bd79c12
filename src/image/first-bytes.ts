/** Gives a worker its input, and the memory of each chunk with it. Must stop when the signal aborts. */
export type ChunkSource = (signal: AbortSignal) => AsyncIterable<Uint8Array>;

/** A source whose first bytes are here (or that is empty). It ends when this is disposed of. */
export type Opened = AsyncDisposable & { readonly rest: ChunkSource };

/** Opens a source and waits for its first bytes. Who then reads all of them may stop it by a signal of his own. */
export async function opened(open: ChunkSource, signal: AbortSignal): Promise<Opened> {
  const stop = new AbortController();
  const iterator = open(AbortSignal.any([signal, stop.signal]))[Symbol.asyncIterator]();
  const first = await iterator.next();
  async function* all(reader: AbortSignal): AsyncGenerator<Uint8Array> {
    const leave = () => stop.abort(reader.reason);
    if (reader.aborted) leave();
    reader.addEventListener('abort', leave, { once: true });
    try {
      for (let { value, done } = first; !done; { value, done } = await iterator.next()) yield value;
    } finally {
      reader.removeEventListener('abort', leave);
      await iterator.return?.();
    }
  }
  return {
    rest: all,
    [Symbol.asyncDispose]: async () => {
      stop.abort(new Error('The rest of the layer is not wanted'));
      await iterator.return?.();
    },
  };
}
