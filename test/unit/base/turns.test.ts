import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Turns } from '../../../src/base/turns.ts';

const never = new AbortController().signal;

test('so many at once for each key, in order of arrival', async () => {
  const turns = new Turns(2);
  const order: number[] = [];
  const [first, second] = [await turns.take('a', never), await turns.take('a', never)];
  const later = [3, 4].map(async (n) => {
    const turn = await turns.take('a', never);
    order.push(n);
    return turn;
  });
  (await turns.take('b', never))[Symbol.dispose](); // another key waits for nobody
  assert.deepEqual(order, []);
  first[Symbol.dispose]();
  first[Symbol.dispose](); // twice is once
  await later[0];
  assert.deepEqual(order, [3]);
  second[Symbol.dispose]();
  await later[1];
  assert.deepEqual(order, [3, 4]);
});

test('who leaves the line takes no turn, and hands on the one that came too late', async () => {
  const turns = new Turns(1);
  const held = await turns.take('a', never);
  const leave = new AbortController();
  const gone = turns.take('a', leave.signal);
  const next = turns.take('a', never);
  held[Symbol.dispose](); // the turn is on its way to who now leaves
  leave.abort(new Error('left'));
  const late = await gone.catch((error: Error) => error.message);
  if (typeof late !== 'string') late[Symbol.dispose]();
  (await next)[Symbol.dispose]();
  const closed = new AbortController();
  closed.abort(new Error('left before'));
  await assert.rejects(turns.take('a', closed.signal), /left before/);
  (await turns.take('a', never))[Symbol.dispose]();
});
