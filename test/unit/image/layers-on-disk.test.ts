// What images take on the disk: kubelet asks every few seconds, from the first moment on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LayersOnDisk } from '../../../src/image/layers-on-disk.ts';
import type { Snapshots } from '../../../src/snapshot/index.ts';

test('who asks meanwhile is told of what is measured already, and nothing is measured twice', async () => {
  const asked: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const snapshots = {
    list: () => ['a', 'b', 'c'].map((key) => ({ key, kind: 'committed' })),
    get: () => ({}),
    usage: async (key: string) => {
      asked.push(key);
      if (key === 'b') await promise;
      return { bytes: 10, inodes: 1 };
    },
  };
  const onDisk = new LayersOnDisk(snapshots as unknown as Snapshots, 5);
  const one = { bytes: 10, inodes: 1 };
  assert.deepEqual(await Promise.all([onDisk.usage(), onDisk.usage()]), [one, one]);
  resolve();
  assert.deepEqual(await onDisk.usage(), { bytes: 30, inodes: 3 });
  assert.deepEqual(asked, ['a', 'b', 'c']);
  onDisk.forget('a');
  await onDisk.usage();
  assert.deepEqual(asked, ['a', 'b', 'c', 'a']);
});
