// Threads that unpack: one that dies, one that hangs, one that runs out of memory. The pull fails, the next one works.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, afterEach, before, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { joinLayer } from '../../src/image/layer-join.ts';
import { unpackLayer } from '../../src/image/layer-stream.ts';
import { parseDigest } from '../../src/model/ids.ts';
import { ownHost } from '../harness/own-host.ts';
import { image, layer, sha256, writeLayout } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { dir, file, tar } from '../registry/tar.ts';

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

test('each member, and each thing that is settled at the end, is a sign of life: a disk may be slow for all of them', async () => {
  const path = mkdtempSync(join(work, 'steps-'));
  const members = Array.from({ length: 200 }, (_, i) => [dir(`d${i}`), file(`d${i}/f`, 'x'), file(`e/e${i}/f`, 'x')]);
  const content = tar(...members.flat());
  const diffId = parseDigest(sha256(content));
  let steps = 0;
  const onStep = () => void steps++;
  const limits = { maxBytes: 2 ** 20, maxEntries: 10_000, maxRatio: 1000 };
  const notes = await unpackLayer(Readable.from([content]), { path, digest: null, diffId, limits }, onStep);
  assert.ok(steps >= 600 + 200, `${steps} for 600 members in one chunk, and the times of 200 directories`);
  steps = 0;
  joinLayer({ path, name: 'steps', lowers: [mkdtempSync(join(work, 'lower-'))], notes }, onStep);
  assert.ok(steps >= 200, `${steps} for 201 directories that the layer implies`);
});
