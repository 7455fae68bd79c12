import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { after, before, test } from 'node:test';
import { dial, inTurn } from '../../../src/image/dial.ts';

let server: Server;
let port: number;
before(async () => {
  server = createServer((socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  ({ port } = server.address() as { port: number });
});
after(() => {
  server.close();
});

test('families in turn, the one that the resolver has first leading', () => {
  assert.deepEqual(inTurn(['::1', '::2', '1.1.1.1', '2.2.2.2', '3.3.3.3']), [
    '::1',
    '1.1.1.1',
    '::2',
    '2.2.2.2',
    '3.3.3.3',
  ]);
  assert.deepEqual(inTurn(['1.1.1.1', '::1']), ['1.1.1.1', '::1']);
  assert.deepEqual(inTurn([]), []);
});

test('addresses that refuse, of either family, give way at once', async () => {
  const socket = await dial('r.example', port, 10_000, { addressesOf: async () => ['127.0.0.2', '::1', '127.0.0.1'] });
  assert.equal(socket.remoteAddress, '127.0.0.1');
  socket.destroy();
});

test('every address, its port and what came of it are named', async () => {
  await assert.rejects(
    dial('r.example', 1, 10_000, { addressesOf: async () => ['127.0.0.1', '::1'] }),
    (error: Error) => /r\.example: 127\.0\.0\.1:1: .*ECONNREFUSED.*; \[::1\]:1: \S/.test(error.message),
  );
  await assert.rejects(dial('r.example', 1, 10_000, { addressesOf: async () => [] }), /r\.example: it has no address/);
  await assert.rejects(
    dial('r.example', 1, 10_000, { addressesOf: async () => Promise.reject(new Error('no such zone')) }),
    /no such zone/,
  );
});

test('nothing takes longer than it may', async () => {
  await assert.rejects(
    dial('r.example', port, 50, { addressesOf: () => new Promise(() => {}) }),
    /Looking up r\.example did not finish within 0\.05 s/,
  );
});
