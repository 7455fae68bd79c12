// Whole pulls from servers that answer in every way that Go's clients take: in plain http, by TLS, and through proxies of both kinds.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { ownHost } from '../harness/own-host.ts';
import { type Certificate, makeCertificate } from '../registry/certificate.ts';
import { startForwarder } from '../registry/forwarder.ts';
import { image, layer } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { file, tar } from '../registry/tar.ts';

await ownHost();

const built = image([layer(tar(file('noise', randomBytes(300_000))), 'none')]);
const documents = new Map([
  ['manifests/v1', { type: built.mediaType, body: built.manifest.data }],
  ...[built.config, ...built.layers.map(({ blob }) => blob)].map(
    ({ digest, data }) => [`blobs/${digest}`, { type: 'application/octet-stream', body: data }] as const,
  ),
]);

let certificate: Certificate;
let folder: string;
const environment = { ...process.env };
before(() => {
  certificate = makeCertificate();
  folder = mkdtempSync(join(tmpdir(), 'berth-answers-'));
  writeFileSync(join(folder, 'bundle.pem'), certificate.cert);
});
after(() => rmSync(folder, { recursive: true }));

type Answer = { readonly pieces: readonly (string | Buffer)[]; readonly ends: boolean };
type Shape = (body: Buffer, type: string) => Answer;

const fields = (type: string) => `Content-Type: ${type}\r\n`;
const sized = (body: Buffer, type: string) => `${fields(type)}Content-Length: ${body.length}\r\n`;
const ended = (...pieces: (string | Buffer)[]): Answer => ({ pieces, ends: true });
const kept = (...pieces: (string | Buffer)[]): Answer => ({ pieces, ends: false });

/** In two chunks, with what may stand between them. */
const chunks = (body: Buffer, extension = '', trailers = ''): (string | Buffer)[] => [
  `00A${extension}\r\n`,
  body.subarray(0, 10),
  `\r\n${(body.length - 10).toString(16).toUpperCase()}${extension}\r\n`,
  body.subarray(10),
  `\r\n0${extension}\r\n${trailers}\r\n`,
];

const chunked = (type: string) => `HTTP/1.1 200 OK\r\n${fields(type)}Transfer-Encoding: chunked\r\n`;

const shapes: Readonly<Record<string, Shape>> = {
  'HTTP/1.0 with a length': (body, type) => ended(`HTTP/1.0 200 OK\r\n${sized(body, type)}\r\n`, body),
  'HTTP/1.0 up to the end of the connection': (body, type) => ended(`HTTP/1.0 200 OK\r\n${fields(type)}\r\n`, body),
  'HTTP/1.0 on a connection that is kept': (body, type) =>
    kept(`HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n${sized(body, type)}\r\n`, body),
  'HTTP/1.1 up to the end of the connection': (body, type) =>
    ended(`HTTP/1.1 200 OK\r\nConnection: close\r\n${fields(type)}\r\n`, body),
  'HTTP/1.1 without a length, and no word that the connection ends': (body, type) =>
    ended(`HTTP/1.1 200 OK\r\n${fields(type)}\r\n`, body),
  'a close that is said and does not come': (body, type) =>
    kept(`HTTP/1.1 200 OK\r\nConnection: close\r\n${sized(body, type)}\r\n`, body),
  'a close that is not said': (body, type) => ended(`HTTP/1.1 200 OK\r\n${sized(body, type)}\r\n`, body),
  '100 first': (body, type) => kept(`HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n${sized(body, type)}\r\n`, body),
  '102 and 103, and 103 again': (body, type) =>
    kept(
      'HTTP/1.1 102 Processing\r\n\r\n',
      'HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n'.repeat(2),
      `HTTP/1.1 200 OK\r\n${sized(body, type)}\r\n`,
      body,
    ),
  '103, then HTTP/1.0 up to the end of the connection': (body, type) =>
    ended(`HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 200 OK\r\n${fields(type)}\r\n`, body),
  'chunks, with leading zeros and in capitals': (body, type) => kept(`${chunked(type)}\r\n`, ...chunks(body)),
  'chunks with extensions': (body, type) => kept(`${chunked(type)}\r\n`, ...chunks(body, ';sum=1;name="a \\" b";flag')),
  'chunks with blanks and anything in their extensions': (body, type) =>
    kept(`${chunked(type)}\r\n`, ...chunks(body, '; sum = 1 ;;{"a":"b"}')),
  'chunks, and trailers whose names have blanks': (body, type) =>
    kept(`${chunked(type)}\r\n`, ...chunks(body, '', 'Check Sum: 1\r\nX-More: 2\r\n')),
  'blanks in the name of a field, two before the status': (body, type) =>
    kept(`HTTP/1.1  200 OK\r\nServer Time: 3\r\n folded\r\n${sized(body, type)}\r\n`, body),
  '700 KB of headers': (body, type) =>
    kept(`HTTP/1.1 200 OK\r\nX-Policy: ${'y'.repeat(7e5)}\r\n${sized(body, type)}\r\n`, body),
  'something behind the body': (body, type) => kept(`HTTP/1.1 200 OK\r\n${sized(body, type)}\r\n`, body, 'garbage'),
  'chunks and trailers': (body, type) =>
    kept(`${chunked(type)}Trailer: X-Sum\r\n\r\n`, ...chunks(body, '', 'X-Sum: 1\r\nX-More: 2\r\n')),
  'chunks, extensions, trailers and the end': (body, type) =>
    ended(`${chunked(type)}Connection: close\r\n\r\n`, ...chunks(body, ';a=b', 'X-Sum: 1\r\n')),
  'a length twice, behind 103': (body, type) =>
    kept(
      `HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n${sized(body, type)}content-length: ${body.length}\r\n\r\n`,
      body,
    ),
  'by a proxy that has touched it (203)': (body, type) =>
    kept(`HTTP/1.1 203 Non-Authoritative Information\r\nVia: 1.1 x\r\n${sized(body, type)}\r\n`, body),
  'by one that says that it has changed something (226)': (body, type) =>
    kept(`HTTP/1.1 226 IM Used\r\n${sized(body, type)}\r\n`, body),
  'no reason, line feeds alone': (body, type) =>
    kept(`HTTP/1.1 200\n${sized(body, type).replaceAll('\r', '')}\n`, body),
};

