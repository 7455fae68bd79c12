import { closeSync, readSync, writeSync } from 'node:fs';
import { Duplex, Readable, Writable } from 'node:stream';
import { isErrno } from '../base/fault.ts';
import { loadAddon } from './addon.ts';

type Watch = { readonly watch: unique symbol };

type Addon = {
  watchOpen(fd: number, ready: (events: number) => void): Watch;
  watchFor(watch: Watch, events: number): number;
  watchClose(watch: Watch): number;
  setWindowSize(fd: number, rows: number, columns: number): number;
};

const addon = loadAddon<Addon>();
const readable = 1;
const writable = 2;

/** Every read goes through here first: a chunk then takes the memory of what came, not of what might have. */
const scratch = Buffer.allocUnsafe(64 * 1024);

/** A descriptor of ours in O_NONBLOCK mode: waits until it is ready, and closes it once. */
export class Descriptor {
  readonly fd: number;
  readonly #watch: Watch;
  readonly #waiting = new Map<number, () => void>();
  #closed = false;

  /** Takes the descriptor over. */
  constructor(fd: number) {
    this.fd = fd;
    this.#watch = addon.watchOpen(fd, (events) => this.#ready(events));
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Resolves when a read would not wait, and when the descriptor is closed. One wait at a time. */
  readable(): Promise<void> {
    return this.#wait(readable);
  }

  /** The same of a write. */
  writable(): Promise<void> {
    return this.#wait(writable);
  }

  /** Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    addon.watchClose(this.#watch);
    closeSync(this.fd);
    this.#ready(readable | writable);
  }

  /** Gives the descriptor up without closing it. */
  release(): number {
    if (!this.#closed) addon.watchClose(this.#watch);
    this.#closed = true;
    return this.fd;
  }

  async #wait(event: number): Promise<void> {
    if (this.#closed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.set(event, resolve);
    this.#listen();
    await promise;
  }

  #ready(events: number): void {
    for (const [event, resolve] of this.#waiting) {
      if ((event & events) === 0) continue;
      this.#waiting.delete(event);
      resolve();
    }
    if (!this.#closed) this.#listen();
  }

  #listen(): void {
    addon.watchFor(
      this.#watch,
      [...this.#waiting.keys()].reduce((all, event) => all | event, 0),
    );
  }
}

/** What is there, or null at the end. EIO is how a terminal's master says that nobody holds the other side. */
async function readSome(from: Descriptor): Promise<Buffer | null> {
  while (!from.closed) {
    try {
      const size = readSync(from.fd, scratch);
      return size > 0 ? Buffer.from(scratch.subarray(0, size)) : null;
    } catch (error) {
      if (isErrno(error, 'EIO')) return null;
      if (!isErrno(error, 'EAGAIN', 'EINTR')) throw error;
      await from.readable();
    }
  }
  return null;
}

/** Writes the whole chunk, waiting for room. @throws Error with code EPIPE when the descriptor is closed meanwhile. */
export async function writeAll(to: Descriptor, chunk: Buffer): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    if (to.closed) throw Object.assign(new Error('EPIPE: closed'), { code: 'EPIPE' });
    try {
      done += writeSync(to.fd, chunk, done);
    } catch (error) {
      if (!isErrno(error, 'EAGAIN', 'EINTR')) throw error;
      await to.writable();
    }
  }
}

type Done = (error?: Error | null) => void;

const reader = (from: Descriptor) =>
  function read(this: Readable) {
    readSome(from).then(
      (chunk) => this.push(chunk),
      (error) => this.destroy(error),
    );
  };
const writer = (to: Descriptor) => (chunk: Buffer, _: unknown, done: Done) => {
  writeAll(to, chunk).then(() => done(), done);
};
const closer =
  (...all: Descriptor[]) =>
  (error: Error | null, done: Done) => {
    for (const one of all) one.close();
    done(error);
  };

/** What comes out of a pipe; closes it at its end or when it is destroyed. */
export const readFrom = (fd: number): Readable => {
  const from = new Descriptor(fd);
  return new Readable({ read: reader(from), destroy: closer(from) });
};

/** Writes to a pipe, or to a terminal's master without reading from it; closes it when it is finished or destroyed. */
export const writeTo = (fd: number): Writable => {
  const to = new Descriptor(fd);
  return new Writable({ write: writer(to), destroy: closer(to), decodeStrings: true });
};

/** Both ways of a terminal's master. To end the writing side does nothing: the terminal closes when it is destroyed. */
export const terminalOf = (fd: number): Duplex => {
  const both = new Descriptor(fd);
  return new Duplex({ read: reader(both), write: writer(both), destroy: closer(both), allowHalfOpen: true });
};

/** Rows and columns of the terminal with this master, 0 to 65535 each. */
export function setWindowSize(fd: number, rows: number, columns: number): void {
  addon.setWindowSize(fd, rows, columns);
}
