import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
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
  const wait = (ms: number) => {
    now += ms;
  };
  const admit = (socket: FakeSocket) => newcomers.admit(socket as unknown as Socket);
  return { come, wait, admit };
}
const alive = (sockets: readonly FakeSocket[]) => sockets.filter(({ destroyed }) => !destroyed).length;

test('the oldest silent ones go when too many are there, not before half a second', () => {
  const { come, wait } = crowd();
  const first = come(2000);
  assert.equal(alive(first), 2000);
  wait(499);
  come(1);
  assert.equal(alive(first), 2000);
  wait(1);
  const [late] = come(1);
  assert.equal(alive(first), 1022, '1024 with those that came later');
  assert.deepEqual([first[0]!.destroyed, first[1999]!.destroyed, late!.destroyed], [true, false, false]);
});

test('however fast they come, there is an end', () => {
  const { come } = crowd();
  const first = come(8192);
  assert.equal(alive(first), 8192);
  come(100);
  assert.equal(alive(first), 8092);
});

test('who has shown a token is not counted, and never goes', () => {
  const { come, wait, admit } = crowd();
  const good = come(5000);
  good.forEach(admit);
  come(20_000);
  wait(1000);
  come(20_000);
  assert.equal(alive(good), 5000);
});

test('those that left make room', () => {
  const { come, wait } = crowd();
  for (const socket of come(1000)) socket.destroy();
  const next = come(1024);
  wait(1000);
  assert.equal(alive(next), 1024);
  come(1);
  assert.equal(alive(next), 1023);
});
