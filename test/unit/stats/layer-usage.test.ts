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
  const all = Promise.all(keys.map((key) => usages.of(key, 1)));
  for (let left = keys.length; left > 0; ) {
    await turn();
    assert.ok(waiting.length <= 2, `${waiting.length} at once`);
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
