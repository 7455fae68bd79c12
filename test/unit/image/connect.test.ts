import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { duplexPair } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { connectBy, type Route } from '../../../src/image/connect.ts';
import { openTunnel } from '../../../src/image/tunnel.ts';
import { type Certificate, makeCertificate } from '../../registry/certificate.ts';
import { type ForwarderOptions, made, startForwarder } from '../../registry/forwarder.ts';

let certificate: Certificate;
before(() => {
  certificate = makeCertificate();
});

const forever = new AbortController().signal;
const trusted = () => ({ ca: certificate.cert, host: '127.0.0.1' });
/** Behind a proxy there is any name. */
const server = { host: 'r.example', port: 443 };
const behind = () => ({ ...server, tls: trusted() });

function through(port: number, isTls = false): Route['proxy'] {
  const url = new URL(`${isTls ? 'https' : 'http'}://127.0.0.1:${port}`);
  return { url, tls: isTls ? trusted() : null };
}

type Silence = {
  readonly options: () => ForwarderOptions;
  readonly route: (port: number) => Route;
  readonly words: RegExp;
};

const silences: Readonly<Record<string, Silence>> = {
  'a server in the TLS handshake': {
    options: () => ({ isMute: true }),
    route: (port) => ({ host: '127.0.0.1', port, tls: trusted(), proxy: null }),
    words: /The TLS handshake with 127\.0\.0\.1 \(127\.0\.0\.1 port \d+\) did not finish/,
  },
  'a proxy that is asked for a tunnel': {
    options: () => ({ answer: [] }),
    route: (port) => ({ ...behind(), proxy: through(port) }),
    words: /a tunnel through the proxy 127\.0\.0\.1:\d+ did not finish/,
  },
  'a proxy in the middle of its answer': {
    options: () => ({ answer: ['HTTP/1.1 200 OK\r\nX-Proxy: ye'] }),
    route: (port) => ({ ...behind(), proxy: through(port) }),
    words: /a tunnel through the proxy 127\.0\.0\.1:\d+ did not finish/,
  },
  'a server in the TLS handshake, inside a tunnel': {
    options: () => ({}),
    route: (port) => ({ ...behind(), proxy: through(port) }),
    words: /The TLS handshake with r\.example \(through the proxy 127\.0\.0\.1:\d+\) did not finish/,
  },
  'a proxy of https in its own handshake': {
    options: () => ({ isMute: true }),
    route: (port) => ({ ...behind(), proxy: through(port, true) }),
    words: /The TLS handshake with the proxy 127\.0\.0\.1 .* did not finish/,
  },
  'a server in the TLS handshake, inside a tunnel of a proxy of https': {
    options: () => ({ tls: certificate }),
    route: (port) => ({ ...behind(), proxy: through(port, true) }),
    words: /The TLS handshake with r\.example \(through the proxy 127\.0\.0\.1:\d+\) did not finish/,
  },
};

describe('the silence of', () => {
  for (const [name, { options, route, words }] of Object.entries(silences)) {
    test(`${name} ends in time, and nothing stays open`, { timeout: 10_000 }, async () => {
      await using forwarder = await startForwarder(options());
      const work = connectBy(route(forwarder.port), { ms: 300, life: forever });
      await assert.rejects(work, { kind: 'DeadlineExceeded', message: words });
      await forwarder.abandoned();
    });

    test(`${name} ends when nobody wants it, and nothing stays open`, { timeout: 10_000 }, async () => {
      await using forwarder = await startForwarder(options());
      const life = new AbortController();
      const connected = forwarder.connected();
      const work = connectBy(route(forwarder.port), { ms: 60_000, life: life.signal });
      work.catch(() => {});
      await connected;
      life.abort(new Error('enough'));
      await assert.rejects(work, /enough/);
      await forwarder.abandoned();
    });
  }
});

