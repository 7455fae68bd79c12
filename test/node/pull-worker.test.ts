// Threads that unpack: one that dies, one that hangs, one that runs out of memory. The pull fails, the next one works.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { ownHost } from '../harness/own-host.ts';
import { image, layer, writeLayout } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { file, tar } from '../registry/tar.ts';

await ownHost();

type Message = { readonly kind: string };
const send = Worker.prototype.postMessage;
let work = '';
before(() => {
  work = mkdtempSync(join(tmpdir(), 'berth-worker-'));
  writeLayout(join(work, 'layout'), {
    app: image([layer(tar(file('a', 'x'), file('b', Buffer.alloc(2_000_000, 'y'))))]),
  });
});
afterEach(() => {
  Worker.prototype.postMessage = send;
});
after(() => rmSync(work, { recursive: true }));

/** Does something else with the first message of a kind. */
function instead(kind: string, act: (worker: Worker) => void): void {
  let done = false;
  Worker.prototype.postMessage = function (this: Worker, message: Message, ...rest: []) {
    if (done || message.kind !== kind) return send.call(this, message, ...rest);
    done = true;
    act(this);
  };
}

for (const { name, kind, act, expected } of [
  { name: 'dies before its layer', kind: 'unpack', act: (worker: Worker) => worker.terminate(), expected: 'Internal' },
  { name: 'dies in its layer', kind: 'end', act: (worker: Worker) => worker.terminate(), expected: 'Internal' },
  { name: 'never hears the end of its layer', kind: 'end', act: () => {}, expected: 'DeadlineExceeded' },
  { name: 'never begins its layer', kind: 'unpack', act: () => {}, expected: 'DeadlineExceeded' },
]) {
  test(`a thread that ${name} fails its pull, and nothing is left`, async () => {
    await using store = await Store.open({ progressTimeoutMs: 3000, maxParallelLayers: 1 });
    instead(kind, act);
    await assert.rejects(store.images.load(join(work, 'layout')), { name: 'Fault', kind: expected });
    assert.deepEqual(store.leftovers(), []);
    const [loaded] = await store.images.load(join(work, 'layout'));
    assert.equal(readFileSync(join(await store.mount(loaded!.id), 'a'), 'utf8'), 'x');
  });
}
