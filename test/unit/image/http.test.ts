import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ownEndpoint } from '../../../src/image/hosts.ts';
import { HttpClient } from '../../../src/image/http.ts';
import { makeCertificate } from '../../registry/certificate.ts';

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

test('kept connections that were all closed meanwhile are no reason to give up', async () => {
  const many = 8;
  const held: ServerResponse[] = [];
  const used = new Set<unknown>();
  const forgetful = createServer(({ socket }, response) => {
    if (used.has(socket)) return void socket.resetAndDestroy();
    used.add(socket);
    if (held.length >= many) return void response.end('again');
    held.push(response);
    if (held.length === many) for (const each of held) each.end('first');
  });
  await once(forgetful.listen(0, '127.0.0.1'), 'listening');
  const { port } = forgetful.address() as AddressInfo;
  using http = new HttpClient({ answerMs: 60_000, progressMs: 60_000 });
  const ask = async () => {
    const response = await http.send(null, new URL(`http://127.0.0.1:${port}/`), { signal: forever });
    return (await http.read(response, 10, forever)).toString();
  };
  assert.deepEqual(await Promise.all(Array.from({ length: many }, ask)), Array(many).fill('first'));
  assert.equal(await ask(), 'again');
  forgetful.close();
});

const odd = 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nodd';
/** Answers oddly once so many requests are here, and from then on each at once. */
async function oddServer(together: number) {
  const first: Socket[] = [];
  let seen = 0;
  const oddly = createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      if (++seen > together) return void socket.end(odd);
      first.push(socket);
      if (seen === together) for (const each of first) each.end(odd);
    });
  });
  await once(oddly.listen(0, '127.0.0.1'), 'listening');
  const { port } = oddly.address() as AddressInfo;
  return { port, seen: () => seen, [Symbol.dispose]: () => void oddly.close() };
}

test('what was asked before anybody knew that the answers are odd is asked again, each of it', async () => {
  using oddly = await oddServer(4);
  using http = new HttpClient({ answerMs: 60_000, progressMs: 60_000 });
  const ask = async () => {
    const response = await http.send(null, new URL(`http://127.0.0.1:${oddly.port}/`), { signal: forever });
    return (await http.read(response, 10, forever)).toString();
  };
  assert.deepEqual(await Promise.all(Array.from({ length: 4 }, ask)), Array(4).fill('odd'));
  assert.equal(oddly.seen(), 8);
});

const failings: Readonly<Record<string, readonly [RequestListener, RegExp]>> = {
  'hangs up': [({ socket }) => void socket.destroy(), /^Cannot talk to /],
  'says nothing': [() => {}, / did not answer within 0\.5 s$/],
  'breaks off': [
    (_request, response) =>
      void response.writeHead(200, { 'content-length': 10 }).write('half', () => response.destroy()),
    /^Cannot talk to /,
  ],
  'stands still': [(_request, response) => void response.writeHead(200).write('half'), / sent nothing for 0\.5 s$/],
};
const certificate = makeCertificate();
for (const [name, [answer, words]] of Object.entries(failings)) {
  for (const scheme of ['http', 'https'] as const) {
    test(`of a server that ${name} (${scheme}) the error says the address`, async () => {
      const failing = scheme === 'http' ? createServer(answer) : createTlsServer(certificate, answer);
      await once(failing.listen(0, '127.0.0.1'), 'listening');
      const { port } = failing.address() as AddressInfo;
      const [own] = await ownEndpoint(`localhost:${port}`);
      using http = new HttpClient({ answerMs: 500, progressMs: 500 });
      const asked = async () => {
        const url = new URL(`${scheme}://localhost:${port}/`);
        await http.read(await http.send(own!, url, { signal: forever }), 100, forever);
      };
      await assert.rejects(asked(), (error: Error) => {
        assert.match(error.message, words);
        assert.ok(error.message.includes(`localhost:${port} (127.0.0.1:${port})`), error.message);
        return true;
      });
      failing.closeAllConnections();
      failing.close();
    });
  }
}
