import { setImmediate } from 'node:timers/promises';
import { letGo } from '../base/let-go.ts';
import { loadAddon } from './addon.ts';

type Handle = { readonly decoder: unique symbol };
type Addon = {
  openDecoder(format: number, digest: string, onNews: () => void): Handle;
  decoderPush(decoder: Handle, input: Uint8Array): number;
  decoderRoom(decoder: Handle, output: Uint8Array): number;
  decoderEnd(decoder: Handle): number;
  /** How many inputs are used up, and how many bytes each buffer got, the first given first. */
  decoderTake(decoder: Handle): readonly [standing: number, taken: number, ...filled: number[]];
  decoderProblem(decoder: Handle): string;
  decoderDigest(decoder: Handle): Buffer;
  closeDecoder(decoder: Handle): number;
};

const addon = loadAddon<Addon>();

/** By the addon's numbers (decoder.c). */
const formats = { gzip: 0, zstd: 1 } as const;
const standings = { goesOn: 0, ended: 1, endedEarly: 2, damaged: 3 } as const;

export type CompressionFormat = keyof typeof formats;

/** Buffers that are filled in turn, and pieces of input that wait: enough that neither side waits for the other to come round. */
const buffers = 4;
const inputsAhead = 3;
/** After so many chunks the event loop gets a turn. */
const turnEvery = 16;

const damaged = (code: 'Z_DATA_ERROR' | 'Z_BUF_ERROR', message: string): Error =>
  Object.assign(new Error(message), { code });

export type DecoderOptions = {
  readonly format: CompressionFormat;
  /** How many bytes a chunk has at most. */
  readonly chunkBytes: number;
  /** Of what is read, to be had at the end. */
  readonly digest?: 'sha256' | 'sha512' | null;
  /** Nobody looks any more at this piece of the source. Until then it stays as it is, while the next ones are asked for. */
  readonly taken?: (piece: Uint8Array) => void;
};

/**
 * Decompresses a source on a thread of its own, ahead of who reads: all members of gzip, or frames of zstd. A zero behind a member of
 * gzip is padding, and so is all that follows. Read once, and a chunk is valid until the one after it is asked for.
 * @throws Error with node:zlib's codes, Z_DATA_ERROR or Z_BUF_ERROR, for what is damaged; what the source throws.
 */
export class Decoder implements AsyncIterable<Buffer> {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #options: DecoderOptions;
  #digest = '';
  /** Given to the thread, the first given first. */
  readonly #inputs: Uint8Array[] = [];
  readonly #outputs: Buffer[] = [];
  /** What it has made, and nobody has asked for. */
  readonly #made: Buffer[] = [];
  #standing: number = standings.goesOn;
  #failure: { readonly error: unknown } | null = null;
  #isOpen = true;
  #news = Promise.withResolvers<void>();

  constructor(source: AsyncIterable<Uint8Array>, options: DecoderOptions) {
    this.#source = source[Symbol.asyncIterator]();
    this.#options = options;
  }

  /** In hexadecimal, once all was read. */
  digest(): string {
    if (this.#digest === '') throw new Error('There is no digest of what was not read to its end');
    return this.#digest;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    try {
      yield* this.#chunks();
    } finally {
      this.#isOpen = false;
      this.#wake();
      this.#source.return?.()?.catch(() => {}); // one that is silent for long is not waited for
    }
  }

  async *#chunks(): AsyncGenerator<Buffer> {
    const { format, chunkBytes, digest } = this.#options;
    const memory = Array.from({ length: buffers }, () => Buffer.allocUnsafeSlow(chunkBytes));
    const handle = addon.openDecoder(formats[format], digest ?? '', () => this.#hear(handle));
    const giveRoom = (output: Buffer) => {
      this.#outputs.push(output);
      addon.decoderRoom(handle, output);
    };
    try {
      memory.forEach(giveRoom);
      this.#feed(handle).catch((error: unknown) => this.#fail(error));
      let given = 0;
      for (let chunk = await this.#next(handle); chunk; chunk = await this.#next(handle)) {
        yield chunk;
        // Node calls back for news as long as there are, before it looks at messages: what is called off would not hear of it.
        if (++given % turnEvery === 0) await setImmediate();
        giveRoom(memory.find(({ buffer }) => buffer === chunk!.buffer)!);
      }
      if (digest) this.#digest = addon.decoderDigest(handle).toString('hex');
    } finally {
      this.#isOpen = false;
      addon.closeDecoder(handle); // nothing is under way any more, and nobody looks at what was there
      memory.forEach(letGo);
    }
  }

  /** The next chunk; null at the end. */
  async #next(handle: Handle): Promise<Buffer | null> {
    for (;;) {
      const chunk = this.#made.shift();
      if (chunk) return chunk;
      if (this.#failure) throw this.#failure.error;
      if (this.#standing === standings.ended) return null;
      if (this.#standing === standings.endedEarly) throw damaged('Z_BUF_ERROR', 'unexpected end of file');
      if (this.#standing === standings.damaged) throw damaged('Z_DATA_ERROR', addon.decoderProblem(handle));
      await this.#news.promise;
    }
  }

  async #feed(handle: Handle): Promise<void> {
    for (;;) {
      while (this.#isOpen && this.#inputs.length >= inputsAhead) await this.#news.promise;
      if (!this.#isOpen) return;
      const { value, done } = await this.#source.next();
      if (!this.#isOpen) return;
      if (done) break;
      if (value.length === 0) continue;
      this.#inputs.push(value);
      addon.decoderPush(handle, value);
    }
    addon.decoderEnd(handle);
  }

  #hear(handle: Handle): void {
    if (!this.#isOpen) return;
    const [standing, taken, ...filled] = addon.decoderTake(handle);
    this.#standing = standing;
    for (const input of this.#inputs.splice(0, taken)) this.#options.taken?.(input);
    for (const length of filled) this.#made.push(this.#outputs.shift()!.subarray(0, length));
    this.#wake();
  }

  #fail(error: unknown): void {
    this.#failure = { error };
    this.#wake();
  }

  #wake(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }
}