test('who is wanted no more is not dialled at all', async () => {
  await using forwarder = await startForwarder({});
  const route = { host: '127.0.0.1', port: forwarder.port, tls: null, proxy: null };
  const life = AbortSignal.abort(new Error('enough'));
  await assert.rejects(connectBy(route, { ms: 60_000, life }), /enough/);
});

describe('a tunnel', () => {
  const answers: Readonly<Record<string, readonly string[]>> = {
    'in one piece': made,
    'byte by byte': [...'HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n'],
    'of HTTP/1.0, without a reason, by line feeds': ['HTTP/1.0 200\nProxy-Agent: old\n\n'],
    'after an interim one': ['HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 ', '200 OK\r\n\r\n'],
  };
  const echo = createServer((socket) => socket.on('error', () => {}).pipe(socket));
  let secureEcho: ReturnType<typeof createTlsServer>;
  before(async () => {
    secureEcho = createTlsServer(certificate, (socket) => socket.on('error', () => {}).pipe(socket));
    await Promise.all([echo, secureEcho].map((each) => once(each.listen(0, '127.0.0.1'), 'listening')));
  });
  after(() => {
    echo.close();
    secureEcho.close();
  });

  for (const isTls of [false, true]) {
    for (const [how, answer] of Object.entries(answers)) {
      test(`by a proxy of ${isTls ? 'https' : 'http'} that answers ${how}`, async () => {
        const { port } = secureEcho.address() as AddressInfo;
        await using forwarder = await startForwarder({ to: port, answer, ...(isTls ? { tls: certificate } : {}) });
        const proxy = through(forwarder.port, isTls)!;
        proxy.url.username = 'user';
        proxy.url.password = 'p@ss \u00e9';
        const socket = await connectBy({ ...behind(), proxy }, { ms: 10_000, life: forever });
        socket.write('hello');
        const [said] = await once(socket, 'data');
        assert.equal(String(said), 'hello');
        socket.destroy();
        await forwarder.abandoned();
        const [head = ''] = forwarder.asked;
        assert.match(head, /^CONNECT r\.example:443 HTTP\/1\.1\r\nHost: r\.example:443\r\n/);
        const [, secret = ''] = /^Proxy-Authorization: Basic (.*)$/m.exec(head) ?? [];
        assert.equal(Buffer.from(secret, 'base64').toString(), 'user:p@ss \u00e9');
      });
    }
  }

  test('leaves what follows its answer to be read', async () => {
    const [client, far] = duplexPair();
    far.write('HTTP/1.1 200 OK\r\n\r\nhello');
    await openTunnel(client, new URL('http://proxy.example'), server);
    assert.equal(String(client.read()), 'hello');
  });

  const refusals: Readonly<Record<string, readonly [answer: string, words: RegExp]>> = {
    'a refusal': ['HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', /it answered HTTP\/1\.1 407 Proxy/],
    'what is no HTTP': ['SSH-2.0-x\r\n\r\n', /no HTTP/],
    'headers without end': [`HTTP/1.1 200 OK\r\n${'X-Y: z\r\n'.repeat(20_000)}`, /more than 65536 bytes/],
  };
  for (const [what, [answer, words]] of Object.entries(refusals)) {
    test(`is not made by ${what}, which is told without the password`, { timeout: 10_000 }, async () => {
      await using forwarder = await startForwarder({ answer: [answer] });
      const proxy = through(forwarder.port)!;
      proxy.url.password = 'secret';
      await assert.rejects(connectBy({ ...behind(), proxy }, { ms: 10_000, life: forever }), (error: Error) => {
        assert.match(error.message, words);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      });
      await forwarder.abandoned();
    });
  }

  test('to a server without TLS is not asked for: the proxy itself is talked to', async () => {
    const { port } = echo.address() as AddressInfo;
    const socket = await connectBy({ ...server, tls: null, proxy: through(port) }, { ms: 10_000, life: forever });
    socket.write('as it is');
    const [said] = await once(socket, 'data');
    assert.equal(String(said), 'as it is');
    socket.destroy();
  });
});
