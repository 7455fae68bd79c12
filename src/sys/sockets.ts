import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import { getSystemErrorMessage, getSystemErrorName } from 'node:util';
import { loadAddon } from './addon.ts';
import { Descriptor, writeAll } from './streams.ts';

type Addon = {
  connectUnix(path: string): number;
  connectLoopback(namespace: string, family: number, port: number): number;
  socketError(fd: number): number;
  receiveDescriptors(fd: number, into: Buffer, list: number[]): number;
};

const addon = loadAddon<Addon>();
/** A loopback answers at once, unless a packet filter drops what it is asked. */
const connectMs = 10_000;

/**
 * Connects to a port on the loopback address of a network namespace: 127.0.0.1, and ::1 where nobody listens there.
 * `namespace` is the path of its pin; empty: the daemon's own.
 * @throws Error with an errno code, of the first attempt if both fail.
 */
export async function connectLoopback(namespace: string, port: number): Promise<Socket> {
  try {
    return await connect(namespace, 4, port);
  } catch (first) {
    try {
      return await connect(namespace, 6, port);
    } catch {
      throw first; // most services are on IPv4: its reason says more
    }
  }
}

async function connect(namespace: string, family: 4 | 6, port: number): Promise<Socket> {
  const socket = new Descriptor(addon.connectLoopback(namespace, family, port));
  const late = setTimeout(() => socket.close(), connectMs);
  await socket.writable();
  clearTimeout(late);
  const error = socket.closed ? constants.errno.ETIMEDOUT : addon.socketError(socket.fd);
  if (error === 0) return new Socket({ fd: socket.release(), allowHalfOpen: true, readable: true, writable: true });
  socket.close();
  const code = getSystemErrorName(-error);
  const address = family === 4 ? '127.0.0.1' : '[::1]';
  const message = `${code}: ${getSystemErrorMessage(-error)}, connect ${address}:${port}`;
  throw Object.assign(new Error(message), { code, errno: -error, syscall: 'connect' });
}

/** A stream socket at a path over which descriptors come. */
export class DescriptorSocket {
  readonly #socket: Descriptor;
  readonly #buffer = Buffer.allocUnsafe(64 * 1024);

  /** @throws Error with an errno code; EAGAIN: its listener does not keep up. */
  constructor(path: string) {
    this.#socket = new Descriptor(addon.connectUnix(path));
  }

  send(bytes: Buffer): Promise<void> {
    return writeAll(this.#socket, bytes);
  }

  /** The next bytes and the descriptors that came with them; null at the end, and once it is closed. */
  async receive(): Promise<{ chunk: Buffer; descriptors: number[] } | null> {
    const descriptors: number[] = [];
    while (!this.#socket.closed) {
      const size = addon.receiveDescriptors(this.#socket.fd, this.#buffer, descriptors);
      if (size > 0) return { chunk: Buffer.from(this.#buffer.subarray(0, size)), descriptors };
      for (const fd of descriptors) closeSync(fd);
      if (size === 0) return null;
      await this.#socket.readable();
    }
    return null;
  }

  close(): void {
    this.#socket.close();
  }
}
