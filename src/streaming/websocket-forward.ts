import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { WebSocket } from 'ws';
import { messageOf } from '../base/fault.ts';
import type { ForwardRequest } from './requests.ts';
import { Channels, type Framing, maxChannels } from './websocket-channels.ts';

/** Of port-forward over WebSocket without SPDY in it, the best first; '' is a client that offers none. */
const protocols: Readonly<Record<string, Framing>> = {
  'v4.channel.k8s.io': { base64: false },
  'v4.base64.channel.k8s.io': { base64: true },
  '': { base64: false },
};
export const forwardSubprotocols: readonly string[] = Object.keys(protocols);

/** After the pod's end of a connection, for what is still on its way to it: the client cannot say that it is done. */
const graceMs = 1000;

/** Why these ports cannot be forwarded by this protocol, or null: each takes two channels, and all are named before. */
export function portsProblem({ ports }: ForwardRequest, name: string): string | null {
  const most = maxChannels(protocols[name]!) / 2;
  if (ports.length === 0) return 'PortForward named no port: a WebSocket without SPDY in it needs them named';
  return ports.length > most ? `${ports.length} ports are more than the ${most} that fit this subprotocol` : null;
}

/**
 * Makes one connection to each port, in the order of the request: its bytes are in the one channel, and what goes wrong
 * in the next. Each begins with the port, two bytes, little endian. Resolves when the client left or all are over.
 */
export async function serveWebSocketForward(socket: WebSocket, request: ForwardRequest, name: string): Promise<void> {
  const channels = new Channels(socket, protocols[name]!);
  const pairs = request.ports.map((port, index) => ({ port, at: 2 * index, input: channels.readable(2 * index) }));
  for (const { port, at } of pairs) {
    const number = Buffer.of(port & 0xff, port >> 8);
    await channels.send(at, number);
    await channels.send(at + 1, number);
  }
  await Promise.all(
    pairs.map(async ({ port, at, input }) => {
      try {
        await join(channels, at, input, await request.connect(port));
      } catch (reason) {
        await channels.send(at + 1, Buffer.from(`Cannot forward port ${port}: ${messageOf(reason)}`));
      } finally {
        input.destroy();
      }
    }),
  );
  await channels.end();
}

/** Copies both ways until the pod's side has ended. @throws its error */
async function join(
  channels: Channels,
  at: number,
  input: Readable,
  socket: Awaited<ReturnType<ForwardRequest['connect']>>,
): Promise<void> {
  const over = once(socket, 'close').catch(() => {}); // with an error the loop below ends too
  socket.on('error', () => {});
  channels.closed.then(() => socket.destroy());
  input.pipe(socket);
  try {
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) await channels.send(at, chunk);
    await Promise.race([over, delay(graceMs)]);
  } finally {
    socket.destroy();
  }
}
