import type { Socket } from 'node:net';

/** So many may be silent for as long as a header may take. */
const mostSilent = 1024;
/** So long nobody has to give way to others: a client of this host has sent its token by then. Milliseconds. */
const graceMs = 500;
/** Not even then are there more than these: as many as the daemon can take in that time. */
const most = 8192;

/**
 * Connections that have shown no token yet. Anybody on this host may open as many as it likes; the oldest goes when there
 * are too many, so that there is always room for who has one.
 */
export class Newcomers {
  /** When they came, the oldest first. */
  readonly #since = new Map<Socket, number>();
  readonly #now: () => number;

  /** `now` in milliseconds, monotonic. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  add(socket: Socket): void {
    const now = this.#now();
    this.#since.set(socket, now);
    socket.once('close', () => this.#since.delete(socket));
    for (const [oldest, since] of this.#since) {
      if (this.#since.size <= mostSilent) return;
      if (this.#since.size <= most && now - since < graceMs) return;
      this.#since.delete(oldest);
      oldest.destroy(); // resetAndDestroy never closes one that its peer has reset meanwhile
    }
  }

  /** It has shown a good token: it counts no longer. */
  admit(socket: Socket): void {
    this.#since.delete(socket);
  }
}
