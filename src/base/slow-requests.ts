import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * For a server of node:http whose connections `endSlow` looks after. Node looks for slow requests by an interval, also while nobody
 * is connected, which would wake an idle daemon for ever: so that comes in 24 days.
 */
export const withoutInterval = {
  headersTimeout: 0,
  requestTimeout: 0,
  connectionsCheckingInterval: 2 ** 31 - 1,
} as const;

/**
 * Ends each connection on which a request has not come and been answered `ms` milliseconds after its begin, or after the answer
 * before, however it trickles. What is returned lets one stay: it is something else from then on.
 */
export function endSlow(server: Server, ms: number): (socket: Socket) => void {
  const timers = new WeakMap<Socket, NodeJS.Timeout>();
  server.on('connection', (socket: Socket) => {
    const timer = setTimeout(() => socket.destroy(), ms);
    timers.set(socket, timer);
    socket.once('close', () => clearTimeout(timer));
  });
  server.on('request', ({ socket }, response) => {
    response.once('finish', () => timers.get(socket)?.refresh());
  });
  return (socket) => clearTimeout(timers.get(socket));
}
