import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { setImmediate as nextRound } from 'node:timers/promises';
import { Newcomers } from '../../../src/streaming/newcomers.ts';

class FakeSocket extends EventEmitter {
  destroyed = false;

  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

function crowd() {
  let now = 0;
  const newcomers = new Newcomers(() => now);
  const come = (count: number) =>
    Array.from({ length: count }, () => {
      const socket = new FakeSocket();
      newcomers.add(socket as unknown as Socket);
      return socket;
    });
  /** At least the rounds of the event loop in which what they sent is read. */
  const wait = async (ms: number) => {
    for (let round = 0; round < 3; round++) await nextRound();
    now += ms;
  };
  const admit = (socket: FakeSocket) => newcomers.admit(socket as unknown as Socket);
  const lose = (ms: number) => {
    now += ms;
  };
  return { come, wait, lose, admit };
}
const alive = (sockets: readonly FakeSocket[]) => sockets.filter(({ destroyed }) => !destroyed).length;

test('the oldest silent ones go when too many are there, not before half a second', async () => {
  const { come, wait } = crowd();
  const first = come(2000);
  assert.equal(alive(first), 2000);
  await wait(499);
  come(1);
  assert.equal(alive(first), 2000);
  await wait(1);
  const [late] = come(1);
  assert.equal(alive(first), 1022, '1024 with those that came later');
  assert.deepEqual([first[0]!.destroyed, first[1999]!.destroyed, late!.destroyed], [true, false, false]);
});

test('however fast they come, there is an end', async () => {
  const { come, wait } = crowd();
  const first = come(8192);
  assert.equal(alive(first), 8192);
  await wait(0);
  come(100);
  assert.equal(alive(first), 8092);
});

test('who has shown a token is not counted, and never goes', async () => {
  const { come, wait, admit } = crowd();
  const good = come(5000);
  good.forEach(admit);
  come(20_000);
  await wait(1000);
  come(20_000);
  assert.equal(alive(good), 5000);
});

test('those that left make room', async () => {
  const { come, wait } = crowd();
  for (const socket of come(1000)) socket.destroy();
  const next = come(1024);
  await wait(1000);
  assert.equal(alive(next), 1024);
  come(1);
  assert.equal(alive(next), 1023);
});

test('nobody goes before what it sent was read, however late the event loop is', async () => {
  const { come, wait, lose } = crowd();
  const first = come(10_000);
  lose(5000); // the loop stood still for so long
  come(1);
  assert.equal(alive(first), 10_000);
  await wait(0);
  come(1);
  assert.equal(alive(first), 1022);
});
