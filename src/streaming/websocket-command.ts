import { Readable, Writable } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import type { CommandRequest } from './requests.ts';
import { Sizes } from './resize.ts';
import { outcomeOf, statusJson } from './status.ts';

/** Of remotecommand over WebSocket, the best first: v5 can end standard input, v4 only by leaving. */
export const commandSubprotocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const;

/** The first byte of every message. */
const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;
/** What may wait of standard input before the connection is read no further. */
const maxUnread = 256 * 1024;
/** Within this time the client answers our close. */
const closeMs = 60_000;
/** A client that leaves while we do not read is only noticed by writing to it. */
const pingMs = 10_000;

/** Runs what the request stands for over the channels of a WebSocket; returns when the connection is over. */
export async function serveWebSocketCommand(
  socket: WebSocket,
  request: CommandRequest,
  protocol: string,
): Promise<void> {
  const left = new AbortController();
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  closed.then(() => left.abort(new Error('The client left')));
  socket.on('error', () => {}); // 'close' follows
  const stdin = new Readable({ read: () => socket.resume(), highWaterMark: maxUnread });
  stdin.on('error', () => {});
  const pings = setInterval(() => socket.isPaused && socket.ping(), pingMs);
  closed.then(() => {
    clearInterval(pings);
    stdin.destroy();
  });
  const sizes = new Sizes();
  const canEnd = protocol === 'v5.channel.k8s.io';
  socket.on('message', (data: RawData) => receive(socket, data as Buffer, stdin, sizes, canEnd));
  const stdout = request.stdout ? output(socket, channels.stdout) : null;
  const stderr = request.stderr ? output(socket, channels.stderr) : null;
  // An empty message tells the client that its streams are there.
  await send(socket, request.stdout ? channels.stdout : channels.error, Buffer.alloc(0));
  const io = {
    stdin: request.stdin ? stdin : null,
    stdout,
    stderr,
    onResize: (listener: Parameters<Sizes['listen']>[0]) => sizes.listen(listener),
    left: left.signal,
  };
  if (!request.stdin) stdin.resume();
  const outcome = await outcomeOf(request.run(io));
  await send(socket, channels.error, Buffer.from(statusJson(outcome)));
  stdin.destroy();
  socket.resume(); // what is still unread would keep the answer to our close from being seen
  socket.close(1000);
  const late = setTimeout(() => socket.terminate(), closeMs);
  await closed;
  clearTimeout(late);
}

function receive(socket: WebSocket, data: Buffer, stdin: Readable, sizes: Sizes, canEnd: boolean): void {
  const body = data.subarray(1);
  if (stdin.destroyed) return;
  if (data[0] === channels.resize) sizes.push(body);
  else if (data[0] === channels.close && canEnd && body[0] === channels.stdin) stdin.push(null);
  else if (data[0] === channels.stdin && body.length > 0 && !stdin.push(body)) socket.pause();
}

function output(socket: WebSocket, channel: number): Writable {
  const stream = new Writable({
    write: (chunk: Buffer, _, done) => {
      send(socket, channel, chunk).then(() => done());
    },
  });
  stream.on('error', () => {});
  return stream;
}

/** Resolves when the bytes are handed on, or when the connection is gone: its end is told by 'close'. */
async function send(socket: WebSocket, channel: number, chunk: Buffer): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.send(Buffer.concat([Buffer.from([channel]), chunk]), { binary: true }, () => resolve());
  await promise;
}
