// Anybody on the host may connect to the streaming server; whoever has a URL gets in all the same, and at once.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, TestPod, until } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';
import { finish, openCommand } from '../streaming/spdy-client.ts';

await ownHost();

const many = 8192;
/** What a strange connection sends, and how it goes on. */
const strangers: Record<string, (socket: Socket) => void> = {
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
};

/** Strangers, each of which comes back, if `again`, as soon as it is thrown out. */
class Crowd {
  readonly #sockets = new Set<Socket>();
  readonly #port: number;
  readonly #speak: (socket: Socket) => void;
  #again: boolean;
  /** Connections that came in, or were thrown out at once. */
  seen = 0;

  constructor(port: number, speak: (socket: Socket) => void, again: boolean) {
    this.#port = port;
    this.#speak = speak;
    this.#again = again;
    for (let i = 0; i < many; i++) this.#come();
  }

  #come(): void {
    const socket = connect(this.#port, '127.0.0.1', () => this.#speak(socket));
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.once('connect', () => this.seen++);
    socket.once('close', () => {
      this.seen++;
      this.#sockets.delete(socket);
      if (this.#again) this.#come();
    });
  }

  end(): void {
    this.#again = false;
    for (const socket of this.#sockets) socket.destroy();
  }
}

const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

suite('strangers at the streaming port', { network: false }, (bench) => {
  for (const [name, speak] of Object.entries(strangers)) {
    for (const again of [false, true]) {
      test(`${many} connections ${name}${again ? ', which come back,' : ''} keep nobody out`, {
        timeout: 60_000,
      }, async () => {
        const pod = await TestPod.run(bench.daemon, 'streams', hostNetwork);
        const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000');
        const exec = async () => {
          const { url } = await bench.daemon.runtime.exec({ containerId, cmd: ['/bin/echo', 'fine'], stdout: true });
          return url;
        };
        const { port } = new URL(await exec());
        const before = descriptors(bench.daemon.pid);
        const open = await openCommand(
          (await bench.daemon.runtime.exec({ containerId, cmd: ['/bin/cat'], stdin: true, stdout: true })).url,
          ['stdin', 'stdout'],
        );
        const crowd = new Crowd(Number(port), speak, again);
        try {
          await until('they have come', async () => crowd.seen >= many);
          for (let round = 0; round < 5; round++) {
            const from = performance.now();
            const { stdout } = await finish(await openCommand(await exec(), ['stdout']));
            assert.equal(`${stdout}`, 'fine\n');
            assert.ok(performance.now() - from < 10_000, `${performance.now() - from} ms`);
          }
          assert.ok(descriptors(bench.daemon.pid) < before + 8300, `${descriptors(bench.daemon.pid)} descriptors`);
          await open.stdin.write('still there');
          open.stdin.end();
          const { stdout } = await finish(open);
          assert.equal(`${stdout}`, 'still there', 'who was in stays in');
        } finally {
          crowd.end();
        }
        await until('they are gone', async () => descriptors(bench.daemon.pid) <= before + 10);
        await pod.remove();
      });
    }
  }
});
