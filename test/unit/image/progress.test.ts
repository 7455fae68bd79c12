import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Counted, Progress } from '../../../src/image/progress.ts';

/** Reads so many bytes through the counter. */
async function fetched(progress: Progress, ...sizes: number[]): Promise<Counted> {
  const source = progress.counted(async function* () {
    for (const size of sizes) yield Buffer.alloc(size);
  });
  for await (const _ of source.open(new AbortController().signal));
  return source;
}

test('what a pull has done, and how fast it is by now', async (t) => {
  let now = 1000;
  t.mock.method(performance, 'now', () => now);
  const progress = new Progress('app');
  assert.deepEqual([progress.status().phase, progress.status().rate], ['resolving', 0]);
  progress.expect(5000);
  progress.expect(0);
  for (let second = 0; second < 10; second++) {
    now += 1000;
    await fetched(progress, 300, 200);
  }
  const { phase, layers, layersDone, bytesTotal, bytesFetched, bytesUnpacked, rate } = progress.status();
  assert.deepEqual(
    [phase, layers, layersDone, bytesTotal, bytesFetched, bytesUnpacked],
    ['fetching', 2, 0, 5000, 5000, 0],
  );
  assert.equal(rate, 540); // a sample is taken with the first bytes of its second
  progress.done(70);
  assert.deepEqual([progress.status().layersDone, progress.status().bytesUnpacked], [1, 70]);
  for (let second = 0; second < 10; second++) {
    now += 1000;
    await fetched(progress, 10);
  }
  assert.equal(progress.status().rate, 10, 'what was fast before does not count any more');
});

test('what is read twice is awaited twice, so that a pull is never further than done', async () => {
  const progress = new Progress('app');
  progress.expect(500);
  const first = await fetched(progress, 300);
  first.inVain();
  first.inVain();
  await fetched(progress, 300, 200);
  const { bytesTotal, bytesFetched } = progress.status();
  assert.deepEqual([bytesTotal, bytesFetched], [800, 800]);
});
