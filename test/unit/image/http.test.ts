import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ownEndpoint } from '../../../src/image/hosts.ts';
import { HttpClient } from '../../../src/image/http.ts';

const forever = new AbortController().signal;
const body = Buffer.alloc(4 * 1024 * 1024, 'of a layer ');
const server = createServer((_request, response) => response.end(body));
before(async () => once(server.listen(0, '127.0.0.1'), 'listening'));
after(() => server.close());

test('What was read from a connection is let go once it was parsed, and every byte is there', async () => {
  using http = new HttpClient({ answerMs: 60_000, progressMs: 60_000 });
  const { port } = server.address() as AddressInfo;
  for (let time = 0; time < 2; time++) {
    const response = await http.send(null, new URL(`http://127.0.0.1:${port}/`), { signal: forever });
    const read: Buffer[] = [];
    const { socket } = response.body;
    assert.equal(socket.listenerCount('data'), 2); // the parser's and ours, on a kept connection too
    const keep = (data: Buffer) => void read.push(data);
    socket.on('data', keep);
    const parts = await Array.fromAsync(http.chunks(response, forever));
    assert.ok(Buffer.concat(parts).equals(body));
    assert.ok(read.length > 10);
    assert.ok(
      read.slice(0, -1).every((data) => data.length === 0 || data.length < data.buffer.byteLength),
      'one is whole',
    );
    socket.off('data', keep);
  }
});

test('a request that waits for a free connection is not taken for one that nobody answers', {
  timeout: 20_000,
}, async () => {
  const held: ServerResponse[] = [];
  const sixteen = Promise.withResolvers<void>();
  const slow = createServer((_request, response) => {
    held.push(response);
    if (held.length === 16) sixteen.resolve();
    if (held.length > 16) response.end('late');
  });
  await once(slow.listen(0, '127.0.0.1'), 'listening');
  const { port } = slow.address() as AddressInfo;
  using http = new HttpClient({ answerMs: 60_000, progressMs: 60_000 });
  const [own] = await ownEndpoint(`127.0.0.1:${port}`);
  const endpoint = { ...own!, dialTimeoutMs: 200 };
  const ask = async () => {
    const response = await http.send(endpoint, new URL(`http://127.0.0.1:${port}/`), { signal: forever });
    return (await http.read(response, 10, forever)).toString();
  };
  const first = Array.from({ length: 16 }, ask);
  await sixteen.promise;
  const last = ask();
  last.catch(() => {});
  await sleep(1500); // far more than dialling may take
  for (const response of held) response.end('held');
  assert.deepEqual(await Promise.all(first), Array(16).fill('held'));
  assert.equal(await last, 'late');
  slow.close();
});
