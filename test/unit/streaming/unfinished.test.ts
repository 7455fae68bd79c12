import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { Unfinished } from '../../../src/streaming/unfinished.ts';

const MiB = 2 ** 20;

function connected(unfinished: Unfinished) {
  const transport = new EventEmitter();
  const ends: number[] = [];
  const closes = { close: (code: number) => ends.push(code), terminate: () => transport.emit('close') };
  const socket = Object.assign(new EventEmitter(), closes);
  unfinished.watch(socket as unknown as WebSocket, transport as unknown as Duplex);
  const gets = (bytes: number) => transport.emit('data', { length: bytes });
  const pings = (bytes: number) => socket.emit('ping', Buffer.alloc(bytes));
  return { gets, message: () => socket.emit('message'), pings, leaves: () => transport.emit('close'), ends };
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

test('a ping among the parts of a message does not make it whole', { timeout: 20_000 }, async () => {
  const unfinished = new Unfinished(6 * MiB);
  const sockets = new WebSocketServer({ noServer: true });
  const server = createServer().listen(0, '127.0.0.1');
  server.on('upgrade', (request, transport, head) => {
    sockets.handleUpgrade(request, transport, head, (socket) => unfinished.watch(socket, transport));
  });
  await once(server, 'listening');
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  try {
    await once(client, 'open');
    const closed = once(client, 'close');
    client.on('error', () => {}); // it writes on while it is ended
    for (let part = 0; part < 10; part++) {
      client.send(Buffer.alloc(MiB), { fin: false });
      client.ping(Buffer.alloc(125));
    }
    const pong = Promise.withResolvers<[string]>();
    let pongs = 0;
    client.on('pong', () => ++pongs === 10 && pong.resolve(['all of it was kept']));
    assert.notEqual((await Promise.race([closed, pong.promise]))[0], 'all of it was kept');
  } finally {
    client.terminate();
    server.close();
  }
});

test('pings alone hold nothing, however many', () => {
  const unfinished = new Unfinished(20 * MiB);
  const one = connected(unfinished);
  for (let i = 0; i < 1000; i++) {
    one.gets(131);
    one.pings(125);
  }
  one.gets(20 * MiB);
  assert.deepEqual(one.ends, []);
});

test('who has sent whole messages and waits holds nothing', { timeout: 20_000 }, async () => {
  const unfinished = new Unfinished(6 * MiB);
  const sockets = new WebSocketServer({ noServer: true });
  const server = createServer().listen(0, '127.0.0.1');
  const handed = Promise.withResolvers<void>();
  server.on('upgrade', (request, transport, head) => {
    sockets.handleUpgrade(request, transport, head, (socket) => {
      unfinished.watch(socket, transport);
      socket.on('message', () => handed.resolve());
    });
  });
  await once(server, 'listening');
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  try {
    await once(client, 'open');
    client.send(Buffer.alloc(1000));
    await handed.promise;
    await new Promise(setImmediate); // all listeners of that chunk have run
    const other = connected(unfinished);
    other.gets(6 * MiB);
    assert.deepEqual(other.ends, []);
  } finally {
    client.terminate();
    server.close();
  }
});
