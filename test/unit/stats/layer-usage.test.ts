import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Snapshots } from '../../../src/snapshot/index.ts';
import { LayerUsages } from '../../../src/stats/layer-usage.ts';

test('few walks are under way at once, and each container has its turn', async () => {
  const waiting: (() => void)[] = [];
  const snapshots = {
    get: () => ({}),
    usage: async (key: string) => {
      await new Promise<void>((resolve) => waiting.push(resolve));
      return { bytes: key.length, inodes: 1 };
    },
  };
  const usages = new LayerUsages(snapshots as unknown as Snapshots);
  const keys = Array.from({ length: 9 }, (_, i) => 'x'.repeat(i + 1));
  const all = Promise.all(keys.map((key) => usages.of(key)));
  for (let left = keys.length; left > 0; ) {
    await turn();
    assert.ok(waiting.length <= 4, `${waiting.length} at once`);
    for (const go of waiting.splice(0)) {
      go();
      left--;
    }
  }
  assert.deepEqual(
    (await all).map((usage) => usage?.bytes),
    keys.map((key) => key.length),
  );
});

test('a size is measured anew after ten seconds, also on a clock that was set back an hour', async (t) => {
  let [elapsed, walks] = [0, 0];
  t.mock.timers.enable({ apis: ['Date'], now: 1e12 });
  t.mock.method(performance, 'now', () => elapsed);
  const snapshots = { get: () => ({}), usage: async () => ({ bytes: ++walks, inodes: 1 }) };
  const usages = new LayerUsages(snapshots as unknown as Snapshots);
  assert.deepEqual(await usages.of('c'), { bytes: 1, inodes: 1, at: 1e12 });
  t.mock.timers.setTime(1e12 - 3_600_000);
  elapsed = 9000;
  assert.equal((await usages.of('c'))?.bytes, 1);
  elapsed = 11_000;
  assert.deepEqual(await usages.of('c'), { bytes: 2, inodes: 1, at: 1e12 - 3_600_000 });
});

test('one that takes long to walk gives the size of before, and is walked once at a time', async () => {
  let now = 0;
  const walks: Record<string, number> = {};
  const snapshots = {
    get: () => ({}),
    usage: async (key: string) => {
      const nth = (walks[key] ?? 0) + 1;
      walks[key] = nth;
      if (key === 'huge' && nth > 1) await new Promise(() => {});
      return { bytes: key.length, inodes: 1 };
    },
  };
  const usages = new LayerUsages(snapshots as unknown as Snapshots, { now: () => now, patienceMs: 5 });
  const sizes = () => Promise.all(['huge', 'tiny!'].map(async (key) => (await usages.of(key))?.bytes));
  for (const _ of [1, 2, 3]) {
    assert.deepEqual(await sizes(), [4, 5]);
    now += 11_000;
  }
  assert.deepEqual(walks, { huge: 2, 'tiny!': 3 });
});

test('one that was never walked to its end has no size yet', async () => {
  const snapshots = { get: () => ({}), usage: () => new Promise(() => {}) };
  const usages = new LayerUsages(snapshots as unknown as Snapshots, { patienceMs: 5 });
  assert.equal(await usages.of('c'), null);
});
