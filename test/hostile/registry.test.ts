// A registry of ours that misbehaves in every way there is: the right bytes or an error, and no secret to a stranger.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { within } from '../../src/base/deadline.ts';
import { Fault } from '../../src/base/fault.ts';
import type { RegistryAuth } from '../../src/image/index.ts';
import { ownHost } from '../harness/own-host.ts';
import { authOf } from '../registry/auth.ts';
import { image, layer, ociManifest } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { file, tar } from '../registry/tar.ts';

await ownHost();

const noise = randomBytes(600_000);
const built = image([layer(tar(file('noise', noise))), layer(tar(file('b', 'x')))]);
const big = built.layers[0]!.blob;
const blobs = new Map(
  [...built.layers.map(({ blob }) => blob), built.config].map(({ digest, data }) => [digest, data]),
);
const password = 'a-secret-that-must-not-leak';
const secret = authOf({ username: 'user', password });
const basic = Buffer.from(`user:${password}`).toString('base64');

/** What is asked: `manifest`, `config`, `big`, `small`, `token` or something else; and how often that was asked before. */
type Ask = { readonly what: string; readonly times: number; readonly incoming: IncomingMessage };
type Misbehaviour = (ask: Ask, outgoing: ServerResponse) => boolean | Promise<boolean>;

const whatOf = (url: string): string => {
  if (url.includes('/token')) return 'token';
  if (url.includes('/manifests/')) return 'manifest';
  if (url.includes(big.digest)) return 'big';
  if (url.includes(built.config.digest)) return 'config';
  return url.includes('/blobs/') ? 'small' : 'other';
};

class BadRegistry implements AsyncDisposable {
  readonly #server: Server;
  readonly #wantsSecrets: boolean;
  readonly #asked = new Map<string, number>();
  readonly requests: { url: string; headers: IncomingMessage['headers']; body: string }[] = [];
  fault: Misbehaviour = () => false;
  host = '';

