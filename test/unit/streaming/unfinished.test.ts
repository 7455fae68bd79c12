import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import type { WebSocket } from 'ws';
import { Unfinished } from '../../../src/streaming/unfinished.ts';

const MiB = 2 ** 20;

function connected(unfinished: Unfinished) {
  const transport = new EventEmitter();
  const ends: number[] = [];
  const closes = { close: (code: number) => ends.push(code), terminate: () => transport.emit('close') };
  const socket = Object.assign(new EventEmitter(), closes);
  unfinished.watch(socket as unknown as WebSocket, transport as unknown as Duplex);
  const gets = (bytes: number) => transport.emit('data', { length: bytes });
  return { gets, message: () => socket.emit('message'), leaves: () => transport.emit('close'), ends };
}

test('of all unfinished messages so much is kept; who has little of it stays', () => {
  const unfinished = new Unfinished(20 * MiB);
  const [one, two, small] = [connected(unfinished), connected(unfinished), connected(unfinished)];
  one.gets(10 * MiB);
  two.gets(10 * MiB);
  assert.deepEqual([one.ends, two.ends], [[], []]);
  small.gets(4 * MiB);
  assert.deepEqual(small.ends, []);
  two.gets(1);
  assert.deepEqual([one.ends, two.ends], [[], [1013]]);
  one.gets(5 * MiB);
  assert.deepEqual(one.ends, [], 'what the other held is given back');
});

test('what is whole, and who leaves, holds nothing', () => {
  const unfinished = new Unfinished(20 * MiB);
  const [one, two] = [connected(unfinished), connected(unfinished)];
  for (let i = 0; i < 10; i++) {
    one.gets(15 * MiB);
    one.message();
  }
  two.gets(15 * MiB);
  two.leaves();
  one.gets(20 * MiB);
  assert.deepEqual([one.ends, two.ends], [[], []]);
});
