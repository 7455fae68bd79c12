// A thread that hears nothing, by a worker that is none; and the few threads that there are, by themselves.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { gzipSync } from 'node:zlib';
import { pieceBytes } from '../../../src/base/pieces.ts';
import type { JoinJob } from '../../../src/image/layer-join.ts';
import { LayerPool, WorkerRun } from '../../../src/image/layer-pool.ts';
import type { FromWorker, ToWorker } from '../../../src/image/layer-protocol.ts';
import type { UnpackJob } from '../../../src/image/layer-stream.ts';
import type { Digest } from '../../../src/model/ids.ts';
import { sha256 } from '../../registry/images.ts';
import { file, tar } from '../../registry/tar.ts';

/** Hears what it is told, and says what a test has it say. */
class Mute extends EventEmitter {
  readonly heard: ToWorker[] = [];
  postMessage(message: ToWorker): void {
    this.heard.push(message);
  }
  say(message: FromWorker): void {
    this.emit('message', message);
  }
}

/** Takes every chunk, and never ends. */
class Deaf extends Mute {
  override postMessage(message: ToWorker): void {
    super.postMessage(message);
    if (message.kind !== 'chunk') return;
    const taken: FromWorker = { kind: 'taken', bytes: message.data.length, memory: null };
    queueMicrotask(() => this.say(taken));
  }
}

const progressMs = 50;
const run = (worker: Mute = new Deaf(), ms = progressMs) => new WorkerRun(worker as unknown as Worker, ms);
const job = {} as UnpackJob;
const forever = new AbortController().signal;
const stuck = { kind: 'DeadlineExceeded', message: /made no progress for 0.05 s/ };
const notes = { implied: [], whiteouts: [], former: [], plain: true, hidesAll: false, bytes: 1, entries: 1 };

test('a worker that does not hear that its source failed is given up', { timeout: 5000 }, async () => {
  async function* source() {
    yield Buffer.alloc(1024 * 1024);
    throw new Error('the registry is gone');
  }
  await assert.rejects(run().unpack(job, source, forever), stuck);
});

test('so is one that does not hear that nobody wants its work any more', { timeout: 5000 }, async () => {
  const caller = new AbortController();
  async function* source(signal: AbortSignal) {
    yield Buffer.alloc(1024 * 1024);
    caller.abort(new Error('the caller left'));
    signal.throwIfAborted();
  }
  await assert.rejects(run().unpack(job, source, caller.signal), stuck);
});

test('so is one that has all of its input', { timeout: 5000 }, async () => {
  async function* source() {
    yield Buffer.alloc(1024 * 1024);
  }
  await assert.rejects(run().unpack(job, source, forever), stuck);
});

