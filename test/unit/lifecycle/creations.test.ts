import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Caller } from '../../../src/base/caller.ts';
import { Creations, creationTime } from '../../../src/lifecycle/creations.ts';

const patient: Caller = { signal: new AbortController().signal, deadline: Infinity, onUnheard: () => {} };

/** Pods by their name, each made from a number. */
class World {
  readonly creations = new Creations<string>();
  readonly pods = new Map<string, { id: string; config: number }>();
  made = 0;

  /** Asks for pod x; `until`: when the making ends. */
  ask(caller: Caller = patient, config = 0, until: Promise<void> = Promise.resolve()): Promise<string> {
    const existing = () => {
      const pod = this.pods.get('x');
      return pod && { id: pod.id, same: pod.config === config };
    };
    const make = async () => {
      const id = `id-${++this.made}`;
      this.pods.set('x', { id, config });
      await until;
      return id;
    };
    return this.creations.create({ what: 'Pod x', key: 'x', existing, make }, caller);
  }
}

const inMs = (ms: number): Caller => ({ ...patient, deadline: Date.now() + ms });
const duplicate = { kind: 'AlreadyExists', message: 'Pod x exists already, as id-1' };
const different = {
  kind: 'AlreadyExists',
  message: 'Pod x exists already, as id-1, and is not what this request asks for',
};

test('requests with the same key join the one in flight; a later one is a duplicate', async () => {
  const world = new World();
  const { promise, resolve } = Promise.withResolvers<void>();
  const both = Promise.all([world.ask(patient, 0, promise), world.ask()]);
  resolve();
  assert.deepEqual(await both, ['id-1', 'id-1']);
  await assert.rejects(world.ask(), duplicate);
});

test('one that wants it otherwise does not join, and leaves the others what they made', async () => {
  const world = new World();
  const { promise, resolve } = Promise.withResolvers<void>();
  const first = world.ask(patient, 0, promise);
  const other = world.ask(patient, 1);
  resolve();
  assert.equal(await first, 'id-1');
  await assert.rejects(other, different);
});

test('what every caller left is given to the first retry, and to no other', async () => {
  const world = new World();
  const { promise, resolve } = Promise.withResolvers<void>();
  const left = new AbortController();
  const gone = world.ask({ ...patient, signal: left.signal }, 0, promise);
  left.abort(new Error('client left'));
  await assert.rejects(gone, /client left/);
  resolve();
  await promise;
  await new Promise(setImmediate);
  assert.equal(await world.ask(), 'id-1');
  await assert.rejects(world.ask(), duplicate);
});

test('one that leaves as its answer is given has not heard of it', async () => {
  const creations = new Creations<string>();
  const { promise, resolve } = Promise.withResolvers<string>();
  const [first, second] = [new AbortController(), new AbortController()];
  let made = false;
  const existing = () => {
    if (made) second.abort(new Error('client left')); // the last moment before the answer
    return made ? { id: 'id-1', same: true } : undefined;
  };
  const wanted = { what: 'Pod x', key: 'x', existing, make: () => promise };
  const left = creations.create(wanted, { ...patient, signal: first.signal });
  const joined = creations.create(wanted, { ...patient, signal: second.signal });
  first.abort(new Error('client left'));
  await assert.rejects(left, /client left/);
  made = true;
  resolve('id-1');
  await joined;
  assert.equal(await creations.create(wanted, patient), 'id-1');
  await assert.rejects(creations.create(wanted, patient), duplicate);
});

test('who has left already makes nothing', async () => {
  const world = new World();
  await assert.rejects(world.ask({ ...patient, signal: AbortSignal.abort(new Error('client left')) }), /client left/);
  assert.equal(world.made, 0);
});

test('an answer in the last second of its deadline counts as not heard, whoever retries; one before it is heard', async () => {
  for (const [ms, heard] of [
    [-5, false],
    [0, false],
    [900, false],
    [60_000, true],
  ] as const) {
    const world = new World();
    assert.equal(await world.ask(inMs(ms)), 'id-1');
    if (heard) await assert.rejects(world.ask(), duplicate, `${ms}`);
    else assert.equal(await world.ask(), 'id-1', `${ms}`);
    await assert.rejects(world.ask(), duplicate);
    assert.equal(world.made, 1);
  }
});

test('a retry that may have gone unheard too can be made again', async () => {
  const world = new World();
  for (let tries = 0; tries < 5; tries++) assert.equal(await world.ask(inMs(10)), 'id-1');
  assert.equal(await world.ask(), 'id-1');
  await assert.rejects(world.ask(), duplicate);
});

test('one caller that heard is enough', async () => {
  for (const first of [inMs(10), patient]) {
    const world = new World();
    const { promise, resolve } = Promise.withResolvers<void>();
    const both = [world.ask(first, 0, promise), world.ask(first === patient ? inMs(10) : patient)];
    resolve();
    assert.deepEqual(await Promise.all(both), ['id-1', 'id-1']);
    await assert.rejects(world.ask(), duplicate);
  }
});

test('an answer that did not go out counts as not heard, unless what it names is gone', async () => {
  const world = new World();
  const listeners: (() => void)[] = [];
  const tell = () => listeners.at(-1)!();
  const cutOff: Caller = { ...patient, onUnheard: (listener) => listeners.push(listener) };
  await world.ask(cutOff);
  await assert.rejects(world.ask(), duplicate);
  tell();
  assert.equal(await world.ask(cutOff), 'id-1', 'the retry gets it');
  world.pods.delete('x');
  world.creations.claimed('id-1');
  tell();
  world.pods.set('x', { id: 'id-9', config: 0 });
  await assert.rejects(world.ask(), { kind: 'AlreadyExists' });
});

test('the retry must ask for the same: another configuration is refused, and takes it from nobody', async () => {
  const world = new World();
  await world.ask(inMs(10));
  await assert.rejects(world.ask(patient, 1), different);
  assert.equal(await world.ask(), 'id-1');
});

test('what is used was heard', async () => {
  const world = new World();
  const id = await world.ask(inMs(10));
  world.creations.claimed(id);
  await assert.rejects(world.ask(), duplicate);
});

test('what is found at start is given to the first retry', async () => {
  const world = new World();
  world.pods.set('x', { id: 'id-1', config: 0 });
  world.creations.unheard('id-1');
  assert.equal(await world.ask(), 'id-1');
  await assert.rejects(world.ask(), duplicate);
});

test('a failed creation leaves the key free', async () => {
  const creations = new Creations<string>();
  const wanted = { what: 'Pod x', key: 'x', existing: () => undefined };
  const failing = { ...wanted, make: () => Promise.reject(new Error('no')) };
  await assert.rejects(creations.create(failing, patient), /no/);
  assert.equal(await creations.create({ ...wanted, make: async () => 'id-2' }, patient), 'id-2');
});

test('what follows is created later, whatever the clock does', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1000 });
  assert.equal(creationTime([]), 1000);
  assert.equal(creationTime([{ createdAt: 500 }]), 1000);
  assert.equal(creationTime([{ createdAt: 1000 }]), 1001);
  assert.equal(creationTime([{ createdAt: 500 }, { createdAt: 7000 }]), 7001, 'the clock was set back');
});
