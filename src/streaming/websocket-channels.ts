import { Readable, Writable } from 'node:stream';
import type { RawData, WebSocket } from 'ws';

/** What may wait of one channel before the connection is read no further. */
const maxUnread = 256 * 1024;
/** Within this time the client answers our close. */
const closeMs = 60_000;
/** A client that leaves while we do not read is only noticed by writing to it. */
const pingMs = 10_000;

/** `base64`: messages are text, a digit for the channel and its bytes in base64; else binary, a byte and the bytes. */
export type Framing = { readonly base64: boolean };

const zero = 0x30;
/** How many channels there can be: a byte counts them, and of text those whose digit is ASCII. */
export const maxChannels = ({ base64 }: Framing): number => (base64 ? 0x80 - zero : 0x100);

/** With this in the channel's place, a client of v5 ends the channel that follows. */
const closeSignal = 255;

/**
 * The channels of a WebSocket, as kubelet's library has them (k8s.io/streaming, wsstream): each message is of one, and
 * what is of none, or is no base64, is dropped.
 */
export class Channels {
  /** Resolves when the connection is over. */
  readonly closed: Promise<void>;
  readonly #socket: WebSocket;
  readonly #base64: boolean;
  readonly #takers = new Map<number, (body: Buffer) => void>();
  readonly #full = new Set<number>();
  readonly #readables = new Map<number, Readable>();

  /** `endable`: how many channels the client may end by a close signal; 0 where the protocol has none. */
  constructor(socket: WebSocket, { base64 }: Framing, endable = 0) {
    this.#socket = socket;
    this.#base64 = base64;
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => {}); // 'close' follows
    socket.on('message', (data: RawData) => this.#receive(data as Buffer, endable));
    const pings = setInterval(() => socket.isPaused && socket.ping(), pingMs);
    this.closed.then(() => {
      clearInterval(pings);
      for (const readable of this.#readables.values()) readable.destroy();
    });
  }

  /** Calls back with what comes in this channel. */
  listen(channel: number, take: (body: Buffer) => void): void {
    this.#takers.set(channel, take);
  }

  /** What comes in this channel; while it is not read the connection is not, until it is destroyed. */
  readable(channel: number): Readable {
    const stream = new Readable({
      read: () => this.#resume(channel),
      destroy: (error, done) => {
        this.#resume(channel); // what is still unread would keep the answer to our close from being seen
        done(error);
      },
      highWaterMark: maxUnread,
    });
    stream.on('error', () => {});
    this.#readables.set(channel, stream);
    this.listen(channel, (body) => {
      if (stream.destroyed || body.length === 0 || stream.push(body)) return;
      this.#full.add(channel);
      this.#socket.pause();
    });
    return stream;
  }

  /** Takes what goes out in this channel, as fast as the client does. */
  writable(channel: number): Writable {
    const stream = new Writable({
      write: (chunk: Buffer, _, done) => {
        this.send(channel, chunk).then(() => done());
      },
    });
    stream.on('error', () => {});
    return stream;
  }

  /** Resolves when the bytes are handed on, or when the connection is gone: its end is told by `closed`. */
  async send(channel: number, chunk: Buffer): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const message = this.#base64
      ? String.fromCharCode(zero + channel) + chunk.toString('base64')
      : Buffer.concat([Buffer.of(channel), chunk]);
    this.#socket.send(message, { binary: !this.#base64 }, () => resolve());
    await promise;
  }

  /** Closes the connection when all is sent; resolves when it is over. */
  async end(): Promise<void> {
    for (const readable of this.#readables.values()) readable.destroy();
    this.#socket.close(1000);
    const late = setTimeout(() => this.#socket.terminate(), closeMs);
    await this.closed;
    clearTimeout(late);
  }

  #receive(data: Buffer, endable: number): void {
    const [first = -1] = data;
    const body = data.subarray(1);
    if (endable > 0 && first === closeSignal) {
      this.#endInput(body, endable);
      return;
    }
    const take = this.#takers.get(this.#base64 ? first - zero : first);
    const bytes = take && this.#base64 ? decodeBase64(body) : body;
    if (bytes) take?.(bytes);
  }

  #endInput(named: Buffer, endable: number): void {
    const [channel = endable] = named;
    if (named.length !== 1 || channel >= endable) {
      this.#socket.close(1002, `A close signal is followed by one channel below ${endable}`);
      return;
    }
    this.#takers.delete(channel);
    this.#readables.get(channel)?.push(null);
  }

  #resume(channel: number): void {
    this.#full.delete(channel);
    if (this.#full.size === 0) this.#socket.resume();
  }
}

/** RFC 4648, section 4, padded; line ends are skipped. Null for anything else, which Buffer.from would guess at. */
export function decodeBase64(data: Buffer): Buffer | null {
  const text = data.toString('latin1').replaceAll(/[\r\n]/g, '');
  const good = text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  return good ? Buffer.from(text, 'base64') : null;
}
