// What an endpoint may do to who sends it something: each ends with an answer, in time, with little read and nothing followed.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import {
  createSecureServer,
  createServer as createServer2,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { createServer as createSecure } from 'node:https';
import { type AddressInfo, connect, createServer as createTcp, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { mostOfAnswer, type Outside, type Send } from '../../../src/tracing/endpoint.ts';
import { overGrpc } from '../../../src/tracing/send-grpc.ts';
import { overHttp } from '../../../src/tracing/send-http.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-otlp-'));
let tls: { key: Buffer; cert: Buffer };
before(() => {
  const [key, cert] = [join(folder, 'key'), join(folder, 'cert')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  execFileSync(
    '/usr/bin/openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', cert, ...subject],
    { stdio: 'ignore' },
  );
  tls = { key: readFileSync(key), cert: readFileSync(cert) };
});
after(() => rmSync(folder, { recursive: true }));

const outside = (authorities: readonly string[] = []): Outside => ({
  authorities: async () => authorities,
  dial: async (host, port) => {
    const socket = connect({ host, port });
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  },
});

/** A server at a port of its own, and what has connected to it. */
async function serving(t: TestContext, server: Server, scheme = 'http') {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  server.on('sessionError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: new URL(`${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`), sockets };
}

const body = Buffer.from('a request');
const patient = () => AbortSignal.timeout(30_000);
const http = (t: TestContext, listener: RequestListener) => serving(t, createServer(listener));
const partly = Buffer.from([0x0a, 0x06, 0x08, 0x03, 0x12, 0x02, 0x6e, 0x6f]); // partial_success { rejected_spans: 3, error_message: "no" }

describe('OTLP over HTTP', () => {
  test('what is taken, as a whole and in part', async (t) => {
    let [asked, given] = ['', ''];
    const { url } = await http(t, async (request, response) => {
      asked = `${request.method} ${request.url} ${request.headers['content-type']}`;
      given = Buffer.concat(await request.toArray()).toString();
      response.end(given === 'a request' ? '' : partly);
    });
    const send = overHttp(url, outside());
    assert.deepEqual(await send(body, patient()), { taken: true, refused: 0, why: '' });
    assert.equal(asked, 'POST /v1/traces application/x-protobuf');
    assert.equal(given, 'a request');
    const part = await send(Buffer.from('another'), patient());
    assert.deepEqual(part, { taken: true, refused: 3, why: '3 refused: no' });
    await overHttp(new URL('/elsewhere', url), outside())(body, patient());
    assert.match(asked, /^POST \/elsewhere /);
  });

  test('a status says whether to come again; a redirect leads nowhere', async (t) => {
    let followed = 0;
    const trap = await http(t, (_, response) => {
      followed++;
      response.end();
    });
    const { url } = await http(t, (request, response) => {
      response.writeHead(Number(request.url!.slice(1)), { location: trap.url.href, 'retry-after': '1000' }).end('no');
    });
    const asked = async (code: number) => overHttp(new URL(`/${code}`, url), outside())(body, patient());
    for (const code of [429, 502, 503, 504])
      assert.deepEqual(await asked(code), { taken: false, again: true, why: `HTTP ${code}` });
    for (const code of [301, 302, 307, 308, 400, 401, 404, 500])
      assert.deepEqual(await asked(code), { taken: false, again: false, why: `HTTP ${code}` });
    assert.equal(followed, 0);
  });

  test('an answer without end is read no further than need be', async (t) => {
    let written = 0;
    const { url } = await http(t, (_, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536))) written += 65_536;
      };
      response.on('drain', more);
      more();
    });
    assert.deepEqual(await overHttp(url, outside())(body, patient()), { taken: true, refused: 0, why: '' });
    assert.ok(written < 200 * mostOfAnswer, `${written} bytes were taken`);
  });

  test('over https: whom the authorities vouch for, and nobody else', async (t) => {
    const server = createSecure(tls, (_, response) => response.end());
    server.on('tlsClientError', () => {});
    const { url } = await serving(t, server, 'https');
    const known = overHttp(url, outside([tls.cert.toString()]));
    assert.equal((await known(body, patient())).taken, true);
    const stranger = await overHttp(url, outside())(body, patient());
    assert.deepEqual([stranger.taken, /self-signed/.test(stranger.why)], [false, true]);
  });
});

