import { letGo } from '../base/let-go.ts';
import { loadAddon } from './addon.ts';

type Handle = { readonly inflater: unique symbol };
type Addon = {
  openInflater(): Handle;
  closeInflater(inflater: Handle): number;
  /** Less written than there is room for: all was read, and it wants more. Or what is wrong. */
  inflate(
    inflater: Handle,
    input: Uint8Array,
    output: Uint8Array,
  ): Promise<readonly [read: number, written: number] | number>;
  inflaterEnded(inflater: Handle): boolean;
};

const addon = loadAddon<Addon>();

/** By the addon's numbers (inflate.c), in the words of node:zlib. */
const problems: Readonly<Record<number, string>> = {
  [-1]: 'incorrect header',
  [-2]: 'invalid data',
  [-3]: 'incorrect data check',
};

const damaged = (code: 'Z_DATA_ERROR' | 'Z_BUF_ERROR', message: string): Error =>
  Object.assign(new Error(message), { code });

/** What two buffers are filled with in turn, out of a source of gzip. */
class Inflater {
  readonly #handle = addon.openInflater();
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #outputs: [Buffer, Buffer];
  #input: Uint8Array | null = null;
  #isWanted = true;

  constructor(source: AsyncIterator<Uint8Array>, chunkBytes: number) {
    this.#source = source;
    this.#outputs = [Buffer.allocUnsafeSlow(chunkBytes), Buffer.allocUnsafeSlow(chunkBytes)];
  }

  /** The next bytes, in the buffer that was not used last; null at the end. */
  async next(): Promise<Buffer | null> {
    const output = this.#outputs[0];
    while (this.#isWanted) {
      const input = this.#input ?? (await this.#more());
      if (!input) return null;
      const result = await addon.inflate(this.#handle, input, output);
      if (typeof result === 'number') throw damaged('Z_DATA_ERROR', problems[result] ?? `unknown problem ${result}`);
      const [read, written] = result;
      this.#input = written < output.length ? null : input.subarray(read);
      if (written === 0) continue;
      this.#outputs.reverse();
      return output.subarray(0, written);
    }
    return null;
  }

  /** Nothing is under way any more, and nobody looks at what was there: its memory is free. */
  close(): void {
    addon.closeInflater(this.#handle);
    for (const output of this.#outputs) letGo(output);
  }

  /** Nothing more is read. What is under way is not waited for: the source may be silent for long. */
  leave(): void {
    this.#isWanted = false;
    this.#source.return?.()?.catch(() => {});
  }

  async #more(): Promise<Uint8Array | null> {
    const { value, done } = await this.#source.next();
    if (!done) return value;
    if (addon.inflaterEnded(this.#handle)) return null;
    throw damaged('Z_BUF_ERROR', 'unexpected end of file');
  }
}

/**
 * Decompresses gzip, all members of it, on the thread pool: while a chunk is looked at, the next one is made. A chunk is valid
 * until the one after it is asked for. A zero behind a member is padding, and so is all that follows.
 * @throws Error with node:zlib's codes, Z_DATA_ERROR or Z_BUF_ERROR, for what is damaged.
 */
export async function* gunzip(source: AsyncIterable<Uint8Array>, chunkBytes: number): AsyncGenerator<Buffer> {
  const inflater = new Inflater(source[Symbol.asyncIterator](), chunkBytes);
  let ahead = inflater.next();
  try {
    for (let chunk = await ahead; chunk; chunk = await ahead) {
      ahead = inflater.next();
      ahead.catch(() => {}); // it is heard of when its turn comes
      yield chunk;
    }
    inflater.close();
  } finally {
    inflater.leave();
  }
}