type Side = { readonly port: number; readonly asked: string[] } & AsyncDisposable;

/** Answers requests for the image in one shape. */
async function serve(shape: Shape, tls: Certificate | null): Promise<Side> {
  const asked: string[] = [];
  const open = new Set<Socket>();
  const answer = (socket: Socket) => {
    open.add(socket);
    let text = '';
    socket.on('error', () => {}).on('close', () => open.delete(socket));
    socket.on('data', (data: Buffer) => {
      text += data.toString('latin1');
      if (!text.endsWith('\r\n\r\n')) return;
      const [, path = ''] = /^GET (?:http:\/\/[^/]+)?\/v2\/app\/([^ ?]+)/.exec(text) ?? [];
      asked.push(text);
      text = '';
      const found = documents.get(path);
      const { pieces, ends } = found
        ? shape(found.body, found.type)
        : ended('HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n');
      for (const piece of pieces) socket.write(piece);
      if (ends) socket.end();
    });
  };
  const server = tls ? createTlsServer(tls, answer) : createServer(answer);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    [Symbol.asyncDispose]: async () => {
      for (const socket of open) socket.destroy();
      await once(server.close(), 'close');
    },
  };
}

type Way = {
  readonly isTls: boolean;
  /** Of the server of r.example, by the port where it listens. */
  readonly server: (port: number) => string;
  /** The variable, and whether the proxy speaks TLS; it is told the whole address where it makes no tunnels. */
  readonly proxy?: readonly [name: string, isTls: boolean];
};
const ways: Readonly<Record<string, Way>> = {
  'in plain http': { isTls: false, server: (port) => `http://127.0.0.1:${port}` },
  'by TLS': { isTls: true, server: (port) => `https://127.0.0.1:${port}` },
  'by TLS through a proxy': { isTls: true, server: () => 'https://r.example', proxy: ['HTTPS_PROXY', false] },
  'by TLS through a proxy of https': { isTls: true, server: () => 'https://r.example', proxy: ['HTTPS_PROXY', true] },
  'from a proxy': { isTls: false, server: () => 'http://r.example', proxy: ['HTTP_PROXY', false] },
  'from a proxy of https': { isTls: true, server: () => 'http://r.example', proxy: ['HTTP_PROXY', true] },
};

for (const [how, { isTls, server, proxy }] of Object.entries(ways)) {
  describe(`an image ${how}`, () => {
    after(() => {
      process.env = { ...environment };
    });
    for (const [name, shape] of Object.entries(shapes)) {
      test(`is pulled: ${name}`, { timeout: 20_000 }, async () => {
        await using side = await serve(shape, isTls ? certificate : null);
        const isTunnel = proxy?.[0] === 'HTTPS_PROXY';
        const options = { to: side.port, ...(proxy?.[1] ? { tls: certificate } : {}) };
        await using forwarder = isTunnel ? await startForwarder(options) : null;
        process.env = { ...environment, SSL_CERT_FILE: join(folder, 'bundle.pem') };
        for (const each of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) {
          delete process.env[each];
          delete process.env[each.toLowerCase()];
        }
        if (proxy) process.env[proxy[0]] = `http${proxy[1] ? 's' : ''}://u:p@127.0.0.1:${forwarder?.port ?? side.port}`;
        await using store = await Store.open();
        store.hosts('r.example', `server = "${server(side.port)}"\n${isTunnel ? 'skip_verify = true\n' : ''}`);
        assert.equal((await store.pull('r.example/app:v1')).id, built.config.digest);
        const secret = 'Proxy-Authorization: Basic dTpw';
        if (forwarder) assert.ok(forwarder.asked.every((head) => head.includes(secret)));
        // What is behind a tunnel never sees what is for the proxy.
        for (const head of side.asked)
          assert.equal(/proxy-authorization/i.test(head), proxy !== undefined && !isTunnel);
      });
    }
  });
}

describe('a pull that is called off', () => {
  after(() => {
    process.env = { ...environment };
  });
  for (const isMute of [false, true]) {
    test(`while ${isMute ? 'a proxy' : 'what is behind a tunnel'} is silent leaves no connection`, {
      timeout: 20_000,
    }, async () => {
      await using forwarder = await startForwarder({ isMute });
      process.env.HTTPS_PROXY = `http://127.0.0.1:${forwarder.port}`;
      await using store = await Store.open();
      store.hosts('r.example', 'server = "https://r.example"\n');
      const leave = new AbortController();
      const connected = forwarder.connected();
      const pull = store.pull('r.example/app:v1', leave.signal);
      pull.catch(() => {});
      await connected;
      leave.abort(new Error('enough'));
      await assert.rejects(pull, /enough/);
      await forwarder.abandoned();
    });
  }
});
