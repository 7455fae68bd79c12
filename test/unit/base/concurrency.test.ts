import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Locks } from '../../../src/base/locks.ts';
import { runAll } from '../../../src/base/run-all.ts';
import { SharedRuns } from '../../../src/base/shared-runs.ts';

describe('Locks', () => {
  test('holders of one key come in order of arrival, others do not wait', async () => {
    const locks = new Locks();
    const order: string[] = [];
    const first = await locks.hold('a');
    const second = locks.hold('a').then((hold) => {
      order.push('second');
      hold[Symbol.dispose]();
    });
    const third = locks.hold('a').then((hold) => {
      order.push('third');
      hold[Symbol.dispose]();
    });
    (await locks.hold('b'))[Symbol.dispose]();
    order.push('other key');
    first[Symbol.dispose]();
    await Promise.all([second, third]);
    assert.deepEqual(order, ['other key', 'second', 'third']);
    (await locks.hold('a'))[Symbol.dispose]();
  });

  test('those that are held are told, with how many wait', async () => {
    const locks = new Locks();
    const first = await locks.hold('a');
    const second = locks.hold('a');
    const seen = () => locks.held().map(({ key, waiting }) => [key, waiting]);
    assert.deepEqual(seen(), [['a', 1]]);
    first[Symbol.dispose]();
    const held = await second;
    assert.deepEqual(seen(), [['a', 0]]);
    held[Symbol.dispose]();
    assert.deepEqual(seen(), []);
  });

  test('an error in the scope releases', async () => {
    const locks = new Locks();
    const failing = async () => {
      using _ = await locks.hold('a');
      throw new Error('inside');
    };
    await assert.rejects(failing(), /inside/);
    (await locks.hold('a'))[Symbol.dispose]();
  });
});

describe('SharedRuns', () => {
  test('callers of one key share one run; the next call makes a new one', async () => {
    const runs = new SharedRuns<number>();
    let made = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    const work = async () => {
      await promise;
      return ++made;
    };
    const both = Promise.all([runs.join('k', work), runs.join('k', work)]);
    assert.equal(runs.has('k'), true);
    resolve();
    assert.deepEqual(await both, [1, 1]);
    assert.equal(runs.has('k'), false);
    assert.equal(await runs.join('k', work), 2);
  });

  test('a caller that leaves does not end the run', async () => {
    const runs = new SharedRuns<string>();
    const { promise, resolve } = Promise.withResolvers<string>();
    const left = new AbortController();
    const leaver = runs.join('k', () => promise, left.signal);
    const stayer = runs.join('k', () => promise);
    left.abort(new Error('gone'));
    await assert.rejects(leaver, /gone/);
    resolve('done');
    assert.equal(await stayer, 'done');
  });

  test('all callers hear of a failure, and the key is free again', async () => {
    const runs = new SharedRuns<string>();
    const fail = () => Promise.reject(new Error('broken'));
    const results = await Promise.allSettled([runs.join('k', fail), runs.join('k', fail)]);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['rejected', 'rejected'],
    );
    assert.equal(await runs.join('k', async () => 'ok'), 'ok');
  });
});

test('runAll runs every step and names each failure', async () => {
  const ran: string[] = [];
  const step = (name: string, fails = false) =>
    [
      name,
      () => {
        ran.push(name);
        if (fails) throw new Error(`${name} broke`);
      },
    ] as const;
  await assert.rejects(
    runAll('clean up', [step('one', true), step('two'), step('three', true)]),
    (error: AggregateError) => {
      assert.equal(error.message, 'Cannot clean up: one: one broke; three: three broke');
      assert.equal(error.errors.length, 2);
      return true;
    },
  );
  assert.deepEqual(ran, ['one', 'two', 'three']);
  await runAll('do nothing', []);
});
