import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
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
