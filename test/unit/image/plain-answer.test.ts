import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type Duplex, duplexPair } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { PlainAnswer } from '../../../src/image/plain-answer.ts';

/** What is read of `pieces`, which the server sends one by one. */
async function heard(pieces: readonly string[]): Promise<string> {
  const [client, server] = duplexPair();
  const read = buffer(new PlainAnswer(client));
  for (const piece of pieces) await new Promise((resolve) => server.write(Buffer.from(piece, 'latin1'), resolve));
  server.end();
  return (await read).toString('latin1');
}

const answer = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Owner: Andr\xe9\r\ncontent-length:5\r\n\r\nhel\xff\0';
const meant = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Owner: Andr\xe9\r\n\r\nhel\xff\0';

test('the same length is said once, however the bytes come', async () => {
  assert.equal(await heard([answer]), meant);
  assert.equal(await heard([...answer]), meant);
  for (let at = 1; at < answer.length; at++) assert.equal(await heard([answer.slice(0, at), answer.slice(at)]), meant);
});

test('after an answer that is not the last one too', async () => {
  const interim = 'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n';
  assert.equal(await heard([interim + answer]), interim + meant);
  assert.equal(await heard([...interim, ...answer]), interim + meant);
});

test('what differs is left to be refused, and a body is left alone', async () => {
  const two = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello';
  assert.equal(await heard([two]), two);
  const body = 'HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nab';
  assert.equal(await heard([body]), body);
});

test('chunks lose what stands behind their size, and trailers go, however the bytes come', async () => {
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
  const sent = `${head}5 ; a = b\r\nhe;\n\xff\r\n00A;{"x":1}\r\n0123456789\r\n0;\r\nCheck Sum: 1\r\nX: 2\r\n\r\n`;
  const plain = `${head}5\r\nhe;\n\xff\r\n00A\r\n0123456789\r\n0\r\n\r\n`;
  assert.equal(await heard([sent]), plain);
  assert.equal(await heard([...sent]), plain);
  for (let at = 1; at < sent.length; at++) assert.equal(await heard([sent.slice(0, at), sent.slice(at)]), plain);
});

test('what is no size of a chunk, or has no end, is left to be refused', async () => {
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
  for (const body of [
    '0x5\r\nhello\r\n',
    '-1\r\nx',
    ';\r\nx',
    `5;${'y'.repeat(5000)}\r\nhello`,
    '5\r\nhel',
    '5\r\nhello\r\n7',
  ])
    assert.equal(await heard([head + body]), head + body);
});

test('a field whose name has blanks goes with its other lines; blanks before the status are one', async () => {
  const sent = 'HTTP/1.1   200 OK\r\nServer Time: 3\r\n more: of it\r\nContent-Length : 5\r\nX: y z: 1\r\n\r\nhello';
  assert.equal(await heard([sent]), 'HTTP/1.1 200 OK\r\nContent-Length : 5\r\nX: y z: 1\r\n\r\nhello');
});

test('a head without an end is passed on, and one that breaks off', async () => {
  const long = `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(300 * 1024)}`;
  assert.equal(await heard([long.slice(0, 1000), long.slice(1000), 'z']), `${long}z`);
  assert.equal(await heard(['HTTP/1.1 200 OK\r\nX: y']), 'HTTP/1.1 200 OK\r\nX: y');
});

test('who reads slowly stops the server, and gets all', async () => {
  const [client, server] = duplexPair();
  const line = new PlainAnswer(client);
  server.write('HTTP/1.1 200 OK\r\n\r\n');
  let sent = 0;
  while (server.write(Buffer.alloc(16 * 1024)) && sent < 1000) sent++;
  assert.ok(sent < 1000, 'it took everything');
  server.end();
  client.once('end', () => client.destroy()); // as a socket does
  let bytes = 0;
  for await (const chunk of line) bytes += (chunk as Buffer).length;
  assert.equal(bytes, 19 + (sent + 1) * 16 * 1024);
});

test('requests go through, and an end or a failure of either side is the other one’s', async () => {
  const pair = (): [PlainAnswer, Duplex, Duplex] => {
    const [client, server] = duplexPair();
    return [new PlainAnswer(client), client, server];
  };
  const [line, , server] = pair();
  line.end('GET / HTTP/1.1\r\n\r\n');
  assert.equal((await buffer(server)).toString(), 'GET / HTTP/1.1\r\n\r\n');
  const [failing, client] = pair();
  const failed = once(failing, 'error');
  client.destroy(new Error('reset'));
  assert.match(String((await failed)[0]), /reset/);
  const [left, below] = pair();
  left.destroy();
  await once(below, 'close');
});
