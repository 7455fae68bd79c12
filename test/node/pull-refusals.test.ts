// What registries and their token services say when they refuse, or ask for patience; and what redirects bring with them.
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import type { RegistryAuth } from '../../src/image/index.ts';
import { ownHost } from '../harness/own-host.ts';
import { image, layer } from '../registry/images.ts';
import { listening } from '../registry/listening.ts';
import { Store } from '../registry/store.ts';
import { file, tar } from '../registry/tar.ts';

await ownHost();

const built = image([layer(tar(file('a', 'b')))]);
const [{ blob }] = built.layers as [(typeof built.layers)[0]];
const documents = new Map([
  ['/v2/app/manifests/v1', { type: built.mediaType, data: built.manifest.data }],
  ...[built.config, blob].map(
    ({ digest, data }) => [`/v2/app/blobs/${digest}`, { type: 'application/octet-stream', data }] as const,
  ),
]);
type Answer = (incoming: IncomingMessage, outgoing: ServerResponse) => boolean;

/** A registry that gives the image where `answer` gives nothing else. */
async function registry(answer: Answer) {
  const asked: string[] = [];
  const server = createServer((incoming, outgoing) => {
    asked.push(`${incoming.url} ${incoming.headers.authorization ?? 'nothing'}`);
    if (answer(incoming, outgoing)) return;
    const found = documents.get((incoming.url ?? '').split('?', 1)[0]!);
    if (found) outgoing.writeHead(200, { 'content-type': found.type }).end(found.data);
    else outgoing.writeHead(404).end();
  });
  return { asked, ...(await listening(server)) };
}

const user: RegistryAuth = {
  username: 'u',
  password: 'p',
  auth: '',
  serverAddress: '',
  identityToken: '',
  registryToken: '',
};
const locked = JSON.stringify({ errors: [{ code: 'UNAUTHORIZED', message: 'the account is locked' }] });

describe('a registry that wants other credentials is told in its own words, with what it was shown', () => {
  for (const [name, challenge, auth, shown] of [
    ['asks for nothing', undefined, null, 'without credentials'],
    ['asks for a password', 'Basic realm="x"', user, 'as "u"'],
    ['asks for what nobody has', 'Negotiate', user, 'without credentials'],
  ] as const) {
    test(`which ${name}`, async () => {
      await using server = await registry((_incoming, outgoing) => {
        outgoing.writeHead(401, challenge ? { 'www-authenticate': challenge } : {}).end(locked);
        return true;
      });
      await using store = await Store.open();
      const wanted = new RegExp(`wants other credentials: UNAUTHORIZED: the account is locked \\(asked ${shown}\\)`);
      const pull = store.images.pull({ reference: `${server.host}/app:v1`, auth });
      await assert.rejects(pull, { kind: 'Unauthenticated', message: wanted });
    });
  }
});

test('the words of a refusal are not waited for as long as bytes of a layer are', { timeout: 10_000 }, async () => {
  await using server = await registry((_incoming, outgoing) => {
    outgoing.writeHead(403, { 'content-length': 100 }).write('{"errors":');
    return true;
  });
  await using store = await Store.open({ progressTimeoutMs: 60_000 });
  await assert.rejects(store.pull(`${server.host}/app:v1`), { kind: 'Unauthenticated', message: /answered 403/ });
});

describe('a token service', () => {
  /** What it answers, one after the other; then a token. */
  const behind = (...answers: ((outgoing: ServerResponse) => void)[]) =>
    registry(({ url = '', headers }, outgoing) => {
      if (url.startsWith('/token')) {
        const answer = answers.shift();
        if (answer) answer(outgoing);
        else outgoing.end(JSON.stringify({ Access_Token: 't' }));
        return true;
      }
      if (headers.authorization === 'Bearer t') return false;
      const realm = `http://${headers.host}/token`;
      outgoing.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` }).end();
      return true;
    });
  const busy = (status: number, words: string) => (outgoing: ServerResponse) =>
    void outgoing.writeHead(status, { 'retry-after': '1' }).end(JSON.stringify({ details: words }));

  test('that wants to be left alone is waited for; its answer is read without case', async () => {
    await using server = await behind(busy(429, 'later'), busy(503, 'later'), busy(429, 'later'));
    await using store = await Store.open();
    const begin = performance.now();
    assert.equal((await store.pull(`${server.host}/app:v1`)).id, built.config.digest);
    assert.ok(performance.now() - begin > 2900);
    assert.equal(server.asked.filter((line) => line.startsWith('/token')).length, 4);
  });

  test('that goes on with that is told in its words', async () => {
    await using server = await behind(...Array(9).fill(busy(429, 'too many logins')));
    await using store = await Store.open();
    const wanted = { kind: 'ResourceExhausted', message: /token service .* answered 429: too many logins/ };
    await assert.rejects(store.pull(`${server.host}/app:v1`), wanted);
    assert.equal(server.asked.filter((line) => line.startsWith('/token')).length, 4);
  });

  test('of a mirror is not waited for, nor asked again', async () => {
    await using mirror = await behind(...Array(9).fill(busy(429, 'later')));
    await using owner = await registry(() => false);
    await using store = await Store.open();
    store.hosts('r.example', `server = "http://${owner.host}"\n[host."http://${mirror.host}"]\n`);
    assert.equal((await store.pull('r.example/app:v1')).id, built.config.digest);
    assert.equal(mirror.asked.length, 2, mirror.asked.join('\n')); // and not for every document and layer
  });
});

test('a name and a password that a redirect brings are shown where it leads, and nowhere else', async () => {
  const bringing = 'Basic dGhlaXI6cCBy';
  await using third = await registry(() => false);
  await using second = await registry(({ headers }, outgoing) => {
    if (headers.authorization !== bringing) outgoing.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    else outgoing.writeHead(307, { location: `http://${third.host}/v2/app/blobs/${blob.digest}` }).end();
    return true;
  });
  await using first = await registry(({ url }, outgoing) => {
    if (!url?.includes(blob.digest)) return false;
    outgoing.writeHead(307, { location: `http://their:p%20r@${second.host}/there` }).end();
    return true;
  });
  await using store = await Store.open();
  assert.equal((await store.pull(`${first.host}/app:v1`)).id, built.config.digest);
  assert.deepEqual(second.asked, [`/there ${bringing}`]);
  for (const line of [...first.asked, ...third.asked]) assert.match(line, / nothing$/);
});
