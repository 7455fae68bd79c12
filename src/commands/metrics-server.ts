import { createServer, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { parseAddress } from '../base/address.ts';
import { messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { exposition, type Metric } from '../base/metrics.ts';
import { endSlow, withoutInterval } from '../base/slow-requests.ts';

const mostConnections = 32;
/** A request comes, and an answer is taken, within this: who is slower makes room for others. */
const patienceMs = 5000;

/**
 * Serves them at /metrics. Whoever reaches the address reads them: there is nothing of a container's content in them. One that
 * cannot be listened at is told and left out: it is no reason to serve no pod.
 */
export async function serveMetrics(address: string, metrics: readonly Metric[]): Promise<Server | null> {
  const parsed = parseAddress(address);
  if (!parsed) return null;
  const server = createServer(
    {
      maxHeaderSize: 16 * 1024,
      ...withoutInterval,
    },
    answering(metrics),
  );
  server.maxConnections = mostConnections;
  endSlow(server, patienceMs);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ host: parsed.host, port: parsed.port }, resolve);
  try {
    await promise;
  } catch (error) {
    log.error({ address, reason: messageOf(error) }, 'The address for metrics cannot be listened at: metrics.address');
    return null;
  }
  server.on('error', (error) => log.warn({ reason: messageOf(error) }, 'Metrics'));
  log.info({ address: server.address() }, 'Metrics are served');
  return server;
}

/** Requests that come before the answer to one of the same connection would each have theirs made and kept: they end it. */
function answering(metrics: readonly Metric[]): RequestListener {
  const busy = new WeakSet<Socket>();
  return (request, response) => {
    const { socket, method, url } = request;
    if (busy.has(socket)) return void socket.destroy();
    busy.add(socket);
    response.once('finish', () => busy.delete(socket));
    request.resume();
    if (url?.split('?')[0] !== '/metrics') return void response.writeHead(404).end('Berth has /metrics here\n');
    if (method !== 'GET' && method !== 'HEAD')
      return void response.writeHead(405, { allow: 'GET, HEAD' }).end('/metrics is read, by GET\n');
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(exposition(metrics));
  };
}
