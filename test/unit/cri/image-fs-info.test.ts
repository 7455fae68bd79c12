// What images and containers take on disk is asked for every few seconds: nothing is walked for each answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageHandlers } from '../../../src/cri/image-service.ts';
import { Stats } from '../../../src/stats/index.ts';

test('writable layers are walked a few at once, and not again for the next answer', async () => {
  const keys = Array.from({ length: 9 }, (_, nth) => `layer-${nth}`);
  let [now, most, walks] = [0, 0, 0];
  const snapshots = {
    list: () => [{ key: 'image', kind: 'committed' }, ...keys.map((key) => ({ key, kind: 'active' }))],
    get: () => ({}),
    usage: async () => {
      walks++;
      most = Math.max(most, ++now);
      await new Promise(setImmediate);
      now--;
      return { bytes: 10, inodes: 2 };
    },
  };
  const records = { all: () => [], listen: () => () => {} };
  const stats = new Stats({ pods: records, containers: records, snapshots, logLoss: () => undefined } as never);
  const images = { fsInfo: async () => ({ mountpoint: '/m', bytes: 1, inodes: 1 }) };
  const { imageFsInfo } = imageHandlers({ images, snapshots, stats } as never);
  for (const _ of [1, 2]) {
    const { containerFilesystems } = await imageFsInfo();
    const [used] = containerFilesystems;
    assert.deepEqual([used?.usedBytes?.value, used?.inodesUsed?.value], [90n, 18n]);
  }
  assert.deepEqual({ walks, most }, { walks: 9, most: 4 });
});