describe('a run', () => {
  const patience = 60_000;
  const whole = async function* () {
    yield Buffer.from('x');
  };
  const turns = async (count = 20) => {
    for (; count > 0; count--) await new Promise(setImmediate);
  };

  test('has two megabytes on their way to its worker at most', async () => {
    const worker = new Mute();
    let given = 0;
    const unpacked = run(worker, patience).unpack(
      job,
      async function* () {
        for (; given < 20; given++) yield Buffer.alloc(pieceBytes);
      },
      forever,
    );
    const chunks = () => worker.heard.filter(({ kind }) => kind === 'chunk').length;
    await turns();
    assert.equal(chunks(), 8);
    worker.say({ kind: 'taken', bytes: pieceBytes, memory: null });
    await turns();
    assert.equal(chunks(), 9);
    worker.emit('error', new Error('it fell over'));
    await assert.rejects(unpacked, { kind: 'Internal', message: /it fell over/ });
  });

  test('passes what has its memory for itself on as it is, and lets go of what it has copied', async () => {
    const worker = new Mute();
    const piece = Buffer.allocUnsafeSlow(pieceBytes);
    const shorter = Buffer.alloc(pieceBytes - 1);
    const short = Buffer.allocUnsafeSlow(1);
    const part = Buffer.alloc(pieceBytes + 2).subarray(2);
    const unpacked = run(worker, patience).unpack(
      job,
      async function* () {
        yield piece;
        yield shorter;
        yield short;
        yield part;
      },
      forever,
    );
    await turns();
    const sent = worker.heard.flatMap((message) => (message.kind === 'chunk' ? [message.data] : []));
    assert.equal(sent[0], piece);
    assert.equal(sent[1], shorter);
    assert.deepEqual(
      sent.map(({ length }) => length),
      [pieceBytes, pieceBytes - 1, pieceBytes, 1],
    );
    assert.deepEqual([short.length, part.length], [0, pieceBytes], 'a part of something is left alone');
    worker.emit('error', new Error('it fell over'));
    await assert.rejects(unpacked, /it fell over/);
  });

  const losses = [
    {
      name: 'that has no memory left',
      error: Object.assign(new Error('full'), { code: 'ERR_WORKER_OUT_OF_MEMORY' }),
      kind: 'ResourceExhausted',
    },
    { name: 'that falls over', error: new Error('oops'), kind: 'Internal' },
  ];
  for (const { name, error, kind } of losses) {
    test(`of a worker ${name} is ${kind}`, async () => {
      const worker = new Mute();
      const unpacked = run(worker, patience).unpack(job, whole, forever);
      await turns();
      worker.emit('error', error);
      await assert.rejects(unpacked, { kind });
      assert.deepEqual(worker.eventNames(), [], 'nobody listens to it any more');
    });
  }

  test('that nobody wants any more is called off at the worker, which has all of its input', async () => {
    const worker = new Mute();
    const caller = new AbortController();
    const unpacked = run(worker, patience).unpack(job, whole, caller.signal);
    await turns();
    caller.abort(new Error('the caller left'));
    assert.deepEqual(
      worker.heard.map(({ kind }) => kind),
      ['unpack', 'chunk', 'end', 'abort'],
    );
    worker.say({ kind: 'failed', error: { fault: null, message: 'The unpacking was called off', code: null } });
    await assert.rejects(unpacked, /the caller left/);
  });

  test('fails as its worker says, with the kind and the errno of that', async () => {
    for (const [said, expected] of [
      [
        { fault: 'DataLoss', message: 'wrong digest', code: null },
        { kind: 'DataLoss', message: 'wrong digest' },
      ],
      [
        { fault: null, message: 'no space', code: 'ENOSPC' },
        { code: 'ENOSPC', message: 'no space' },
      ],
    ] as const) {
      const worker = new Mute();
      const unpacked = run(worker, patience).unpack(job, whole, forever);
      await turns();
      worker.say({ kind: 'failed', error: said });
      await assert.rejects(unpacked, expected);
    }
  });

  test('that fails first stops its source', async () => {
    const worker = new Mute();
    const stopped = Promise.withResolvers<void>();
    const unpacked = run(worker, patience).unpack(
      job,
      async function* (signal) {
        yield Buffer.alloc(pieceBytes);
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        stopped.resolve();
        signal.throwIfAborted();
      },
      forever,
    );
    await turns();
    worker.say({ kind: 'failed', error: { fault: 'InvalidArgument', message: 'no tar', code: null } });
    await stopped.promise;
    await assert.rejects(unpacked, { kind: 'InvalidArgument' });
  });

  test('whose source fails before the first byte asks nothing of its worker', async () => {
    const worker = new Mute();
    const next = () => Promise.reject(new Error('no such blob'));
    const failing = () => ({ [Symbol.asyncIterator]: () => ({ next }) });
    await assert.rejects(run(worker, patience).unpack(job, failing, forever), /no such blob/);
    assert.deepEqual(worker.heard, []);
  });

  test('of a join that is answered as an unpacking is no answer', async () => {
    const worker = new Mute();
    const unpacked = run(worker, patience).unpack(job, whole, forever);
    await turns();
    worker.say({ kind: 'joined', added: { entries: 0 } });
    await assert.rejects(unpacked, /did not say what it unpacked/);
    const other = run(worker, patience).unpack(job, whole, forever);
    await turns();
    worker.say({ kind: 'done', notes });
    assert.equal(await other, notes);
  });
});

