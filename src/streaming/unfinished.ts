import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';

/** A message is kept until its end has come: so much of all connections' together. */
const mostOfAll = 256 * 1024 * 1024;
/** A connection that holds less is not ended for what others hold. */
const spared = 4 * 1024 * 1024;
/** Bytes of a client's ping before its payload, the mask among them (RFC 6455 section 5.2). */
const controlHeader = 6;

/** Counts what has come of messages without an end: a few clients with large ones could else take all of the daemon's memory. */
export class Unfinished {
  readonly #most: number;
  #total = 0;

  constructor(most = mostOfAll) {
    this.#most = most;
  }

  /** Ends the connection (1013, try again later) when all together hold too much and it has a large part of that. */
  watch(socket: WebSocket, transport: Duplex): void {
    let own = 0;
    const set = (bytes: number) => {
      this.#total += bytes - own;
      own = bytes;
    };
    // A message that is handed on while another has begun counts for nothing; what has come of that one is in one chunk.
    socket.on('message', () => set(0));
    // These may come among the parts of a message, which stay: only their own bytes are over with.
    for (const event of ['ping', 'pong']) {
      socket.on(event, (payload: Buffer) => set(Math.max(0, own - controlHeader - payload.length)));
    }
    // Before the library hands on what is in it.
    transport.prependListener('data', (chunk: Buffer) => {
      set(own + chunk.length);
      if (this.#total <= this.#most || own <= spared) return;
      socket.close(1013, 'Too much of unfinished messages is kept: send shorter ones');
      socket.terminate();
    });
    transport.once('close', () => set(0));
  }
}
