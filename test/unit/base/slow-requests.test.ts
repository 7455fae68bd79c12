// Connections to the daemon's own HTTP servers are not held for nothing. That no clock ticks while there are none, own-metrics.test.ts sees.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { endSlow, withoutInterval } from '../../../src/base/slow-requests.ts';

const ms = 200;

async function serving() {
  const server = createServer({ ...withoutInterval }, (_, response) => void response.end('here'));
  const stays = endSlow(server, ms);
  server.on('upgrade', (_, socket: Socket) => {
    stays(socket);
    socket.write('upgraded');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = async () => {
    const socket = connect(port, '127.0.0.1')
      .on('error', () => {})
      .setEncoding('latin1');
    await once(socket, 'connect');
    return socket;
  };
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  return { client, stop, [Symbol.dispose]: stop };
}
/** How long it takes until the other side ends a connection; a reset is an end too, where events.once would reject. */
async function ended(socket: Socket): Promise<number> {
  const begin = performance.now();
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
  return performance.now() - begin;
}

test('a connection that says nothing is ended, and so is one that trickles', async () => {
  using server = await serving();
  const [silent, trickling] = [await server.client(), await server.client()];
  trickling.write('GET / HTTP/1.1\r\n');
  const drops = setInterval(() => trickling.write('a: b\r\n'), ms / 10);
  trickling.once('close', () => clearInterval(drops));
  for (const took of await Promise.all([ended(silent), ended(trickling)])) assert.ok(took > ms / 2 && took < 20 * ms);
});

test('an answer gives another turn', async () => {
  using server = await serving();
  const socket = await server.client();
  for (let request = 0; request < 4; request++) {
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const [answer] = await once(socket, 'data');
    assert.match(answer, /^HTTP\/1\.1 200/);
    await delay(ms / 2);
  }
  await ended(socket);
});

test('one that is something else by now stays', async () => {
  using server = await serving();
  const socket = await server.client();
  socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
  assert.equal((await once(socket, 'data'))[0], 'upgraded');
  assert.equal(await Promise.race([ended(socket), delay(3 * ms, 'stays')]), 'stays');
  socket.destroy();
});
