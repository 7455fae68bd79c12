// The shim under hostile frames: golden and valid requests, mutated, cut, joined and interleaved on connections that come
// and go. Each seed is the life of one shim. It must live until it is told to end, answer, and be as it was at first when
// all that it started has been forgotten. BERTH_FUZZ_SECONDS says for how long, BERTH_FUZZ_SEED runs a finding again.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { isFault } from '../../src/base/fault.ts';
import { shimOver } from '../../src/shim/client.ts';
import { encode } from '../../src/shim/codec.ts';
import { Connection } from '../../src/shim/connection.ts';
import type { Shim } from '../../src/shim/index.ts';
import { compiled } from '../harness/compile.ts';
import { readProc, statusOf } from '../node/shim-support.ts';
import { fuzz, type Random } from './fuzz-support.ts';
import { Frames, saysEnd } from './shim-frames.ts';

const inside = 'BERTH_FUZZ_INSIDE';
const native = join(import.meta.dirname, '../../native');
const builds = { sanitized: join(native, 'build/berth-shim-asan'), shipped: join(native, 'build/berth-shim') };
/** The sanitizers' own memory is in it: for each access byte of theirs, what is freed and kept back, reports. */
const memoryBounds = { sanitized: { peak: 1_500_000, after: 400_000 }, shipped: { peak: 500_000, after: 12_000 } };
const framesOfRound = 250;
const mostConnections = 6;
const quietMs = 20_000;
const root = '/run/shim-fuzz';
let [frames, ended] = [0, 0];

/** A connection that keeps what it sent. */
class Raw {
  readonly socket: Socket;
  readonly #sent: Buffer[] = [];

  constructor(path: string) {
    this.socket = connect(path);
    this.socket.on('error', () => {}); // what the shim does not understand it closes
    this.socket.resume();
  }

  send(frame: Buffer): void {
    if (this.socket.destroyed || this.socket.writableEnded) return;
    this.#sent.push(frame);
    this.socket.write(frame);
  }

  saidEnd(): boolean {
    return saysEnd(Buffer.concat(this.#sent));
  }
}

class Round {
  readonly build: keyof typeof builds;
  readonly dir: string;
  readonly #random: Random;
  readonly #frames: Frames;
  readonly #connections: (Raw | undefined)[] = [];
  readonly #shim: ChildProcess;
  readonly #rights: string;
  /** Everything of before: the test, its shell. */
  readonly #others = new Set(pids());

  constructor(random: Random, rights: string) {
    this.#random = random;
    this.#rights = rights;
    this.build = random(3) ? 'sanitized' : 'shipped';
    this.dir = join(root, 'pod');
    rmSync(root, { recursive: true, force: true });
    mkdirSync(this.dir, { recursive: true });
    execFileSync('/usr/bin/mkfifo', [join(this.dir, 'fifo')]);
    this.#frames = new Frames({ dir: this.dir, rights, random, mayEnd: random(6) === 0 });
    const log = openSync(join(root, 'shim.log'), 'a');
    this.#shim = spawn(builds[this.build], [this.dir], {
      stdio: ['ignore', log, log],
      env: { ASAN_OPTIONS: 'quarantine_size_mb=16', UBSAN_OPTIONS: 'print_stacktrace=1' },
    });
    closeSync(log);
  }

