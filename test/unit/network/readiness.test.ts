import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Readiness } from '../../../src/network/readiness.ts';

const never = () => new Promise<void>(() => {});
const fails = (why: string) => () => Promise.reject(new Error(why));

test('an answer is the verdict, and the next call asks again', async () => {
  const readiness = new Readiness();
  assert.equal(await readiness.of('net', async () => {}), null);
  assert.equal(await readiness.of('net', fails('no room')), 'no room');
  assert.equal(await readiness.of('net', async () => {}), null);
});

test('while an answer is awaited the last one stands, and nobody asks twice', async () => {
  const readiness = new Readiness();
  assert.equal(await readiness.of('net', fails('no room')), 'no room');
  const { promise, resolve } = Promise.withResolvers<void>();
  let asked = 0;
  const slow = () => {
    asked++;
    return promise;
  };
  assert.deepEqual(await Promise.all([readiness.of('net', slow), readiness.of('net', slow)]), ['no room', 'no room']);
  assert.equal(asked, 1);
  resolve();
  assert.equal(await readiness.of('net', slow), null);
});

test('no answer at all is said, and so is none of networks that are new', async () => {
  const readiness = new Readiness();
  assert.match((await readiness.of('net', never)) ?? '', /has not answered STATUS for 0\.\d s/);
  assert.equal(await readiness.of('other', async () => {}), null);
  assert.match((await readiness.of('third', never)) ?? '', /has not answered STATUS/);
});
