// Layers of images, with a real store below them and no thread that unpacks: what ends, and in which order.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { chainIds } from '../../../src/image/chain.ts';
import type { ChunkSource } from '../../../src/image/first-bytes.ts';
import type { JoinJob } from '../../../src/image/layer-join.ts';
import type { LayerPool } from '../../../src/image/layer-pool.ts';
import type { UnpackJob } from '../../../src/image/layer-stream.ts';
import type { LayerNotes } from '../../../src/image/layer-writer.ts';
import { type LayerSource, Layers } from '../../../src/image/layers.ts';
import { Progress } from '../../../src/image/progress.ts';
import type { Digest } from '../../../src/model/ids.ts';
import { openSnapshots, type Snapshots } from '../../../src/snapshot/index.ts';

const limits = { maxBytes: 100, maxEntries: 10, maxRatio: 200 };
const diffId = (character: string) => `sha256:${character.repeat(64)}` as Digest;
const never = new AbortController().signal;
const source = (character: string, origin = 'registry'): LayerSource => ({
  digest: diffId(character),
  diffId: diffId(character),
  size: 1,
  open: async function* () {},
  origin,
});
const notes = (changes: Partial<LayerNotes> = {}): LayerNotes => ({
  implied: [],
  whiteouts: [],
  former: [],
  plain: true,
  hidesAll: false,
  bytes: 10,
  entries: 1,
  ...changes,
});

type Unpacking = { job: UnpackJob; end: (notes: LayerNotes) => void; fail: (error: unknown) => void };

let root = '';
let snapshots: Snapshots;
let unpacking: Unpacking[] = [];
let joined: JoinJob[] = [];
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'berth-layers-'));
  snapshots = await openSnapshots(root);
  unpacking = [];
  joined = [];
});
afterEach(() => rmSync(root, { recursive: true }));

/** Unpacks when the test says so; who is called off stops at once. */
const pool = {
  unpack: (job: UnpackJob, _open: ChunkSource, _by: object, signal: AbortSignal) => {
    const { promise, resolve, reject } = Promise.withResolvers<LayerNotes>();
    signal.addEventListener('abort', () => reject(signal.reason));
    unpacking.push({ job, end: resolve, fail: reject });
    return promise;
  },
  join: async (job: JoinJob) => {
    joined.push(job);
    return { entries: 0 };
  },
} as unknown as LayerPool;

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise(setImmediate);
}
const layers = () => new Layers(snapshots, pool, limits);
const realize = (all: Layers, sources: readonly LayerSource[], signal: AbortSignal = never) =>
  all.realize(sources, new Progress('app'), signal);
const keysOf = (...characters: string[]) => chainIds(characters.map(diffId));
const kept = () => snapshots.list().map(({ key }) => key);
const runOf = (character: string) => unpacking.find(({ job }) => job.diffId === diffId(character))!;

describe('the layers of an image', () => {
  test('are unpacked at once, and each is there only when the one below it is', async () => {
    const [low, top] = keysOf('a', 'b');
    const done = realize(layers(), [source('a'), source('b')]);
    await until(() => unpacking.length === 2);
    runOf('b').end(notes());
    for (let turns = 20; turns > 0; turns--) await new Promise(setImmediate);
    assert.deepEqual(kept(), []);
    runOf('a').end(notes());
    await done;
    assert.deepEqual(kept().sort(), [low, top].sort());
    assert.deepEqual([snapshots.get(top!)?.parent, snapshots.get(low!)?.parent], [low, null]);
  });

  test('that are there are not fetched again', async () => {
    const all = layers();
    const first = realize(all, [source('a')]);
    await until(() => unpacking.length === 1);
    runOf('a').end(notes());
    await first;
    await realize(all, [source('a')]);
    assert.equal(unpacking.length, 1);
  });

  test('one that hides all stands on nothing; one that says something of those below is joined with them', async () => {
    const done = realize(layers(), [source('a'), source('b'), source('c')]);
    await until(() => unpacking.length === 3);
    runOf('a').end(notes());
    runOf('b').end(notes({ hidesAll: true }));
    runOf('c').end(notes({ implied: ['etc'] }));
    await done;
    const [, middle, top] = keysOf('a', 'b', 'c');
    assert.deepEqual([snapshots.get(middle!)?.parent, snapshots.get(top!)?.parent], [null, middle]);
    assert.deepEqual(
      joined.map(({ lowers }) => lowers.length),
      [1],
    );
  });
});