  get #socket(): string {
    return join(this.dir, 'shim.sock');
  }

  get #pid(): number {
    return this.#shim.pid!;
  }

  get #gone(): boolean {
    return this.#shim.exitCode !== null || this.#shim.signalCode !== null;
  }

  #said = (): string => readFileSync(join(root, 'shim.log'), 'latin1');

  async run(): Promise<void> {
    const control = await this.#connected();
    const descriptors = this.#descriptors().length;
    for (let i = 0; i < framesOfRound && !this.#gone; i++) {
      await this.#act(control);
      this.#assertSane();
    }
    for (const connection of this.#connections) connection?.socket.destroy();
    if (!this.#gone) await this.#quieten(control, descriptors);
    if (!this.#gone) this.#assertMemory();
    control.close();
    await this.#end();
    this.#killStrays();
  }

  /** Not by connectShim: it would reap the shim, whose exit status is to be seen here. */
  async #connected(): Promise<Shim> {
    const none = () => Promise.reject(new Error('not used here'));
    for (const until = performance.now() + quietMs; ; await sleep(2)) {
      const connection = new Connection(connect(this.#socket), { onMessage() {}, onEnd() {} });
      const shim = shimOver(
        connection,
        { shimPid: this.#pid, findsLogs: true },
        {
          shutdown: none,
          openExec: none,
          attach: none,
          close: () => connection.close(),
        },
      );
      const listed = await shim.list().catch(() => null);
      if (listed) return shim;
      assert.ok(!this.#gone && performance.now() < until, `It did not come up: ${this.#said()}`);
    }
  }

  async #act(control: Shim): Promise<void> {
    const random = this.#random;
    const connection = this.#one();
    const frame = () => this.#frames.next();
    const rare: readonly (() => unknown)[] = [
      () => connection.socket.destroy(),
      () => connection.socket.end(),
      () => connection.socket.pause(),
      () => connection.socket.resume(),
      () => this.#sendDescriptors(),
      () => control.list().catch((error: Error) => this.#assertEnding(error)),
      () => sleep(random(30)), // what was started goes on meanwhile
      () => this.#inPieces(connection, frame()),
      () => connection.send(Buffer.concat(Array.from({ length: random(50) }, frame))), // most of it in one read
    ];
    const act = rare[random(40)];
    if (act) return void (await act());
    connection.send(frame());
    if (random(4) === 0) await turn();
  }

  /** One of a few connections; one that is gone is replaced, but stays if it gave the order to end. */
  #one(): Raw {
    const at = this.#random(mostConnections);
    const found = this.#connections[at];
    if (found && (!found.socket.destroyed || found.saidEnd())) return found;
    const made = new Raw(this.#socket);
    this.#connections[at] = made;
    return made;
  }

  #inPieces(connection: Raw, frame: Buffer): void {
    for (let at = 0, size = 1; at < frame.length; at += size, size += this.#random(3))
      connection.send(frame.subarray(at, at + size));
  }

  /** Which the shim takes from nobody. */
  #sendDescriptors(): void {
    const input = Buffer.concat(Array.from({ length: this.#random(4) }, () => this.#frames.next()));
    if (!saysEnd(input)) spawnSync(this.#rights, [this.#socket, `${1 + this.#random(20)}`], { input });
  }

  /** Whatever was sent, there is one way for it to end. */
  #assertEnding(cause?: Error): void {
    const why = `${cause} ${this.#shim.exitCode} ${this.#shim.signalCode} ${this.#said()}`;
    const asked = this.#connections.some((connection) => connection?.saidEnd());
    assert.ok(asked, `The shim ended, or closed the connection of another: ${why}`);
  }

  #assertSane(): void {
    if (this.#gone) this.#assertEnding();
    assert.doesNotMatch(this.#said(), /Sanitizer|runtime error/);
  }

  #descriptors(): string[] {
    const folder = `/proc/${this.#pid}/fd`;
    const target = (fd: string) => {
      try {
        return readlinkSync(join(folder, fd));
      } catch {
        return 'closed just now';
      }
    };
    return readdirSync(folder).map((fd) => `${fd} ${target(fd)}`);
  }

  /** Kills and forgets all that it has, until it is as it was when it started, but for the sandbox's namespaces. */
  async #quieten(control: Shim, descriptors: number): Promise<void> {
    const until = performance.now() + quietMs;
    for (let left = ''; !this.#gone; ) {
      assert.ok(performance.now() < until, `It has still ${left}: ${this.#said().slice(-2000)}`);
      try {
        const { pausePid, processes } = await control.list();
        this.#killStrays();
        for (const { key, exit } of processes) if (exit) await control.forget(key);
        const children = pids().filter((pid) => statusOf(pid, 'PPid') === `${this.#pid}`);
        const all = this.#descriptors();
        const now = all.filter((line) => !/ (uts|ipc|pid|user):\[/.test(line));
        assert.ok(all.length - now.length <= 4, 'it holds namespaces of more than one sandbox');
        if (processes.length === 0 && !pausePid && children.length === 0 && now.length === descriptors) return;
        const what = children.map((pid) => `${statusOf(pid, 'Name')} ${statusOf(pid, 'State')}`);
        left = `${processes.map(({ key, pid }) => `${key}=${pid}`)}; pause ${pausePid}; ${what}; not ${descriptors} descriptors, but ${now}`;
      } catch (error) {
        // A connection that was cut may have sent more, which the shim reads only now.
        if (isFault(error, 'FailedPrecondition') || isFault(error, 'NotFound')) continue;
        this.#assertEnding(error as Error);
        return;
      }
      await sleep(10);
    }
  }

  #killStrays(): void {
    for (const pid of pids()) {
      if (this.#others.has(pid) || pid === this.#pid) continue;
      if (/^berth-shim/.test(statusOf(pid, 'Name'))) continue; // on its way to exec, or the tracer of LeakSanitizer
      try {
        process.kill(pid, 'SIGKILL');
      } catch {} // it has ended
    }
  }

  #assertMemory(): void {
    const kilobytes = (field: string) => Number.parseInt(statusOf(this.#pid, field), 10) || 0;
    const { peak, after } = memoryBounds[this.build];
    assert.ok(kilobytes('VmHWM') < peak, `${kilobytes('VmHWM')} kB at most`);
    assert.ok(kilobytes('RssAnon') < after, `${kilobytes('RssAnon')} kB in the end`);
  }

  async #end(): Promise<void> {
    const exit = once(this.#shim, 'exit');
    if (!this.#gone) {
      const last = new Raw(this.#socket);
      last.send(encode('shutdown', 1, { force: true }));
      await Promise.race([exit, sleep(quietMs, null, { ref: false })]);
      last.socket.destroy();
    }
    ended++;
    frames += this.#frames.made;
    assert.equal(this.#shim.exitCode, 0, `${this.#shim.signalCode} ${this.#said()}`);
    const mounts = readFileSync('/proc/self/mountinfo', 'latin1')
      .split('\n')
      .filter((line) => line.includes(`${root}/`));
    assert.deepEqual(mounts, [], this.#said());
    assert.equal(existsSync(this.#socket), false);
    assert.doesNotMatch(this.#said(), /Sanitizer|runtime error|cannot wait for/);
  }
}

const pids = (): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => readProc(pid, 'stat') !== '');

if (process.env[inside])
  test('a shim lives through all that it may be sent', async (t) => {
    const rights = process.env[inside]!;
    await fuzz((random) =>
      new Round(random, rights).run().catch((error: unknown) => {
        throw new Error('a call failed, which no answer to garbage does', { cause: error }); // also a Fault
      }),
    );
    t.diagnostic(`${ended} shims were sent ${frames} frames`);
  });
else
  test('in namespaces of its own', async () => {
    execFileSync('/usr/bin/make', ['-s', '-C', native, 'all', 'asan'], { stdio: 'inherit' });
    const rights = await compiled(join(import.meta.dirname, 'rights.c'));
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const run = [process.execPath, '--test', '--test-force-exit', '--test-reporter=spec', import.meta.filename];
    const namespaces = ['--mount', '--net', '--pid', '--ipc', '--fork', '--kill-child', '--propagation', 'private'];
    const script = join(import.meta.dirname, 'shim-fuzz.sh');
    const { status, stdout } = spawnSync('/usr/bin/unshare', [...namespaces, '/bin/sh', script, ...run], {
      env: { BERTH_FUZZ_SECONDS: '10', ...env, TMPDIR: '/run', [inside]: rights },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    assert.equal(status, 0, stdout);
    console.log(stdout);
  });