describe('OTLP over gRPC', () => {
  type Answering = (stream: ServerHttp2Stream, path: string, body: Buffer) => void;
  const listening = (server: ReturnType<typeof createServer2>, answer: Answering) =>
    server.on('stream', async (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      stream.on('error', () => {});
      answer(stream, String(headers[':path']), Buffer.concat(await stream.toArray()));
    });
  const grpc = (t: TestContext, answer: Answering) => serving(t, listening(createServer2(), answer) as Server);
  const status = (stream: ServerHttp2Stream, code: number, message: Uint8Array = new Uint8Array()) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': code, 'grpc-message': 'words%0A' }));
    stream.end(message);
  };
  const framed = (message: Buffer) => Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);

  test('what is taken, as a whole and in part', async (t) => {
    let asked = '';
    let given: Uint8Array = new Uint8Array();
    const { url } = await grpc(t, (stream, path, body) => {
      [asked, given] = [path, body];
      status(stream, 0, framed(body.length > 14 ? partly : Buffer.alloc(0)));
    });
    const send = overGrpc(url, outside());
    assert.deepEqual(await send(body, patient()), { taken: true, refused: 0, why: '' });
    assert.equal(asked, '/opentelemetry.proto.collector.trace.v1.TraceService/Export');
    assert.deepEqual(given, framed(body));
    assert.deepEqual(await send(Buffer.alloc(99), patient()), { taken: true, refused: 3, why: '3 refused: no' });
  });

  test('a status says whether to come again, also one without an answer', async (t) => {
    let code = 0;
    const { url } = await grpc(t, (stream) => status(stream, code));
    for (code of [1, 4, 8, 10, 11, 14, 15])
      assert.deepEqual(await overGrpc(url, outside())(body, patient()), {
        ...{ taken: false, again: true, why: `gRPC status ${code} words%0A` },
      });
    for (code of [3, 7, 12, 16]) {
      const { taken, ...rest } = await overGrpc(url, outside())(body, patient());
      assert.deepEqual([taken, 'again' in rest && rest.again], [false, false]);
    }
    const bare = await grpc(t, (stream) => stream.respond({ ':status': 200, 'grpc-status': 12 }, { endStream: true }));
    assert.match((await overGrpc(bare.url, outside())(body, patient())).why, /gRPC status 12/);
  });

  test('an answer without end is read no further than need be', async (t) => {
    const { url } = await grpc(t, (stream) => {
      stream.respond({ ':status': 200 });
      const more = () => {
        while (!stream.destroyed && stream.write(Buffer.alloc(65_536)));
      };
      stream.on('drain', more);
      more();
    });
    const { taken, why } = await overGrpc(url, outside())(body, patient());
    assert.equal(taken, false);
    assert.match(why, /more than 65536 bytes/);
  });

  test('over https', async (t) => {
    const server = listening(createSecureServer(tls) as unknown as ReturnType<typeof createServer2>, (s) =>
      status(s, 0),
    );
    server.on('tlsClientError', () => {});
    const { url } = await serving(t, server as Server, 'https');
    assert.deepEqual(await overGrpc(url, outside([tls.cert.toString()]))(body, patient()), {
      ...{ taken: true, refused: 0, why: '' },
    });
    assert.equal((await overGrpc(url, outside())(body, patient())).taken, false);
  });
});

const both: readonly [name: string, over: (url: URL, outside: Outside) => Send][] = [
  ['HTTP', overHttp],
  ['gRPC', overGrpc],
];
for (const [name, over] of both)
  describe(`over ${name}, one that`, () => {
    test('is silent: the caller gives it up, and the connection goes', async (t) => {
      const { url, sockets } = await serving(
        t,
        createTcp((socket) => socket.resume()),
      );
      const { taken, why } = await over(url, outside())(body, AbortSignal.timeout(50));
      assert.equal(taken, false);
      assert.match(why, /took too long/);
      const [socket] = sockets;
      if (!socket!.destroyed) await once(socket!, 'close');
    });

    test('cannot be connected to, for ever', async () => {
      const never: Outside = { ...outside(), dial: () => new Promise(() => {}) };
      const answer = await over(new URL('http://127.0.0.1:1'), never)(body, AbortSignal.timeout(20));
      assert.deepEqual(answer, { taken: false, again: true, why: 'it took too long' });
    });

    test('is not there', async () => {
      const gone: Outside = { ...outside(), dial: async () => Promise.reject(new Error('refused\nand more')) };
      const answer = await over(new URL('http://127.0.0.1:1'), gone)(body, patient());
      assert.deepEqual(answer, { taken: false, again: true, why: 'refused and more' });
    });

    const rude = { 'speaks another language': 'SSH-2.0-x\r\n\r\n', 'hangs up': '' };
    for (const [what, bytes] of Object.entries(rude))
      test(what, async (t) => {
        const { url } = await serving(
          t,
          createTcp((socket) => socket.resume().end(bytes)),
        );
        const answer = await over(url, outside())(body, patient());
        assert.deepEqual([answer.taken, 'again' in answer && answer.again], [false, true]);
        assert.notEqual(answer.why, '');
      });
  });
