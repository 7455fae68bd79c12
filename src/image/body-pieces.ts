import { finished, type Readable } from 'node:stream';
import { letGoWhole } from '../base/let-go.ts';
import { pieceBytes, takePiece } from '../base/pieces.ts';

/**
 * A body as pieces of one length, but for the last, read ahead by one of them. Connections give small chunks, TLS the
 * smallest: of each there is no more to do than to copy it.
 */
export class BodyPieces {
  readonly #body: Readable;
  readonly #full: Buffer[] = [];
  readonly #silence: NodeJS.Timeout;
  /** How many bytes are to come; NaN: nobody said. */
  #left: number;
  #piece: Buffer | null = null;
  #used = 0;
  #end: { readonly error: unknown } | null = null;
  #wake: (() => void) | null = null;

  /** `length`: what is said of the body's. `onSilence` is called when a piece is awaited and nothing came for `silentMs`. */
  constructor(body: Readable, length: number, silentMs: number, onSilence: () => void) {
    this.#body = body;
    this.#left = length;
    this.#silence = setTimeout(() => {
      if (this.#wake) onSilence();
    }, silentMs);
    finished(body, { writable: false }, (error) => {
      clearTimeout(this.#silence);
      this.#end = { error };
      this.#wakeUp();
    });
    body.on('data', this.#take);
  }

  /** The next one, also the part of it that came before the body broke; null at the end. @throws what broke it. */
  async next(): Promise<Buffer | null> {
    if (this.#full.length === 0 && !this.#end) await this.#more();
    const piece = this.#full.shift() ?? this.#rest();
    if (!piece && this.#end?.error) throw this.#end.error;
    return piece;
  }

  #more(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    this.#silence.refresh();
    this.#body.resume();
    return promise;
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = null;
  }

  readonly #take = (chunk: Buffer): void => {
    this.#silence.refresh();
    for (let at = 0; at < chunk.length; ) {
      this.#piece ??= this.#fresh();
      const piece = this.#piece;
      const taken = chunk.copy(piece, this.#used, at);
      at += taken;
      this.#used += taken;
      this.#left -= taken;
      if (this.#used < piece.length) continue;
      this.#full.push(piece);
      this.#piece = null;
      this.#used = 0;
    }
    letGoWhole(chunk);
    if (this.#full.length === 0) return;
    if (!this.#wake) this.#body.pause();
    this.#wakeUp();
  };

  #fresh(): Buffer {
    return this.#left > 0 && this.#left < pieceBytes ? Buffer.allocUnsafeSlow(this.#left) : takePiece();
  }

  #rest(): Buffer | null {
    const rest = this.#piece?.subarray(0, this.#used) ?? null;
    this.#piece = null;
    this.#used = 0;
    return rest;
  }
}
