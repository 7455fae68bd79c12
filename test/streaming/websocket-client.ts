// A client of the channel subprotocols that sees every message as it is on the wire.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type RawData, WebSocket } from 'ws';

export type Frame = { readonly channel: number; readonly body: Buffer };

/** One connection; `protocol` is what it offers, nothing if empty. Every message must be of that protocol's form. */
export class ChannelClient {
  readonly socket: WebSocket;
  readonly frames: Frame[] = [];
  /** Resolves with the close code. */
  readonly closed: Promise<number>;
  readonly #base64: boolean;

  constructor(url: string, protocol: string) {
    this.#base64 = protocol.includes('base64');
    this.socket = new WebSocket(url.replace(/^http/, 'ws'), protocol === '' ? [] : [protocol]);
    this.socket.on('message', (data: RawData, binary: boolean) =>
      this.frames.push(this.#frame(data as Buffer, binary)),
    );
    this.closed = new Promise((resolve) => this.socket.once('close', (code) => resolve(code)));
  }

  static async open(url: string, protocol: string): Promise<ChannelClient> {
    const client = new ChannelClient(url, protocol);
    await once(client.socket, 'open');
    assert.equal(client.socket.protocol, protocol);
    return client;
  }

  send(channel: number, body: Buffer | string): void {
    const bytes = Buffer.from(body as string);
    if (this.#base64) this.socket.send(`${String.fromCharCode(48 + channel)}${bytes.toString('base64')}`);
    else this.socket.send(Buffer.concat([Buffer.of(channel), bytes]));
  }

  /** What came in this channel so far. */
  bytes(channel: number): Buffer {
    return Buffer.concat(this.frames.flatMap((frame) => (frame.channel === channel ? [frame.body] : [])));
  }

  text(channel: number): string {
    return this.bytes(channel).toString('latin1');
  }

  #frame(data: Buffer, binary: boolean): Frame {
    assert.equal(binary, !this.#base64, 'binary messages, or text');
    assert.ok(data.length > 0, 'a message of no channel');
    if (!this.#base64) return { channel: data[0]!, body: data.subarray(1) };
    const text = data.toString('latin1', 1);
    const body = Buffer.from(text, 'base64');
    assert.equal(body.toString('base64'), text, 'base64');
    return { channel: data[0]! - 48, body };
  }
}