describe('a failure', () => {
  test('calls the others off; it is told when all have ended, and no stage is left', async () => {
    const order: string[] = [];
    const { promise, resolve } = Promise.withResolvers<LayerNotes>();
    const slow = {
      ...pool,
      unpack: (job: UnpackJob, open: ChunkSource, by: { origin: string }, signal: AbortSignal) =>
        job.diffId === diffId('b') ? promise.finally(() => order.push('b ended')) : pool.unpack(job, open, by, signal),
    } as unknown as LayerPool;
    const done = realize(new Layers(snapshots, slow, limits), [source('a'), source('b'), source('c')]);
    const told = assert.rejects(done, /it is broken/).then(() => order.push('told'));
    await until(() => unpacking.length === 2);
    runOf('a').fail(new Error('it is broken'));
    for (let turns = 20; turns > 0; turns--) await new Promise(setImmediate);
    resolve(notes());
    await told;
    assert.deepEqual(order, ['b ended', 'told']);
    assert.deepEqual([kept(), readdirSync(root)], [[], []]);
  });

  test('of who wants it: the reason is told', async () => {
    const caller = new AbortController();
    const done = realize(layers(), [source('a')], caller.signal);
    await until(() => unpacking.length === 1);
    caller.abort(new Error('client left'));
    await assert.rejects(done, /client left/);
    assert.deepEqual(readdirSync(root), []);
  });
});

describe('a layer that two want', () => {
  test('from one registry is fetched once', async () => {
    const all = layers();
    const both = [realize(all, [source('a')]), realize(all, [source('a')])];
    await until(() => unpacking.length === 1);
    runOf('a').end(notes());
    await Promise.all(both);
    assert.equal(unpacking.length, 1);
  });

  test('from two registries does not wait for the slower one', async () => {
    const all = layers();
    const slow = realize(all, [source('a', 'slow')]);
    await until(() => unpacking.length === 1);
    const fast = realize(all, [source('a', 'fast')]);
    await until(() => unpacking.length === 2);
    unpacking[1]!.end(notes());
    await fast;
    unpacking[0]!.end(notes());
    await slow;
    assert.deepEqual([kept(), readdirSync(root).length], [keysOf('a'), 1]);
  });

  test('is fetched by the second where the first fails', async () => {
    const all = layers();
    const first = realize(all, [source('a')]);
    await until(() => unpacking.length === 1);
    const second = realize(all, [source('a')]);
    unpacking[0]!.fail(new Error('it is broken'));
    await assert.rejects(first, /it is broken/);
    await until(() => unpacking.length === 2);
    unpacking[1]!.end(notes());
    await second;
  });

  test('is no longer waited for by one who left, who keeps nobody up', { timeout: 10_000 }, async () => {
    const all = layers();
    const first = realize(all, [source('a')]);
    await until(() => unpacking.length === 1);
    const caller = new AbortController();
    const left = realize(all, [source('a')], caller.signal);
    const third = realize(all, [source('a')]);
    caller.abort(new Error('client left'));
    await assert.rejects(left, /client left/);
    unpacking[0]!.end(notes());
    await Promise.all([first, third]);
  });
});

describe('what an image may unpack to', () => {
  const cases = [
    { name: 'as much as it may', a: notes({ bytes: 60, entries: 5 }), b: notes({ bytes: 40, entries: 5 }), fits: true },
    { name: 'a byte more', a: notes({ bytes: 60 }), b: notes({ bytes: 41 }), fits: false },
    { name: 'an entry more', a: notes({ entries: 5 }), b: notes({ entries: 6 }), fits: false },
  ];
  for (const { name, a, b, fits } of cases) {
    test(`${name}: ${fits ? 'it is taken' : 'refused, all layers together'}`, async () => {
      const done = realize(layers(), [source('a'), source('b')]);
      await until(() => unpacking.length === 2);
      runOf('a').end(a);
      runOf('b').end(b);
      if (fits) await done;
      else await assert.rejects(done, { kind: 'ResourceExhausted', message: /more than 100 bytes or 10 entries/ });
    });
  }

  test('what others took is not there for what comes later', async () => {
    const all = layers();
    const first = realize(all, [source('a')]); // holds the lock of b's place below
    await until(() => unpacking.length === 1);
    const done = realize(all, [source('a'), source('b')]);
    await until(() => unpacking.length === 2);
    runOf('b').end(notes({ bytes: 30, entries: 2 }));
    for (let turns = 20; turns > 0; turns--) await new Promise(setImmediate);
    unpacking[0]!.fail(new Error('it is broken'));
    await assert.rejects(first);
    await until(() => unpacking.length === 3);
    const { maxBytes, maxEntries } = unpacking[2]!.job.limits;
    assert.deepEqual([maxBytes, maxEntries], [70, 8]);
    unpacking[2]!.end(notes());
    await done;
  });
});