describe('the pool', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-pool-'));
  after(() => rmSync(folder, { recursive: true }));
  const send = Worker.prototype.postMessage;
  afterEach(() => {
    Worker.prototype.postMessage = send;
  });
  const [uid, gid] = [process.getuid!(), process.getgid!()];
  const archive = tar(file('a', 'content', { uid, gid }));
  const limits = { maxBytes: 1000, maxEntries: 10, maxRatio: 200 };
  let serial = 0;
  const unpackJob = (diffId = sha256(archive)): UnpackJob => {
    const path = join(folder, `${serial++}`);
    mkdirSync(path);
    return { path, digest: null, diffId: diffId as Digest, limits };
  };
  const whole = async function* () {
    yield Buffer.from(archive);
  };
  /** A source that waits until it is told to go on. */
  function gated() {
    const { promise, resolve } = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    return {
      begun: begun.promise,
      open: resolve,
      source: async function* () {
        begun.resolve();
        await promise;
        yield Buffer.from(archive);
      },
    };
  }

  /** Calls `act` in place of the first message of a kind; gives every worker that was told something. */
  function instead(kind: string, act: (worker: Worker) => void): Set<Worker> {
    const workers = new Set<Worker>();
    let done = false;
    Worker.prototype.postMessage = function (this: Worker, message: ToWorker, ...rest: []) {
      workers.add(this);
      if (done || message.kind !== kind) return send.call(this, message, ...rest);
      done = true;
      act(this);
    };
    return workers;
  }

  test('has so many threads and no more; who waits is served in turn, who left is not', async () => {
    await using pool = new LayerPool(1, 60_000);
    const workers = instead('never', () => {});
    const order: string[] = [];
    const gate = gated();
    const first = pool
      .unpack(unpackJob(), gate.source, { origin: 'registry' }, forever)
      .then(() => order.push('first'));
    await gate.begun;
    const left = new AbortController();
    const job = unpackJob();
    const waiting = [
      pool.unpack(job, () => assert.fail('it has left'), { origin: 'registry' }, left.signal),
      pool.unpack(unpackJob(), whole, { origin: 'registry' }, forever).then(() => order.push('second')),
      pool.unpack(unpackJob(), whole, { origin: 'registry' }, forever).then(() => order.push('third')),
    ];
    left.abort(new Error('client left'));
    await assert.rejects(waiting[0]!, /client left/);
    assert.deepEqual(order, []);
    gate.open();
    await Promise.all([first, ...waiting.slice(1)]);
    assert.deepEqual([order, workers.size], [['first', 'second', 'third'], 1]);
  });

  test('a layer beyond the threads is asked for, and waits for one', { timeout: 20_000 }, async () => {
    await using pool = new LayerPool(1, 60_000, 2);
    const workers = instead('never', () => {});
    const [busy, asked, done] = [0, 1, 2].map(() => Promise.withResolvers<void>()) as [
      PromiseWithResolvers<void>,
      PromiseWithResolvers<void>,
      PromiseWithResolvers<void>,
    ];
    async function* long() {
      yield Buffer.from(archive);
      busy.resolve();
      await done.promise;
    }
    async function* next() {
      asked.resolve();
      yield Buffer.from(archive);
    }
    const first = pool.unpack(unpackJob(), long, { origin: 'registry' }, forever);
    await busy.promise;
    const second = pool.unpack(unpackJob(), next, { origin: 'registry' }, forever);
    await asked.promise;
    done.resolve();
    await Promise.all([first, second]);
    assert.equal(workers.size, 1);
  });

  test('what is wrong with a layer is known before the next one is asked for', async () => {
    await using pool = new LayerPool(1, 60_000);
    const order: string[] = [];
    const failed = () => void order.push('known');
    const next = async function* () {
      order.push('asked');
      yield Buffer.from(archive);
    };
    const first = pool.unpack(unpackJob(sha256('other')), whole, { origin: 'registry', failed }, forever);
    const second = pool.unpack(unpackJob(), next, { origin: 'registry' }, forever);
    await assert.rejects(first, { kind: 'DataLoss' });
    await second;
    assert.deepEqual(order, ['known', 'asked']);
  });

  test('whoever has left already takes no thread', async () => {
    await using pool = new LayerPool(1, 60_000);
    const caller = AbortSignal.abort(new Error('client left'));
    await assert.rejects(pool.unpack(unpackJob(), whole, { origin: 'registry' }, caller), /client left/);
    await pool.unpack(unpackJob(), whole, { origin: 'registry' }, forever);
  });

  test('a thread whose job failed is fit for the next one', async () => {
    await using pool = new LayerPool(1, 60_000);
    const workers = instead('never', () => {});
    await assert.rejects(pool.unpack(unpackJob(sha256('other')), whole, { origin: 'registry' }, forever), {
      kind: 'DataLoss',
    });
    const job = unpackJob();
    assert.equal((await pool.unpack(job, whole, { origin: 'registry' }, forever)).bytes, 7);
    assert.equal(readFileSync(join(job.path, 'a'), 'utf8'), 'content');
    assert.equal(workers.size, 1);
  });

  for (const [name, kind, act, expected] of [
    ['dies', 'end', (worker: Worker) => void worker.terminate(), 'Internal'],
    ['falls silent', 'end', () => {}, 'DeadlineExceeded'],
  ] as const) {
    test(`one that ${name} is replaced, and who waits for it is served`, { timeout: 20_000 }, async () => {
      // Also a worker that is well may be silent for a second, on a machine where much else runs.
      await using pool = new LayerPool(1, 4000);
      const workers = instead(kind, act);
      const failed = assert.rejects(pool.unpack(unpackJob(), whole, { origin: 'registry' }, forever), {
        kind: expected,
      });
      const waiting = pool.unpack(unpackJob(), whole, { origin: 'registry' }, forever);
      await failed;
      await waiting;
      await pool.unpack(unpackJob(), whole, { origin: 'registry' }, forever);
      assert.equal(workers.size, 2);
    });
  }

  test('a join that nobody wants any more ends its thread, and says why', { timeout: 20_000 }, async () => {
    await using pool = new LayerPool(1, 60_000);
    const told = Promise.withResolvers<void>();
    instead('join', () => told.resolve());
    const caller = new AbortController();
    const joined = pool.join({} as JoinJob, 'registry', caller.signal);
    await told.promise;
    const waiting = pool.unpack(unpackJob(), whole, { origin: 'registry' }, forever);
    caller.abort(new Error('client left'));
    await assert.rejects(joined, /client left/);
    await waiting;
  });

  describe('a small blob that becomes a large file', () => {
    const [size, large] = [96 << 20, tar(file('large', Buffer.alloc(96 << 20), { uid, gid }))];
    const packed = gzipSync(large); // one message
    const largeJob = () => ({ ...unpackJob(sha256(large)), limits: { maxBytes: size, maxEntries: 1, maxRatio: 1e6 } });
    const onMessage = (hear: (message: FromWorker) => void) => {
      const heard = new Set<Worker>();
      Worker.prototype.postMessage = function (this: Worker, ...given: [ToWorker]) {
        if (!heard.has(this)) this.on('message', hear);
        heard.add(this);
        return send.call(this, ...given);
      };
    };
    const source = async function* () {
      yield Buffer.from(packed); // who reads it may do with it what he likes
    };

    test('says that it is alive while it is at work', async () => {
      await using pool = new LayerPool(1, 60_000);
      const said: string[] = [];
      onMessage(({ kind }) => said.push(kind));
      await pool.unpack(largeJob(), source, { origin: 'registry' }, forever);
      assert.ok(said.includes('alive'), `${said}`); // at once, and then once a second
    });

    test('is called off in the middle, when all of it was read', async () => {
      await using pool = new LayerPool(1, 60_000);
      const caller = new AbortController();
      onMessage(({ kind }) => kind === 'alive' && caller.abort(new Error('client left')));
      await assert.rejects(pool.unpack(largeJob(), source, { origin: 'registry' }, caller.signal), /client left/);
    });
  });
});