  constructor(wantsSecrets: boolean) {
    this.#wantsSecrets = wantsSecrets;
    this.#server = createServer({ maxHeaderSize: 1 << 20 }, (incoming, outgoing) => {
      const what = whatOf(incoming.url ?? '');
      const times = this.#asked.get(what) ?? 0;
      this.#asked.set(what, times + 1);
      const request = { url: incoming.url ?? '', headers: incoming.headers, body: '' };
      this.requests.push(request);
      incoming.on('data', (part: Buffer) => {
        request.body += part;
      });
      Promise.resolve(this.fault({ what, times, incoming }, outgoing))
        .then((done) => done || this.#serve(incoming, outgoing))
        .catch(() => outgoing.destroy());
    });
  }

  /** Whoever asks shows credentials first: every fault happens to a client that has some to lose. */
  #serve(incoming: IncomingMessage, outgoing: ServerResponse): void {
    if (!this.#wantsSecrets || incoming.headers.authorization) serve(incoming, outgoing);
    else outgoing.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end();
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => {
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    this.host = `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  reset(fault: Misbehaviour): void {
    this.fault = fault;
    this.#asked.clear();
    this.requests.length = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}

/** The truth, ranges included. */
function serve({ url = '', headers }: IncomingMessage, outgoing: ServerResponse): void {
  const [, target = ''] = /\/(?:manifests|blobs)\/([^?]+)/.exec(url) ?? [];
  const isManifest = url.includes('/manifests/');
  const data = isManifest ? built.manifest.data : blobs.get(target);
  if (!data) return void outgoing.writeHead(404).end();
  const [, from] = /^bytes=(\d+)-/.exec(headers.range ?? '') ?? [];
  const type = isManifest ? ociManifest : 'application/octet-stream';
  if (from === undefined) {
    return void outgoing.writeHead(200, { 'content-type': type, 'content-length': data.length }).end(data);
  }
  const part = data.subarray(Number(from));
  const range = `bytes ${from}-${data.length - 1}/${data.length}`;
  outgoing.writeHead(206, { 'content-range': range, 'content-length': part.length }).end(part);
}

const registry = new BadRegistry(true);
const stranger = new BadRegistry(false);
let store: Store;
/** Waits for a silent registry no longer than a test can: only where silence is the fault, as a busy machine is silent too. */
let hasty: Store;
before(async () => {
  await registry.listen();
  await stranger.listen();
  store = await Store.open();
  hasty = await Store.open({ progressTimeoutMs: 1500 });
});
after(async () => {
  await store[Symbol.asyncDispose]();
  await hasty[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  await stranger[Symbol.asyncDispose]();
});

/** Only for requests of one kind, and only the first `most` of them. */
const on =
  (what: string, act: (outgoing: ServerResponse, ask: Ask) => void, most = Number.POSITIVE_INFINITY): Misbehaviour =>
  (ask, outgoing) => {
    if (ask.what !== what || ask.times >= most) return false;
    act(outgoing, ask);
    return true;
  };
const status =
  (code: number, headers: Record<string, string> = {}) =>
  (outgoing: ServerResponse) =>
    void outgoing.writeHead(code, headers).end();
const cutAt =
  (bytes: number) =>
  (outgoing: ServerResponse, { incoming }: Ask) => {
    const from = Number(/^bytes=(\d+)-/.exec(incoming.headers.range ?? '')?.[1] ?? 0);
    const headers = { 'content-range': `bytes ${from}-${big.data.length - 1}/${big.data.length}` };
    outgoing.writeHead(from > 0 ? 206 : 200, { ...headers, 'content-length': big.data.length - from });
    outgoing.write(big.data.subarray(from, from + bytes), () => (outgoing.socket as Socket).resetAndDestroy());
  };
const body =
  (data: Buffer, headers: Record<string, string> = {}) =>
  (outgoing: ServerResponse) =>
    void outgoing.writeHead(200, headers).end(data);
const switched = (outgoing: ServerResponse) =>
  void outgoing.socket!.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
const flipped = Buffer.from(big.data);
flipped[300_000]! ^= 1;
const challenge = (header: string) => ({ 'www-authenticate': header });
const bearer = (realm: string) => challenge(`Bearer realm="${realm}",service="s",scope="repository:app:pull"`);
const guarded =
  (token: (outgoing: ServerResponse) => void, headers: () => Record<string, string>): Misbehaviour =>
  ({ what, incoming }, outgoing) => {
    if (what === 'token') token(outgoing);
    else if (incoming.headers.authorization === 'Bearer good') return false;
    else outgoing.writeHead(401, headers()).end();
    return true;
  };
const refuse =
  (headers: Record<string, string>): Misbehaviour =>
  (_ask, outgoing) => {
    outgoing.writeHead(401, headers).end();
    return true;
  };
const here = (path: string) => `http://${registry.host}${path}`;
const there = (path: string) => `http://${stranger.host}${path}`;

/** null: the image comes all the same. */
const faults: Readonly<Record<string, readonly [Misbehaviour, kind: string | null]>> = {
  'the layer is reset once': [on('big', cutAt(100_000), 1), null],
  'the layer is reset at every 90,000 bytes': [on('big', cutAt(90_000)), null],
  'the layer is reset before its first byte, always': [on('big', cutAt(0)), 'Unavailable'],
  'the layer is reset after one byte, thrice': [on('big', cutAt(1), 3), null],
  'the layer ends early without saying so': [on('big', body(big.data.subarray(0, 1000))), 'Unavailable'],
  'the layer is longer': [on('big', body(Buffer.concat([big.data, Buffer.from('more')]))), 'DataLoss'],
  'the layer has one bit changed': [on('big', body(flipped)), 'DataLoss'],
  'the layer is another one': [on('big', body(built.layers[1]!.blob.data)), 'Unavailable'],
  'the layer is a page': [on('big', body(Buffer.from('<html>'))), 'Unavailable'],
  'the layer is empty': [on('big', body(Buffer.alloc(0))), 'Unavailable'],
  'the layer is announced as shorter': [
    on('big', (outgoing) => void outgoing.writeHead(200, { 'content-length': 10 }).end(big.data.subarray(0, 10))),
    'Unavailable',
  ],
  'the rest begins where nobody asked': [
    on('big', (outgoing, ask) =>
      ask.times === 0
        ? cutAt(1000)(outgoing, ask)
        : void outgoing.writeHead(206, { 'content-range': 'bytes 5000-6000/9' }).end(),
    ),
    'FailedPrecondition',
  ],
  'the rest does not say where it begins': [
    on('big', (outgoing, ask) => (ask.times === 0 ? cutAt(1000)(outgoing, ask) : void outgoing.writeHead(206).end())),
    'Unavailable',
  ],
  'the rest is the whole again': [
    on('big', (outgoing, ask) => (ask.times === 0 ? cutAt(1000)(outgoing, ask) : body(big.data)(outgoing))),
    null,
  ],
  'the layer is not there': [on('big', status(404)), 'NotFound'],
  'the layer is forbidden': [on('big', status(403)), 'Unauthenticated'],
  'the manifest is 500, always': [on('manifest', status(500, { 'retry-after': '0' })), 'Unavailable'],
  'the manifest is 503 once': [on('manifest', status(503, { 'retry-after': '0' }), 1), null],
  'the manifest is 429 with Retry-After 1': [on('manifest', status(429, { 'retry-after': '1' }), 1), null],
  'the manifest is 429 with a date gone by': [
    on('manifest', status(429, { 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }), 1),
    null,
  ],
  'the manifest is 429 with nonsense': [on('manifest', status(429, { 'retry-after': 'soon' }), 1), null],
  'the manifest is 429, always': [on('manifest', status(429, { 'retry-after': '0' })), 'ResourceExhausted'],
  'the manifest is 418': [on('manifest', status(418)), 'FailedPrecondition'],
  'the manifest is 204': [on('manifest', status(204)), 'FailedPrecondition'],
  'the connection closes before the answer': [
    on('manifest', (outgoing) => void (outgoing.socket as Socket).resetAndDestroy()),
    'Unavailable',
  ],
  'the answer is no HTTP': [
    on('manifest', (outgoing) => void outgoing.socket!.end('SSH-2.0-x\r\n\r\n')),
    'Unavailable',
  ],
  'the manifest is a switch of protocols': [on('manifest', switched), 'Unavailable'],
  'the layer is a switch of protocols': [on('big', switched), 'Unavailable'],
  'the token is a switch of protocols': [guarded(switched, () => bearer(here('/token'))), 'Unavailable'],
  'the headers are megabytes': [on('manifest', status(200, { 'x-large': 'x'.repeat(2_000_000) })), 'Unavailable'],
  'the encodings are half a million': [
    on('manifest', status(200, { 'content-encoding': 'gzip,'.repeat(150_000) })),
    'Unimplemented',
  ],
  'silence instead of the manifest': [on('manifest', () => {}), 'DeadlineExceeded'],
  'silence in the middle of the layer': [
    on('big', (outgoing) => void outgoing.writeHead(200, { 'content-length': big.data.length }).write('x')),
    'DeadlineExceeded',
  ],
  'redirects in a circle': [
    on('manifest', (outgoing) => status(307, { location: here('/v2/app/manifests/v1') })(outgoing)),
    'FailedPrecondition',
  ],
  'a redirect to a stranger that has the layer': [
    on('big', (outgoing) => status(307, { location: there(`/v2/app/blobs/${big.digest}`) })(outgoing)),
    null,
  ],
  'a redirect to a stranger that has it not': [
    on('big', (outgoing) => status(302, { location: there('/none') })(outgoing)),
    'NotFound',
  ],
  'a redirect with credentials in it': [
    on('big', (outgoing) =>
      status(307, { location: `http://x:y@${stranger.host}/v2/app/blobs/${big.digest}` })(outgoing),
    ),
    null,
  ],
  'a redirect to a file': [on('big', status(307, { location: 'file:///etc/passwd' })), 'FailedPrecondition'],
  'a redirect to nowhere': [on('big', status(307, { location: 'http://' })), 'FailedPrecondition'],
  'a redirect without a place': [on('big', status(307)), 'FailedPrecondition'],
  '401, always': [refuse(challenge('Basic realm="x"')), 'Unauthenticated'],
  '401 without a way': [refuse({}), 'Unauthenticated'],
  '401 with thousands of ways': [refuse(challenge('Basic realm="x",'.repeat(900))), 'Unauthenticated'],
  'a token that never helps': [
    guarded(body(Buffer.from('{"token":"bad"}')), () => bearer(here('/token'))),
    'Unauthenticated',
  ],
  'a token service that is no address': [guarded(status(200), () => bearer('no address')), 'FailedPrecondition'],
  'a token service that is a file': [guarded(status(200), () => bearer('file:///etc/shadow')), 'FailedPrecondition'],
  'a token of megabytes': [
    guarded(body(Buffer.from(`{"token":"${'x'.repeat(2e6)}"}`)), () => bearer(here('/token'))),
    'ResourceExhausted',
  ],
  'a token with a header in it': [
    guarded(body(Buffer.from('{"token":"good\\r\\nx-evil: 1"}')), () => bearer(here('/token'))),
    'Unauthenticated',
  ],
  'a token service that redirects to a stranger': [
    guarded(
      (outgoing) => status(307, { location: there('/token') })(outgoing),
      () => bearer(here('/token')),
    ),
    'Unavailable',
  ],
  'a token, rightly': [guarded(body(Buffer.from('{"token":"good"}')), () => bearer(here('/token'))), null],
};

for (const [name, [fault, kind]] of Object.entries(faults)) {
  test(`a registry where ${name}`, async () => {
    registry.reset(fault);
    stranger.reset(() => false);
    const its = kind === 'DeadlineExceeded' ? hasty : store;
    const pull = its.images.pull({ reference: `${registry.host}/app:v1`, auth: secret });
    if (kind === null) {
      const { id } = await pull;
      assert.ok(readFileSync(join(await its.mount(id), 'noise')).equals(noise));
      its.unmount();
      await its.images.remove(id, () => false);
    } else {
      await assert.rejects(pull, (error: Error) => {
        assert.ok(error instanceof Fault && error.kind === kind, String(error.stack));
        assert.ok(error.message.length < 4096 && !error.message.includes(password), error.message);
        return true;
      });
    }
    assert.deepEqual(its.leftovers(), []);
    assert.deepEqual(its.images.pulls.statuses(), []);
    assert.ok(registry.requests.length < 60, `${registry.requests.length} requests`);
    const shown = JSON.stringify(stranger.requests);
    for (const word of [password, basic, 'Bearer']) assert.ok(!shown.includes(word), `a stranger saw ${word}`);
    assert.ok(
      !JSON.stringify(registry.requests.map(({ url }) => url)).includes(password),
      'the secret is in an address',
    );
  });
}

const kinds: Readonly<Record<string, RegistryAuth>> = {
  'a password': secret,
  'an identity token': { ...secret, username: '', password: '', identityToken: password },
  'a registry token': { ...secret, username: '', password: '', registryToken: password },
};
/** What the end of a redirect asks for; `true`: anybody gets that. */
const wishes: Readonly<Record<string, readonly [() => Record<string, string>, free: boolean]>> = {
  Basic: [() => challenge('Basic realm="stranger"'), false],
  'a token of its own service': [() => challenge(`Bearer realm="${there('/token')}",service="stranger"`), true],
  "a token of the registry's service": [() => challenge(`Bearer realm="${here('/token')}",service="stranger"`), true],
  'a token of a service with credentials in its address': [
    () => challenge(`Bearer realm="http://u:p@${stranger.host}/token",service="stranger"`),
    true,
  ],
  'both, Basic first': [
    () => challenge(`Basic realm="stranger", Bearer realm="${there('/token')}",service="stranger"`),
    true,
  ],
};

for (const [kind, auth] of Object.entries(kinds)) {
  for (const [wish, [asks, free]] of Object.entries(wishes)) {
    for (const what of ['manifest', 'big']) {
      test(`${kind} is for the registry: a redirect of the ${what} ends where ${wish} is wanted`, async () => {
        registry.reset(({ what: asked, incoming }, outgoing) => {
          const { authorization } = incoming.headers;
          if (asked === 'token') outgoing.end(JSON.stringify({ token: authorization ? 'of-home' : 'of-anybody' }));
          else if (!authorization) outgoing.writeHead(401, bearer(here('/token'))).end();
          else if (asked === what) outgoing.writeHead(307, { location: there(incoming.url ?? '') }).end();
          else return false;
          return true;
        });
        stranger.reset(({ what: asked, incoming }, outgoing) => {
          if (asked === 'token') outgoing.end('{"token":"of-anybody"}');
          else if (incoming.headers.authorization === 'Bearer of-anybody') return false;
          else outgoing.writeHead(401, asks()).end();
          return true;
        });
        store.hosts(registry.host, `server = "http://${registry.host}"\n[header]\nx-operator = "${password}"\n`);
        const pull = store.images.pull({ reference: `${registry.host}/app:v1`, auth });
        if (free) await store.images.remove((await pull).id, () => false);
        else await assert.rejects(pull, { kind: 'Unauthenticated', message: /redirects to .* in hosts\.toml/ });
        assert.ok(stranger.requests.length > 0);
        const ofStranger = registry.requests.filter(({ url }) => url.includes('service=stranger'));
        assert.ok(!JSON.stringify(ofStranger).includes(basic), 'a password for a token that the stranger asked for');
        for (const { body } of ofStranger) assert.equal(body, '');
        const shown = JSON.stringify(stranger.requests);
        for (const word of [password, basic, 'of-home']) assert.ok(!shown.includes(word), `the stranger saw ${word}`);
      });
    }
  }
}

test('a redirect away and back again is a stranger: others chose what is asked', async () => {
  registry.reset(
    on('big', (outgoing, { incoming }) =>
      incoming.url?.includes('chosen')
        ? status(401, challenge('Basic realm="x"'))(outgoing)
        : status(307, { location: there('/away') })(outgoing),
    ),
  );
  stranger.reset(on('other', status(307, { location: here(`/v2/app/blobs/${big.digest}?chosen`) })));
  const pull = store.images.pull({ reference: `${registry.host}/app:v1`, auth: secret });
  await assert.rejects(pull, { kind: 'Unauthenticated' });
  const chosen = registry.requests.filter(({ url }) => url.includes('chosen'));
  assert.ok(chosen.length > 0);
  for (const { headers } of chosen) assert.equal(headers.authorization, undefined);
});

test('a token service that redirects to a stranger gets the password alone', async () => {
  registry.reset(
    guarded(
      (outgoing) => status(307, { location: there('/token') })(outgoing),
      () => bearer(here('/token')),
    ),
  );
  stranger.reset(on('token', status(401, challenge(`Basic realm="x", Bearer realm="${there('/token')}"`))));
  await assert.rejects(store.images.pull({ reference: `${registry.host}/app:v1`, auth: secret }));
  assert.ok(registry.requests.some(({ headers }) => headers.authorization === `Basic ${basic}`));
  assert.ok(stranger.requests.length > 0);
  for (const { headers } of stranger.requests) assert.equal(headers.authorization, undefined);
});

test('a place behind a redirect whose tokens never help is not asked for ever', async () => {
  registry.reset(on('big', status(307, { location: there('/away') })));
  stranger.reset(({ what, times }, outgoing) => {
    if (what === 'token') outgoing.end(`{"token":"number-${times}"}`);
    else outgoing.writeHead(401, challenge(`Bearer realm="${there('/token')}"`)).end();
    return true;
  });
  await assert.rejects(store.images.pull({ reference: `${registry.host}/app:v1`, auth: secret }), {
    kind: 'Unauthenticated',
  });
  assert.ok(stranger.requests.length < 20, `${stranger.requests.length} requests`);
});

test('50 pulls at once are one download', async () => {
  registry.reset(() => false);
  const request = { reference: `${registry.host}/app:v1`, auth: secret };
  const pulls = Array.from({ length: 50 }, () => store.images.pull(request));
  const [first, ...more] = await Promise.all(pulls);
  for (const other of more) assert.equal(other.id, first!.id);
  assert.equal(registry.requests.filter(({ url }) => whatOf(url) === 'big').length, 1);
  await store.images.remove(first!.id, () => false);
});

test('a registry that claims a layer of another, and never comes to its end, holds up nobody who has it', async () => {
  const stop = new AbortController();
  const begun = Promise.withResolvers<void>();
  registry.reset(() => false);
  stranger.reset(
    on('big', (outgoing) => {
      begun.resolve();
      outgoing.writeHead(200, { 'content-length': big.data.length });
      let at = 0;
      const drops = setInterval(() => outgoing.write(big.data.subarray(at, ++at)), 50);
      outgoing.once('close', () => clearInterval(drops));
    }),
  );
  const never = store.images.pull({ reference: `${stranger.host}/app:v1`, auth: null }, stop.signal);
  const left = assert.rejects(never, { message: 'enough' });
  await begun.promise;
  const whole = store.images.pull({ reference: `${registry.host}/app:v1`, auth: secret });
  const { id } = await within(30_000, 'The pull beside it', whole);
  assert.equal(store.images.pulls.statuses().length, 1, 'the other still goes on');
  stop.abort(new Error('enough'));
  await left;
  await store.images.idle();
  assert.ok(readFileSync(join(await store.mount(id), 'noise')).equals(noise));
  store.unmount();
  await store.images.remove(id, () => false);
  assert.deepEqual(store.leftovers(), []);
});

test('a cancelled pull ends its transfer, whoever is slow', async () => {
  const closed = Promise.withResolvers<void>();
  const stop = new AbortController();
  registry.reset(
    on('big', (outgoing) => {
      outgoing.once('close', () => closed.resolve());
      outgoing
        .writeHead(200, { 'content-length': big.data.length })
        .write(big.data.subarray(0, 1000), () => stop.abort());
    }),
  );
  await assert.rejects(store.images.pull({ reference: `${registry.host}/app:v1`, auth: secret }, stop.signal));
  await closed.promise;
  await store.images.idle();
  assert.deepEqual(store.leftovers(), []);
});
