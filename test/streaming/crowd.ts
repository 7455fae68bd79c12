// Strangers at the streaming port, in a process of their own: the event loop of a test that has thousands of them is late for
// the one client that is none.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** What a strange connection sends, and how it goes on. */
const kinds = {
  'that send nothing': () => {},
  'with half a header': (socket) => socket.write('GET /exec/x HTTP/1.1\r\nHost: a\r\nX-Half: '),
  'with a header that grows': (socket) => {
    socket.write('GET /exec/x HTTP/1.1\r\n');
    const timer = setInterval(() => socket.write('X-More: x\r\n'), 500).unref();
    socket.once('close', () => clearInterval(timer));
  },
  'with a guessed token': (socket) =>
    socket.write(`GET /exec/${'A'.repeat(22)} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n`),
  'with a body without end': (socket) =>
    socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\nx'),
} satisfies Record<string, (socket: Socket) => void>;
export type Stranger = keyof typeof kinds;
export const strangers = Object.keys(kinds) as Stranger[];

export type CrowdOptions = {
  readonly port: number;
  readonly many: number;
  readonly kind: Stranger;
  /** Each comes back as soon as it is thrown out. */
  readonly again: boolean;
};

/** So many strangers; disposed of, all are gone. */
export class Crowd implements AsyncDisposable {
  readonly #child: ChildProcess;
  /** It ends by itself when all were thrown out and none comes back. */
  readonly #closed: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#closed = once(child, 'close');
  }

  /** Returns when as many have come in, or were thrown out at once. */
  static async gathered(options: CrowdOptions): Promise<Crowd> {
    const program = [import.meta.filename, JSON.stringify(options)];
    const child = spawn(process.execPath, program, { stdio: ['ignore', 'pipe', 'inherit'] });
    const crowd = new Crowd(child);
    await once(createInterface({ input: child.stdout! }), 'line');
    return crowd;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#closed;
  }
}

function gather({ port, many, kind, again }: CrowdOptions): void {
  let seen = 0;
  const see = () => {
    if (++seen === many) process.stdout.write('they have come\n');
  };
  const come = () => {
    const socket = connect(port, '127.0.0.1', () => kinds[kind](socket));
    socket.on('error', () => {});
    socket.once('connect', see);
    socket.once('close', () => {
      see();
      if (again) come();
    });
  };
  for (let i = 0; i < many; i++) come();
}

if (import.meta.main) gather(JSON.parse(process.argv[2]!));
