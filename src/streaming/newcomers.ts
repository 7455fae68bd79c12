import type { Socket } from 'node:net';

/** So many may be silent for as long as a header may take. */
const mostSilent = 1024;
/** So long nobody has to give way to others: a client of this host has sent its token by then. Milliseconds. */
const graceMs = 500;
/** One in which it is accepted, one in which what it sent is read. */
const roundsToBeRead = 2;
/** Not even then are there more than these: as many as the daemon can take in that time. */
const most = 8192;

/**
 * Connections that have shown no token yet. Anybody on this host may open as many as it likes; the oldest goes when there
 * are too many, so that there is always room for who has one.
 */
export class Newcomers {
  /** When they came, the oldest first, and in which round of the event loop. */
  readonly #since = new Map<Socket, { readonly at: number; readonly round: number }>();
  readonly #now: () => number;
  #round = 0;
  #counting = false;

  /** `now` in milliseconds, monotonic. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  add(socket: Socket): void {
    const now = this.#now();
    this.#count();
    this.#since.set(socket, { at: now, round: this.#round });
    socket.once('close', () => this.#since.delete(socket));
    for (const [oldest, since] of this.#since) {
      if (this.#since.size <= mostSilent) return;
      // What it has sent is read in the next round: on a busy host the loop may be later than the grace is long. In a round no
      // more come than the listener's backlog holds.
      if (this.#round - since.round < roundsToBeRead) return;
      if (this.#since.size <= most && now - since.at < graceMs) return;
      this.#since.delete(oldest);
      oldest.destroy(); // resetAndDestroy never closes one that its peer has reset meanwhile
    }
  }

  #count(): void {
    if (this.#counting) return;
    this.#counting = true;
    setImmediate(() => {
      this.#counting = false;
      this.#round++;
      if (this.#since.size > 0) this.#count();
    }).unref();
  }

  /** It has shown a good token: it counts no longer. */
  admit(socket: Socket): void {
    this.#since.delete(socket);
  }
}
