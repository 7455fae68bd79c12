import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedPulls } from '../../../src/image/shared-pulls.ts';

const key = { key: 'app secret', name: 'app', timeoutMs: 60_000 };

/** Pulls that end when they are told to, or called off. */
function pulls() {
  const shared = new SharedPulls<string>();
  const runs: { signal: AbortSignal; end: (result: string) => void; fail: (error: unknown) => void }[] = [];
  const work = (signal: AbortSignal) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    runs.push({ signal, end: resolve, fail: reject });
    return promise;
  };
  return { shared, runs, join: (signal?: AbortSignal, wanted = key) => shared.join(wanted, work, signal) };
}

test('equal pulls are one, others their own; the next one is made anew', async () => {
  const { runs, join } = pulls();
  const both = [join(), join()];
  const other = join(undefined, { ...key, key: 'other' });
  assert.equal(runs.length, 2);
  runs[0]!.end('one');
  runs[1]!.end('other');
  assert.deepEqual(await Promise.all([...both, other]), ['one', 'one', 'other']);
  const again = join();
  runs[2]!.end('two');
  assert.equal(await again, 'two');
});

test('one that leaves does not call it off for the others', async () => {
  const { runs, join } = pulls();
  const caller = new AbortController();
  const left = join(caller.signal);
  const stays = join();
  caller.abort(new Error('client left'));
  await assert.rejects(left, /client left/);
  assert.equal(runs[0]!.signal.aborted, false);
  runs[0]!.end('done');
  assert.equal(await stays, 'done');
});

test('when the last has left it is called off, and an equal pull does not join what is on its way out', async () => {
  const { shared, runs, join } = pulls();
  const caller = new AbortController();
  const left = join(caller.signal);
  caller.abort(new Error('client left'));
  await assert.rejects(left, /client left/);
  assert.equal(runs[0]!.signal.reason.kind, 'Cancelled');
  const again = join();
  assert.equal(runs.length, 2);
  let quiet = false;
  const idle = shared.idle().then(() => {
    quiet = true;
  });
  runs[1]!.end('two');
  assert.equal(await again, 'two');
  await new Promise(setImmediate);
  assert.equal(quiet, false, 'the first still cleans up');
  runs[0]!.fail(runs[0]!.signal.reason);
  await idle;
});

test('the end of one that was called off does not take away the one that came after', async () => {
  const { runs, join } = pulls();
  const caller = new AbortController();
  const left = join(caller.signal);
  caller.abort(new Error('client left'));
  await assert.rejects(left);
  const second = join();
  runs[0]!.fail(new Error('called off'));
  await new Promise(setImmediate);
  const third = join();
  assert.equal(runs.length, 2);
  runs[1]!.end('two');
  assert.deepEqual(await Promise.all([second, third]), ['two', 'two']);
});

test('a failure is told to all, and the next pull is made anew', async () => {
  const { runs, join } = pulls();
  const both = [join(), join()];
  runs[0]!.fail(new Error('no such image'));
  for (const each of both) await assert.rejects(each, /no such image/);
  const again = join();
  runs[1]!.end('there');
  assert.equal(await again, 'there');
});

test('one that takes too long is called off, and that is said', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { runs, join } = pulls();
  const late = join();
  t.mock.timers.tick(60_000);
  assert.equal(runs[0]!.signal.reason.kind, 'DeadlineExceeded');
  runs[0]!.fail(runs[0]!.signal.reason);
  await assert.rejects(late, { kind: 'DeadlineExceeded', message: 'The pull of app did not finish within 60 s' });
});

test('a caller who has left already starts nothing; at the end of the daemon all is called off', async () => {
  const { shared, runs, join } = pulls();
  await assert.rejects(join(AbortSignal.abort(new Error('client left'))), /client left/);
  assert.equal(runs.length, 0);
  const waiting = join();
  shared.stop();
  runs[0]!.fail(runs[0]!.signal.reason);
  await assert.rejects(waiting, { kind: 'Cancelled', message: /the daemon stops/ });
  await shared.idle();
});
