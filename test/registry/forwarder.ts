// A proxy as operators have them: it makes tunnels (CONNECT). It can misbehave before it does, and knows who is still connected.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer } from 'node:tls';
import type { Certificate } from './certificate.ts';

export type Forwarder = AsyncDisposable & {
  readonly port: number;
  /** The heads of the requests for tunnels, and of whatever else it was asked. */
  readonly asked: string[];
  /** Settles with the next connection. */
  connected(): Promise<void>;
  /** Settles when nobody is connected any more. */
  abandoned(): Promise<void>;
};

export type ForwarderOptions = {
  /** The port of this host that every tunnel leads to; absent: what is said through a tunnel is not heard. */
  readonly to?: number;
  /** It speaks TLS itself. */
  readonly tls?: Certificate;
  /** What it answers, piece by piece; none: nothing. */
  readonly answer?: readonly string[];
  /** It never answers a TLS handshake. */
  readonly isMute?: boolean;
};

export const made = ['HTTP/1.1 200 Connection established\r\n\r\n'] as const;

export async function startForwarder({ to, tls, answer = made, isMute }: ForwarderOptions): Promise<Forwarder> {
  const open = new Set<Socket>();
  const asked: string[] = [];
  const serve = async (socket: Duplex) => {
    socket.on('error', () => {});
    asked.push(await headOf(socket));
    for (const piece of answer) await new Promise((resolve) => socket.write(piece, resolve));
    if (to === undefined) return void socket.resume();
    const onward = connect(to, '127.0.0.1').on('error', () => socket.destroy());
    socket.once('close', () => onward.destroy());
    onward.once('close', () => socket.destroy());
    socket.pipe(onward).pipe(socket);
  };
  const served = (socket: Duplex) => void serve(socket).catch(() => {}); // who asked has left
  const server = tls && !isMute ? createTlsServer(tls, served) : createServer(isMute ? () => {} : served);
  server.on('tlsClientError', () => {});
  server.on('connection', (socket: Socket) => {
    open.add(socket.on('error', () => {}));
    socket.once('close', () => open.delete(socket));
    if (isMute) socket.resume();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    connected: async () => void (await once(server, 'connection')),
    abandoned: async () => {
      for (const socket of open) await new Promise((resolve) => socket.once('close', resolve));
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      await once(server.close(), 'close');
    },
  };
}

/** What comes up to the first empty line; what follows is left to be read. */
async function headOf(socket: Duplex): Promise<string> {
  let text = '';
  for (;;) {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) {
      await once(socket, 'readable');
      continue;
    }
    text += chunk.toString('latin1');
    const end = text.indexOf('\r\n\r\n');
    if (end < 0) continue;
    if (text.length > end + 4) socket.unshift(Buffer.from(text.slice(end + 4), 'latin1'));
    return text.slice(0, end);
  }
}
