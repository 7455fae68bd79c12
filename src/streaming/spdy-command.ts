import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { CommandRequest } from './requests.ts';
import { Sizes } from './resize.ts';
import { SpdySession, type SpdyStream } from './spdy-session.ts';
import { type Outcome, outcomeOf, statusJson, statusText } from './status.ts';

/** Of remotecommand over SPDY, the best first. */
export const commandProtocols = [
  'v4.channel.k8s.io',
  'v3.channel.k8s.io',
  'v2.channel.k8s.io',
  'channel.k8s.io',
] as const;

/** Within this time the client opens all its streams; and, when all is sent, closes the connection. */
const openMs = 30_000;
const closeMs = 60_000;

/** Runs what the request stands for with the streams that the client opens; returns when the connection is over. */
export async function serveSpdyCommand(transport: Duplex, request: CommandRequest, protocol: string): Promise<void> {
  const wanted = wantedStreams(request, protocol);
  const streams = new Map<string, Duplex>();
  const complete = Promise.withResolvers<void>();
  const session = new SpdySession(transport, ({ headers, duplex }: SpdyStream) => {
    const type = headers.get('streamtype') ?? '';
    if (!wanted.has(type) || streams.has(type)) return void duplex.destroy();
    streams.set(type, duplex);
    if (streams.size === wanted.size) complete.resolve();
  });
  const left = new AbortController();
  session.closed.then(() => left.abort(new Error('The client left')));
  const late = setTimeout(() => session.destroy(), openMs);
  await Promise.race([complete.promise, session.closed]);
  clearTimeout(late);
  if (left.signal.aborted) return;
  await run(request, protocol, streams, left.signal);
  const linger = setTimeout(() => session.destroy(), closeMs); // what was sent is still on its way: the client closes
  await session.closed;
  clearTimeout(linger);
}

function wantedStreams({ stdin, stdout, stderr, tty }: CommandRequest, protocol: string): Set<string> {
  const resizes = tty && (protocol === 'v4.channel.k8s.io' || protocol === 'v3.channel.k8s.io');
  const all = { error: true, stdin, stdout, stderr, resize: resizes };
  return new Set(Object.entries(all).flatMap(([name, there]) => (there ? [name] : [])));
}

async function run(
  request: CommandRequest,
  protocol: string,
  streams: ReadonlyMap<string, Duplex>,
  left: AbortSignal,
): Promise<void> {
  const sizes = new Sizes();
  const get = (name: string) => streams.get(name) ?? null;
  get('resize')?.on('data', (chunk: Buffer) => sizes.push(chunk));
  for (const name of ['error', 'stdout', 'stderr']) get(name)?.resume(); // the client's half, which says nothing
  const io = {
    stdin: get('stdin'),
    stdout: get('stdout'),
    stderr: get('stderr'),
    onResize: (listener: Parameters<Sizes['listen']>[0]) => sizes.listen(listener),
    left,
  };
  const outcome = await outcomeOf(request.run(io));
  get('stdin')?.unpipe().resume(); // what nobody took would keep the end of the connection from being seen
  await Promise.all([get('stdout'), get('stderr')].map((stream) => stream && ended(stream, '')));
  await ended(get('error')!, textFor(protocol, outcome));
}

const textFor = (protocol: string, outcome: Outcome): string =>
  protocol === 'v4.channel.k8s.io' ? statusJson(outcome) : statusText(outcome);

/** Ends our half with this text; resolves when it is sent, or cannot be. */
async function ended(stream: Duplex, text: string): Promise<void> {
  if (text !== '') stream.write(text);
  stream.end();
  await finished(stream, { readable: false }).catch(() => {});
}
