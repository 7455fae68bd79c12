import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { Fault } from '../../../../src/base/fault.ts';
import { type ShimAccess, Shims } from '../../../../src/lifecycle/runtime/shims.ts';
import type { PodId } from '../../../../src/model/ids.ts';
import type { Shim, ShimExit, ShimHandlers } from '../../../../src/shim/index.ts';

const pod = 'p1' as PodId;
const root = mkdtempSync(join(tmpdir(), 'berth-shims-'));
after(() => rmSync(root, { recursive: true }));

type Answer = Partial<Shim> | null | Error;

/** Shims whose connections are these answers, one after the other; `cut` ends the connection that is there. */
function connecting(...answers: Answer[]) {
  const told: string[] = [];
  let handlers: ShimHandlers | null = null;
  const connect = async (_: string, given: ShimHandlers): Promise<Shim | null> => {
    const answer = answers.shift();
    if (answer === undefined) throw new Error('connected more often than expected');
    if (answer instanceof Error) throw answer;
    handlers = given;
    return answer as Shim | null;
  };
  const access: ShimAccess = {
    connectShim: connect,
    startShim: async (dir, given) => (await connect(dir, given))!,
    killShim: async () => void told.push('killed'),
  };
  const shims = new Shims(
    (id) => join(root, id),
    {
      onExit: (_, { key, code }) => told.push(`exit ${key} ${code}`),
      onPauseExit: () => told.push('pause'),
      onLogLost: (_, key, { lines }) => told.push(`lost ${key} ${lines}`),
      onLost: () => told.push('lost'),
    },
    access,
  );
  return { shims, told, access, cut: () => handlers!.onLost() };
}

const exit = { key: 'c1', code: 7 } as ShimExit;
const listing = (pausePid: number, ...exits: (ShimExit | null)[]): Partial<Shim> => ({
  pid: 1,
  list: async () => ({
    pausePid,
    processes: exits.map((each) => ({ key: 'c1', pid: 2, exit: each, lost: { bytes: 0, lines: 0, error: '' } })),
  }),
});

describe('a connection to a shim that is cut', () => {
  test('is there again, and nothing is lost', async () => {
    const second = listing(5, null);
    const { shims, told, cut } = connecting(listing(5), second);
    await shims.start(pod);
    cut();
    assert.equal(await shims.ensure(pod), second);
    assert.deepEqual(told, []);
  });

  test('what happened meanwhile is told', async () => {
    const { shims, told, cut } = connecting(listing(5), listing(0, exit, null));
    await shims.start(pod);
    cut();
    await shims.find(pod);
    assert.deepEqual(told, ['exit c1 7', 'pause']);
  });

  test('a shim that cannot be killed is lost all the same', async () => {
    const { shims, told, access, cut } = connecting(listing(5), null, null);
    const killShim = () => Promise.reject(new Error('EIO: i/o error, read'));
    Object.assign(access, { killShim });
    await shims.start(pod);
    cut();
    assert.equal(await shims.find(pod), null);
    assert.deepEqual(told, ['lost']);
  });

  test('a shim where nobody listens is lost, and is found no more', async () => {
    const { shims, told, cut } = connecting(listing(5), null, null);
    await shims.start(pod);
    cut();
    assert.equal(await shims.find(pod), null);
    assert.deepEqual(told, ['killed', 'lost']);
  });

  test('one that does not answer is tried again, and is lost in the end', async () => {
    const mute = new Error('it says nothing');
    const again = connecting(listing(5), mute, listing(5));
    await again.shims.start(pod);
    again.cut();
    assert.ok(await again.shims.find(pod));
    assert.deepEqual(again.told, []);
    const never = connecting(listing(5), mute, mute, mute, null);
    await never.shims.start(pod);
    never.cut();
    assert.equal(await never.shims.find(pod), null);
    assert.deepEqual(never.told, ['killed', 'lost']);
  });

  test('one that does not answer when it is wanted, or does not end, is killed', async () => {
    const mute = connecting(new Error('it says nothing'));
    assert.equal(await mute.shims.findOrKill(pod), null);
    assert.deepEqual(mute.told, ['killed']);
    const stubborn = connecting({ ...listing(5), shutdown: () => Promise.reject(new Error('it goes on')) }, null);
    await stubborn.shims.start(pod);
    await stubborn.shims.shutdown(pod);
    assert.deepEqual(stubborn.told, ['killed']);
    assert.equal(await stubborn.shims.find(pod), null);
  });

  test('one that the daemon has no descriptor left to reach is not killed for that', async () => {
    const want = Object.assign(new Error('EMFILE: too many open files, open'), { code: 'EMFILE' });
    const there = listing(5);
    const { shims, told } = connecting(want, there);
    await assert.rejects(shims.findOrKill(pod), { code: 'EMFILE' });
    assert.equal(await shims.findOrKill(pod), there);
    assert.deepEqual(told, []);
  });

  test('a cut connection is not given up for want of descriptors, however long that lasts', async () => {
    const want = Object.assign(new Error('EMFILE: too many open files, socket'), { code: 'EMFILE' });
    const again = listing(5);
    const { shims, told, cut } = connecting(listing(5), want, want, again);
    await shims.start(pod);
    cut();
    assert.equal(await shims.ensure(pod), again);
    assert.deepEqual(told, []);
  });

  test('nothing is told of one that was shut down', async () => {
    const ending = { ...listing(5), shutdown: async () => {} };
    const { shims, told, cut } = connecting(ending);
    await shims.start(pod);
    await shims.shutdown(pod);
    cut();
    assert.deepEqual(told, []);
  });
});

