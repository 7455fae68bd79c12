import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { messageOf } from '../base/fault.ts';
import type { ForwardRequest } from './requests.ts';
import { SpdySession, type SpdyStream } from './spdy-session.ts';

export const forwardProtocols = ['portforward.k8s.io'] as const;

/** How long one stream of a pair waits for the other. */
const pairMs = 30_000;

type Half = { readonly port: number; data?: Duplex; error?: Duplex; readonly late: NodeJS.Timeout };

/**
 * Forwards connections: the client opens a stream pair for each, one for its bytes and one for what goes wrong, with the
 * same `requestID`. Resolves when the connection is over.
 */
export async function serveSpdyForward(transport: Duplex, request: ForwardRequest): Promise<void> {
  const halves = new Map<string, Half>();
  const session = new SpdySession(transport, (stream) => pair(halves, stream, request));
  await session.closed;
  for (const { late } of halves.values()) clearTimeout(late);
}

/** Old clients name no request: they open the stream for its bytes right after the one for what goes wrong. */
const requestOf = ({ id, headers }: SpdyStream): string =>
  headers.get('requestid') || `stream ${headers.get('streamtype') === 'data' ? id - 2 : id}`;

function pair(halves: Map<string, Half>, stream: SpdyStream, request: ForwardRequest): void {
  const { headers, duplex } = stream;
  const type = headers.get('streamtype');
  const port = Number(headers.get('port'));
  const id = requestOf(stream);
  const allowed = request.ports.length === 0 || request.ports.includes(port);
  if ((type !== 'data' && type !== 'error') || !isPort(port) || !allowed) return void duplex.destroy();
  const half = halves.get(id) ?? { port, late: setTimeout(() => drop(halves, id), pairMs) };
  halves.set(id, half);
  if (half[type] || half.port !== port) return void duplex.destroy();
  half[type] = duplex;
  if (!half.data || !half.error) return;
  clearTimeout(half.late);
  halves.delete(id);
  void forward(port, half.data, half.error, request);
}

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65_535;

function drop(halves: Map<string, Half>, id: string): void {
  const half = halves.get(id);
  halves.delete(id);
  half?.data?.destroy();
  half?.error?.destroy();
}

async function forward(port: number, data: Duplex, error: Duplex, request: ForwardRequest): Promise<void> {
  error.resume();
  try {
    await join(data, await request.connect(port));
    error.end();
  } catch (reason) {
    error.end(`Cannot forward port ${port}: ${messageOf(reason)}`);
    data.resume(); // nobody is left to take it
    data.end();
  }
}

/** Copies both ways, each half closed by itself; resolves when both are. An error ends both. */
async function join(data: Duplex, socket: Duplex): Promise<void> {
  const leave = () => void socket.destroy();
  if (data.destroyed) return leave(); // while it was being connected
  data.once('close', leave);
  data.pipe(socket);
  socket.pipe(data);
  try {
    await finished(socket);
    await finished(data, { readable: false });
  } catch (error) {
    if (data.destroyed) return; // the client left first: there is nobody to tell
    throw error;
  } finally {
    data.removeListener('close', leave);
    socket.destroy();
  }
}
