import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Creations, creationTime } from '../../../src/lifecycle/creations.ts';

const never = new AbortController().signal;

test('requests with the same key join the one in flight; a later one is a duplicate', async () => {
  const creations = new Creations<string>();
  const { promise, resolve } = Promise.withResolvers<string>();
  let existing: string | undefined;
  const create = () =>
    creations.create(
      'Pod x',
      'k',
      () => existing,
      () => promise,
      never,
    );
  const both = Promise.all([create(), create()]);
  resolve('id-1');
  assert.deepEqual(await both, ['id-1', 'id-1']);
  existing = 'id-1';
  await assert.rejects(create(), { kind: 'AlreadyExists', message: 'Pod x exists already, as id-1' });
});

test('what every caller left is given to the first retry, and to no other', async () => {
  const creations = new Creations<string>();
  const { promise, resolve } = Promise.withResolvers<string>();
  const left = new AbortController();
  const gone = creations.create(
    'Pod x',
    'k',
    () => undefined,
    () => promise,
    left.signal,
  );
  left.abort(new Error('client left'));
  await assert.rejects(gone, /client left/);
  resolve('id-1');
  await promise;
  await new Promise(setImmediate);
  const retry = () =>
    creations.create(
      'Pod x',
      'k',
      () => 'id-1',
      async () => 'id-2',
      never,
    );
  assert.equal(await retry(), 'id-1');
  await assert.rejects(retry(), { kind: 'AlreadyExists' });
});

test('a failed creation leaves the key free', async () => {
  const creations = new Creations<string>();
  await assert.rejects(
    creations.create(
      'Pod x',
      'k',
      () => undefined,
      () => Promise.reject(new Error('no')),
      never,
    ),
    /no/,
  );
  assert.equal(
    await creations.create(
      'Pod x',
      'k',
      () => undefined,
      async () => 'id-2',
      never,
    ),
    'id-2',
  );
});

test('what follows is created later, whatever the clock does', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1000 });
  assert.equal(creationTime([]), 1000);
  assert.equal(creationTime([{ createdAt: 500 }]), 1000);
  assert.equal(creationTime([{ createdAt: 1000 }]), 1001);
  assert.equal(creationTime([{ createdAt: 500 }, { createdAt: 7000 }]), 7001, 'the clock was set back');
});
