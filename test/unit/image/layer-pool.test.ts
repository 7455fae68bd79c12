// A thread that hears nothing, by a worker that is none.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import type { Worker } from 'node:worker_threads';
import { WorkerRun } from '../../../src/image/layer-pool.ts';
import type { FromWorker, ToWorker } from '../../../src/image/layer-protocol.ts';
import type { UnpackJob } from '../../../src/image/layer-stream.ts';

/** Takes every chunk, and never ends. */
class Deaf extends EventEmitter {
  postMessage(message: ToWorker): void {
    if (message.kind !== 'chunk') return;
    const taken: FromWorker = { kind: 'taken', bytes: message.data.length, memory: null };
    queueMicrotask(() => this.emit('message', taken));
  }
}

const progressMs = 50;
const run = () => new WorkerRun(new Deaf() as unknown as Worker, progressMs, []);
const job = {} as UnpackJob;
const stuck = { kind: 'DeadlineExceeded', message: /made no progress for 0.05 s/ };

test('a worker that does not hear that its source failed is given up', { timeout: 5000 }, async () => {
  async function* source() {
    yield Buffer.alloc(1024 * 1024);
    throw new Error('the registry is gone');
  }
  await assert.rejects(run().unpack(job, source, new AbortController().signal), stuck);
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
  await assert.rejects(run().unpack(job, source, new AbortController().signal), stuck);
});