describe('a shim that is told to end', () => {
  test('is connected to by nobody, and takes what it keeps with it', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const ending = { ...listing(5), shutdown: () => promise };
    const { shims } = connecting(ending, null, null);
    await shims.start(pod);
    const ended = Promise.all([shims.shutdown(pod), shims.shutdown(pod)]);
    const others = Promise.all([shims.find(pod), shims.forget(pod, 'c1')]);
    resolve();
    await ended;
    assert.deepEqual(await others, [null, undefined]);
  });

  test('in the midst of a request counts as ended; one that lives and refuses does not', async () => {
    const refusing = { ...listing(5), forget: () => Promise.reject(new Error('it is shutting down')) };
    const gone = connecting(refusing, null, null);
    await gone.shims.start(pod);
    const forgotten = gone.shims.forget(pod, 'c1');
    gone.cut();
    await forgotten;
    const alive = connecting(refusing);
    await alive.shims.start(pod);
    await assert.rejects(alive.shims.forget(pod, 'c1'), /it is shutting down/);
  });
});

describe('a shim that is wanted', () => {
  test('and could not be started is started anew by the next who wants it', async () => {
    const there = listing(5);
    const { shims } = connecting(new Error('it did not come up'), null, there);
    await assert.rejects(shims.start(pod), /did not come up/);
    assert.equal(await shims.ensure(pod), there);
  });

  test('and does not listen is killed: its socket may have been taken away', async () => {
    const { shims, told } = connecting(null);
    assert.equal(await shims.findOrKill(pod), null);
    assert.deepEqual(told, ['killed']);
  });

  test('for what runs there is no other than the one that kept it', async () => {
    const { shims } = connecting(null);
    await assert.rejects(shims.keeping(pod), {
      kind: 'FailedPrecondition',
      message: /is gone, and all that ran there/,
    });
  });
});

describe('before a pod is stopped', () => {
  test('a shim that is gone is told to be', async () => {
    const { shims } = connecting(null);
    assert.equal(await shims.killSilent(pod), true);
  });

  test('one that answers is left alone', async () => {
    const { shims, told } = connecting(listing(5));
    assert.equal(await shims.killSilent(pod), false);
    assert.deepEqual(told, []);
  });

  test('one that says nothing is killed, its connection is closed, and nobody is told that it is lost', async () => {
    let closed = false;
    const close = () => {
      closed = true;
      cut();
    };
    const mute = { pid: 1, list: () => Promise.reject(new Fault('DeadlineExceeded', 'no answer')), close };
    const { shims, told, cut } = connecting(mute);
    await shims.start(pod);
    assert.equal(await shims.killSilent(pod), true);
    assert.deepEqual([told, closed], [['killed'], true]);
  });

  test('what else is wrong with its answer is an error', async () => {
    const wrong = { pid: 1, list: () => Promise.reject(new Fault('DataLoss', 'no frame')) };
    const { shims, told } = connecting(wrong);
    await assert.rejects(shims.killSilent(pod), { kind: 'DataLoss' });
    assert.deepEqual(told, []);
  });
});

test('what a log lost while a connection was cut is told', async () => {
  const lost = { bytes: 50, lines: 2, error: 'ENOSPC' };
  const list = async () => ({ pausePid: 5, processes: [{ key: 'c1', pid: 2, exit: null, lost }] });
  const { shims, told, cut } = connecting(listing(5), { pid: 1, list });
  await shims.start(pod);
  cut();
  await shims.find(pod);
  assert.deepEqual(told, ['lost c1 2']);
});
