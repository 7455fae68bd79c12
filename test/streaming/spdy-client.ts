// A client of streaming URLs whose every byte a test decides: raw sockets, half-read connections, wrong frames.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { control, dataHead, FrameParser, frameTypes } from '../../src/streaming/spdy-frames.ts';
import { HeaderWriter } from '../../src/streaming/spdy-headers.ts';

/** Sends an upgrade request; resolves with the socket and the answer's head. */
export async function upgrade(
  url: string,
  headers: Record<string, string>,
  method = 'POST',
): Promise<{ socket: Socket; status: number; head: string }> {
  const { hostname, port, pathname } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: false });
  socket.on('error', () => {});
  const closed = once(socket, 'close').then(() => Promise.reject(new Error('closed before an answer')));
  closed.catch(() => {}); // it closes in the end
  const lines = [`${method} ${pathname} HTTP/1.1`, `Host: ${hostname}:${port}`, 'Connection: Upgrade'];
  socket.write([...lines, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`), '', ''].join('\r\n'));
  let head = '';
  while (!head.includes('\r\n\r\n')) {
    const [chunk] = (await Promise.race([once(socket, 'data'), closed])) as [Buffer];
    const end = (head + chunk.toString('latin1')).indexOf('\r\n\r\n') + 4;
    const rest = end < 4 ? 0 : chunk.length - (end - head.length);
    head += chunk.toString('latin1', 0, chunk.length - rest);
    if (rest > 0) socket.unshift(chunk.subarray(chunk.length - rest));
  }
  socket.pause();
  return { socket, status: Number(head.slice(9, 12)), head };
}

export type ClientStream = {
  readonly id: number;
  /** What the server sends in it. */
  readonly incoming: Readable;
  /** Resolves when the kernel took it. */
  write(data: Buffer | string): Promise<void>;
  /** Half-close. */
  end(): void;
  reset(): void;
};

/** One SPDY/3.1 connection. */
export class SpdyClient {
  readonly socket: Socket;
  readonly #parser = new FrameParser();
  readonly #headers = new HeaderWriter();
  readonly #streams = new Map<number, Readable>();
  #next = 1;
  /** Answers to pings, and resets by stream. */
  readonly pings: number[] = [];
  readonly resets: number[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.once('close', () => {
      for (const stream of this.#streams.values()) if (!stream.readableEnded) stream.push(null);
    });
    socket.resume();
  }

  static async connect(url: string, protocol = 'v4.channel.k8s.io'): Promise<SpdyClient> {
    const { socket, status, head } = await upgrade(url, {
      Upgrade: 'SPDY/3.1',
      'X-Stream-Protocol-Version': protocol,
    });
    assert.equal(status, 101, head);
    return new SpdyClient(socket);
  }

  open(headers: Record<string, string>): ClientStream {
    const id = this.#next;
    this.#next += 2;
    const incoming = new Readable({ read: () => {}, highWaterMark: 1 << 30 });
    this.#streams.set(id, incoming);
    const block = this.#headers.write(new Map(Object.entries(headers)));
    this.socket.write(control(frameTypes.synStream, id, 0, Buffer.from([0, 0]), block));
    return {
      id,
      incoming,
      write: (data) => {
        const bytes = Buffer.from(data);
        return new Promise((resolve) => {
          this.socket.write(dataHead(id, bytes.length, false));
          this.socket.write(bytes, () => resolve());
        });
      },
      end: () => void this.socket.write(dataHead(id, 0, true)),
      reset: () => void this.socket.write(control(frameTypes.reset, id, 5)),
    };
  }

  ping(id: number): void {
    this.socket.write(control(frameTypes.ping, id));
  }

  close(): void {
    this.socket.destroy();
  }

  #take(chunk: Buffer): void {
    for (const frame of this.#parser.push(chunk)) {
      if (frame.type === 'ping') this.pings.push(frame.id);
      if (frame.type === 'reset') this.resets.push(frame.stream);
      if (frame.type !== 'data') continue;
      const stream = this.#streams.get(frame.stream);
      if (frame.chunk.length > 0) stream?.push(frame.chunk);
      if (frame.fin) stream?.push(null);
    }
  }
}

export type CommandClient = { client: SpdyClient } & Record<
  'error' | 'stdin' | 'stdout' | 'stderr' | 'resize',
  ClientStream
>;

/** Connects to an exec or attach URL and opens these streams beside the one for errors. */
export async function openCommand(url: string, names: readonly string[]): Promise<CommandClient> {
  const client = await SpdyClient.connect(url);
  const all = ['error', ...names].map((streamType) => [streamType, client.open({ streamType })]);
  return { client, ...Object.fromEntries(all) };
}

export type Finished = { stdout: Buffer; stderr: Buffer; status: { status: string; message?: string; code: number } };

/** Everything that comes, to the end; closes the connection. `code` is -1 where the status has none. */
export async function finish({ client, stdout, stderr, error }: CommandClient): Promise<Finished> {
  const read = (stream?: ClientStream) => (stream ? buffer(stream.incoming) : Buffer.alloc(0));
  const [out, err, text] = await Promise.all([read(stdout), read(stderr), read(error)]);
  client.close();
  return { stdout: out, stderr: err, status: parseStatus(text.toString()) };
}

/** What a v4 error stream said. */
export function parseStatus(text: string): Finished['status'] {
  const { status, message, details } = JSON.parse(text);
  const cause = details?.causes?.find(({ reason }: { reason: string }) => reason === 'ExitCode');
  return { status, message, code: status === 'Success' ? 0 : cause ? Number(cause.message) : -1 };
}
