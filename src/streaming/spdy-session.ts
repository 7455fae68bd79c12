import { Duplex } from 'node:stream';
import { control, dataHead, type Frame, FrameParser, frameTypes, resetStatus } from './spdy-frames.ts';
import { HeaderReader, HeaderWriter, ProtocolError } from './spdy-headers.ts';

/** A port-forward takes two streams per connection. */
const maxStreams = 4096;
/** What may wait in a connection's streams before it is read no further. */
const maxUnread = 1024 * 1024;
/** How much may come before it is counted again. */
const countEvery = 64 * 1024;
/** What may wait for a peer that asks for answers (PING, refusals) and reads none. */
const maxAnswers = 1024 * 1024;
const maxChunk = 1 << 20;
/** A peer that leaves while we do not read is only noticed by writing to it. */
const pingMs = 10_000;
/** Ours are even. */
const pingId = 2;

/** A stream that the peer opened; to end it is to send FIN, to destroy it RST_STREAM. */
export type SpdyStream = {
  readonly id: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly duplex: Duplex;
};

/**
 * The server's side of one SPDY/3.1 connection over `transport`. The peer's streams come by `onStream`; a peer that
 * breaks the protocol loses its connection and nothing else does. Memory is bounded: writes wait for the transport, and
 * it is not read while its streams have too much unread.
 */
export class SpdySession {
  readonly #transport: Duplex;
  readonly #onStream: (stream: SpdyStream) => void;
  readonly #parser = new FrameParser();
  readonly #headers = new HeaderReader();
  readonly #replies = new HeaderWriter();
  readonly #streams = new Map<number, Duplex>();
  #lastStream = 0;
  #paused: NodeJS.Timeout | null = null;
  #uncounted = 0;
  /** Resolves when the transport is closed, by whomever. */
  readonly closed: Promise<void>;

  constructor(transport: Duplex, onStream: (stream: SpdyStream) => void) {
    this.#transport = transport;
    this.#onStream = onStream;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    transport.on('error', () => {}); // 'close' follows
    transport.once('close', () => {
      clearInterval(this.#paused ?? undefined);
      for (const stream of this.#streams.values()) stream.destroy();
      resolve();
    });
    transport.once('end', () => transport.destroy()); // half a connection carries no streams
    transport.on('data', (chunk: Buffer) => this.#read(chunk));
  }

  /** Ends the connection and every stream of it at once. */
  destroy(): void {
    this.#transport.destroy();
  }

  #read(chunk: Buffer): void {
    try {
      for (const frame of this.#parser.push(chunk)) this.#take(frame);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#write([control(frameTypes.goAway, this.#lastStream, resetStatus.protocolError)]);
      this.#transport.destroy();
    }
  }

  #take(frame: Frame): void {
    switch (frame.type) {
      case 'open':
        this.#open(frame.stream, this.#headers.read(frame.block), frame.fin);
        break;
      case 'headers':
        this.#headers.read(frame.block); // the blocks of a connection are one zlib stream: none can be skipped
        this.#data(frame.stream, Buffer.alloc(0), frame.fin);
        break;
      case 'data':
        this.#data(frame.stream, frame.chunk, frame.fin);
        break;
      case 'reset':
        this.#reset(frame.stream);
        break;
      case 'ping':
        if (frame.id % 2 === 1) this.#answer(control(frameTypes.ping, frame.id));
        break;
      case 'goAway':
        break; // it opens no more streams; those that are open go on
      default:
        frame satisfies never;
    }
  }

  #reset(id: number): void {
    const stream = this.#streams.get(id);
    this.#streams.delete(id); // first: it needs no reset of ours
    stream?.destroy();
  }

  #open(id: number, headers: Map<string, string>, fin: boolean): void {
    if (id % 2 === 0 || id <= this.#lastStream) throw new ProtocolError(`Stream ${id} cannot be opened`);
    this.#lastStream = id;
    if (this.#streams.size >= maxStreams) {
      this.#answer(control(frameTypes.reset, id, resetStatus.refused));
      return;
    }
    const duplex = this.#stream(id);
    this.#streams.set(id, duplex);
    this.#answer(control(frameTypes.synReply, id, this.#replies.write(new Map())));
    if (fin) duplex.push(null);
    this.#onStream({ id, headers, duplex });
  }

  #stream(id: number): Duplex {
    let finished = false;
    const duplex = new Duplex({
      allowHalfOpen: true,
      read: () => this.#resume(),
      write: (chunk: Buffer, _, done) => this.#send(id, chunk, done),
      final: (done) => {
        finished = true;
        this.#write([dataHead(id, 0, true)], done);
      },
      destroy: (error, done) => {
        const known = this.#streams.delete(id);
        if (known && !(finished && duplex.readableEnded))
          this.#answer(control(frameTypes.reset, id, resetStatus.cancel));
        this.#resume();
        done(error);
      },
    });
    duplex.on('error', () => {});
    return duplex;
  }

  #data(id: number, chunk: Buffer, fin: boolean): void {
    const stream = this.#streams.get(id);
    if (!stream || stream.readableEnded) return; // it was reset, and the peer does not know yet
    if (chunk.length > 0) stream.push(chunk);
    if (fin) stream.push(null);
    this.#uncounted += chunk.length;
    if (this.#uncounted > countEvery) this.#pause();
  }

  #unread(): number {
    return this.#streams.values().reduce((sum, stream) => sum + stream.readableLength, 0);
  }

  #pause(): void {
    this.#uncounted = 0;
    if (this.#paused || this.#unread() <= maxUnread) return;
    this.#paused = setInterval(() => this.#answer(control(frameTypes.ping, pingId)), pingMs);
    this.#transport.pause();
  }

  #resume(): void {
    if (!this.#paused || this.#unread() > maxUnread / 2) return;
    clearInterval(this.#paused);
    this.#paused = null;
    this.#transport.resume();
  }

  #send(id: number, chunk: Buffer, done: (error?: Error | null) => void): void {
    const parts: Buffer[] = [];
    for (let at = 0; at < chunk.length; at += maxChunk) {
      const part = chunk.subarray(at, at + maxChunk);
      parts.push(dataHead(id, part.length, false), part);
    }
    this.#write(parts, done);
  }

  #write(parts: readonly Buffer[], done?: (error?: Error | null) => void): void {
    if (this.#transport.destroyed || parts.length === 0) {
      done?.();
      return;
    }
    this.#transport.cork();
    for (const part of parts.slice(0, -1)) this.#transport.write(part);
    this.#transport.write(parts.at(-1)!, done);
    this.#transport.uncork();
  }

  #answer(frame: Buffer): void {
    this.#write([frame]);
    if (this.#transport.writableLength > maxAnswers) this.#transport.destroy();
  }
}
