// What waits to be sent while the other side takes it, is slow, refuses it or is gone.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { type Answer, type Lost, Queue, type Sending } from '../../../src/tracing/queue.ts';

const taken: Answer = { taken: true, refused: 0, why: '' };
const later: Answer = { taken: false, again: true, why: 'gone' };

/** A queue of ten, three at a time, and what it told. */
function made(send: Sending<number>['send'], more: Partial<Sending<number>> = {}) {
  const told = {
    exported: 0,
    lost: { queue_full: 0, refused: 0, end: 0 } as Record<Lost, number>,
    states: [] as string[],
  };
  const queue = new Queue<number>({
    send,
    heard: {
      exported: (count) => {
        told.exported += count;
      },
      lost: (reason, count) => {
        told.lost[reason] += count;
      },
      state: (why) => void told.states.push(why),
    },
    ...{ most: 10, batch: 3, gatherMs: 1, attemptMs: 60_000, againMs: [1, 4] as const },
    ...more,
  });
  return { queue, told };
}
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

test('all of it is sent in order, in batches, one at a time', async () => {
  const got: number[][] = [];
  let [atOnce, most] = [0, 0];
  const done = Promise.withResolvers<void>();
  const { queue, told } = made(async (batch) => {
    most = Math.max(most, ++atOnce);
    await new Promise(setImmediate);
    atOnce--;
    got.push([...batch]);
    if (got.flat().length === 7) done.resolve();
    return taken;
  });
  for (const one of upTo(7)) queue.add(one);
  await done.promise;
  await queue.close(1000);
  assert.deepEqual(got.flat(), upTo(7));
  assert.ok(got.every(({ length }) => length <= 3));
  assert.equal(most, 1);
  assert.equal(told.exported, 7);
  assert.deepEqual(told.lost, { queue_full: 0, refused: 0, end: 0 });
});

test('one that is told to come again keeps its place, and what there is no room for is counted', async () => {
  const back = Promise.withResolvers<void>();
  let here = false;
  let tries = 0;
  const got: number[] = [];
  const { queue, told } = made(async (batch) => {
    if (++tries === 5) back.resolve();
    if (!here) return later;
    got.push(...batch);
    return taken;
  });
  for (const one of upTo(14)) queue.add(one);
  await back.promise;
  here = true;
  await queue.close(60_000);
  assert.deepEqual(got, upTo(10));
  assert.deepEqual(told.lost, { queue_full: 4, refused: 0, end: 0 });
  assert.equal(told.exported, 10);
  assert.deepEqual(told.states.slice(0, 4), ['gone', 'gone', 'gone', 'gone']);
  assert.equal(told.states.at(-1), '');
});

test('what is refused, as a whole or in part, is not sent again', async () => {
  const answers: Answer[] = [
    { taken: false, again: false, why: 'no' },
    { taken: true, refused: 2, why: 'two are wrong' },
    { taken: true, refused: 99, why: 'more than there are' },
  ];
  const { queue, told } = made(async () => answers.shift() ?? taken);
  for (const one of upTo(9)) queue.add(one);
  await queue.close(60_000);
  assert.deepEqual(told.lost, { queue_full: 0, refused: 8, end: 0 });
  assert.equal(told.exported, 1);
});

test('the end waits for a silent one no longer than it was told, and counts what is left', async () => {
  const { queue, told } = made(async (_, signal) => {
    await once(signal, 'abort');
    return later;
  });
  for (const one of upTo(5)) queue.add(one);
  await queue.close(20);
  assert.deepEqual(told.lost, { queue_full: 0, refused: 0, end: 5 });
  queue.add(6);
  assert.equal(told.lost.end, 6);
});

test('an attempt that takes too long is given up, and made again', async () => {
  let first = true;
  const { queue, told } = made(
    async (_, signal) => {
      if (!first) return taken;
      first = false;
      await once(signal, 'abort');
      return later;
    },
    { attemptMs: 5 },
  );
  queue.add(1);
  while (told.exported === 0) await new Promise(setImmediate);
  await queue.close(1000);
  assert.equal(told.exported, 1);
  assert.deepEqual(told.states, ['gone', '']);
});

test('a pause between two attempts does not hold up the end', async () => {
  const tried = Promise.withResolvers<void>();
  const { queue, told } = made(
    async () => {
      tried.resolve();
      return later;
    },
    { againMs: [1e9, 1e9] },
  );
  queue.add(1);
  await tried.promise;
  await queue.close(60_000);
  assert.equal(told.lost.end, 1);
});

test('what cannot be encoded is lost, and what comes after it is sent', async () => {
  const { queue, told } = made(
    (batch) => {
      if (batch.includes(1)) throw new Error('no such thing');
      return Promise.resolve(taken);
    },
    { batch: 1 },
  );
  for (const one of upTo(3)) queue.add(one);
  await queue.close(60_000);
  assert.deepEqual(told.lost, { queue_full: 0, refused: 1, end: 0 });
  assert.deepEqual(told.states, ['', 'no such thing', '']);
  assert.equal(told.exported, 2);
});
