// Kinds of images, credentials and mirrors, against a real registry.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { RegistryAuth } from '../../src/image/index.ts';
import { ownHost } from '../harness/own-host.ts';
import { authOf } from '../registry/auth.ts';
import {
  blob,
  dockerList,
  image,
  index,
  layer,
  ociIndex,
  pushImage,
  pushManifest,
  sha256,
} from '../registry/images.ts';
import { startProxy } from '../registry/proxy.ts';
import { type Registry, startRegistry } from '../registry/server.ts';
import { Store } from '../registry/store.ts';
import { dir, file, tar } from '../registry/tar.ts';
import { startTokenServer } from '../registry/token-server.ts';

await ownHost();

let registry: Registry;
before(async () => {
  registry = await startRegistry();
});
after(() => registry[Symbol.asyncDispose]());

const one = image([layer(tar(dir('etc'), file('etc/a', 'one')))]);
/** bcrypt of "secret", made with crypt(3). */
const htpasswd = 'test:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a';

async function expectPulled(store: Store, reference: string, id: string, name = 'etc/a'): Promise<void> {
  const pulled = await store.pull(reference);
  assert.equal(pulled.id, id);
  assert.equal(readFileSync(join(await store.mount(reference), name), 'utf8'), 'one');
}

for (const { name, type, docker } of [
  { name: 'an OCI index', type: ociIndex, docker: false },
  { name: 'a Docker manifest list', type: dockerList, docker: true },
]) {
  test(`${name}: this platform's image, by tag and by the index's digest`, async () => {
    await using store = await Store.open();
    const to = { host: registry.host, repository: `multi/${docker}` };
    const ours = image([layer(tar(dir('etc'), file('etc/a', 'one')))], { docker });
    const other = image([layer(tar(file('wrong')))], { docker, architecture: 'arm64', variant: 'v8' });
    const attestation = {
      mediaType: ours.mediaType,
      digest: other.manifest.digest,
      size: 1,
      platform: { os: 'unknown', architecture: 'unknown' },
    };
    await pushImage(to, 'arm', other);
    await pushImage(to, 'amd', ours);
    const list = index([other, ours], type, docker ? [] : [attestation]);
    await pushManifest(to, 'v1', list, type);
    const reference = `${registry.host}/multi/${docker}`;
    await expectPulled(store, `${reference}:v1`, ours.config.digest);
    await expectPulled(store, `${reference}@${list.digest}`, ours.config.digest);
    assert.deepEqual(store.images.find(ours.config.digest)?.digests, [`${reference}@${list.digest}`]);
  });
}

const content = tar(dir('etc'), file('etc/a', 'one'), file('big', Buffer.alloc(3_000_000, 'zstd ')));
const skippable = Buffer.concat([Buffer.from('5a2a4d18', 'hex'), Buffer.from([5, 0, 0, 0]), Buffer.from('skip!')]);
const pieces = [content.subarray(0, 1000), content.subarray(1000, 2_000_000), content.subarray(2_000_000)];
for (const { name, data, type } of [
  { name: 'uncompressed', data: content, type: '' },
  { name: 'gzip', data: gzipSync(content), type: '+gzip' },
  { name: 'gzip in several members', data: Buffer.concat(pieces.map((piece) => gzipSync(piece))), type: '+gzip' },
  { name: 'zstd', data: zstdCompressSync(content), type: '+zstd' },
  {
    name: 'zstd in several frames',
    data: Buffer.concat(pieces.map((piece) => zstdCompressSync(piece))),
    type: '+zstd',
  },
  {
    name: 'zstd between skippable frames',
    data: Buffer.concat([skippable, ...pieces.flatMap((piece) => [zstdCompressSync(piece), skippable])]),
    type: '+zstd',
  },
  { name: 'gzip that calls itself zstd', data: gzipSync(content), type: '+zstd' },
]) {
  test(`a layer that is ${name}`, async () => {
    await using store = await Store.open();
    const built = image([
      { blob: blob(data), diffId: sha256(content), mediaType: `application/vnd.oci.image.layer.v1.tar${type}` },
    ]);
    await pushImage({ host: registry.host, repository: 'kinds' }, 'v1', built);
    await expectPulled(store, `${registry.host}/kinds:v1`, built.config.digest);
    assert.equal(readFileSync(join(store.target, 'big')).length, 3_000_000);
  });
}

test('40 layers, and a second image that shares most of them fetches only what is new', async () => {
  await using proxy = await startProxy(registry.host);
  await using store = await Store.open();
  const layers = Array.from({ length: 40 }, (_, i) => layer(tar(file(`f${i}`, String(i)), file('last', String(i)))));
  await pushImage({ host: registry.host, repository: 'many' }, 'v1', image(layers));
  await pushImage({ host: registry.host, repository: 'many' }, 'v2', image([...layers, layer(tar(file('new', 'x')))]));
  await store.pull(`${proxy.host}/many:v1`);
  const root = await store.mount(`${proxy.host}/many:v1`);
  assert.equal(readdirSync(root).length, 41);
  assert.equal(readFileSync(join(root, 'last'), 'utf8'), '39');
  const before_ = proxy.blobs().length;
  await store.pull(`${proxy.host}/many:v2`);
  assert.equal(proxy.blobs().length - before_, 2, 'its config and its one new layer');
});

test('Basic credentials: right ones, wrong ones, none', async () => {
  await using locked = await startRegistry({ htpasswd });
  await using store = await Store.open();
  const headers = { authorization: `Basic ${Buffer.from('test:secret').toString('base64')}` };
  await pushImage({ host: locked.host, repository: 'app', headers }, 'v1', one);
  const reference = `${locked.host}/app:v1`;
  const pull = (auth: Partial<RegistryAuth> | null) => store.images.pull({ reference, auth: auth && authOf(auth) });
  for (const auth of [
    null,
    {},
    { username: 'test', password: 'wrong' },
    { username: 'test', password: 'secret', serverAddress: 'other.example' },
  ]) {
    await assert.rejects(pull(auth), { kind: 'Unauthenticated' });
  }
  assert.deepEqual(store.leftovers(), []);
  assert.equal((await pull({ username: 'test', password: 'secret' })).id, one.config.digest);
  assert.equal((await pull({ auth: Buffer.from('test:secret').toString('base64') })).id, one.config.digest);
});

test("the node's credentials open what a request without any asks for, and are shown to no other registry", async () => {
  await using locked = await startRegistry({ htpasswd });
  await using other = await startProxy(registry.host);
  const basic = `Basic ${Buffer.from('test:secret').toString('base64')}`;
  await pushImage({ host: locked.host, repository: 'app', headers: { authorization: basic } }, 'v1', one);
  await pushImage({ host: registry.host, repository: 'open' }, 'v1', one);
  const folder = mkdtempSync(join(tmpdir(), 'berth-auth-'));
  try {
    const authFile = join(folder, 'config.json');
    writeFileSync(authFile, JSON.stringify({ auths: { [locked.host]: { auth: basic.slice('Basic '.length) } } }));
    await using store = await Store.open({ authFile });
    const reference = `${locked.host}/app:v1`;
    for (const auth of [null, authOf({})])
      assert.equal((await store.images.pull({ reference, auth })).id, one.config.digest);
    const wrong = authOf({ username: 'test', password: 'wrong' });
    await assert.rejects(store.images.pull({ reference, auth: wrong }), { kind: 'Unauthenticated' });
    assert.equal((await store.pull(`${other.host}/open:v1`)).id, one.config.digest);
    for (const { headers } of other.asked) assert.equal(headers.authorization, undefined);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('Bearer tokens: by name and password, by identity token, by registry token, and refused', async () => {
  await using tokens = await startTokenServer();
  await using locked = await startRegistry({ token: tokens.settings });
  await using store = await Store.open();
  const url = new URL(tokens.settings.realm);
  url.searchParams.set('scope', 'repository:team/app:pull,push');
  const basic = { authorization: `Basic ${Buffer.from('test:secret').toString('base64')}` };
  const { access_token } = (await (await fetch(url, { headers: basic })).json()) as { access_token: string };
  await pushImage(
    { host: locked.host, repository: 'team/app', headers: { authorization: `Bearer ${access_token}` } },
    'v1',
    one,
  );

  const pull = (auth: Partial<RegistryAuth> | null) =>
    store.images.pull({ reference: `${locked.host}/team/app:v1`, auth: auth && authOf(auth) });
  await assert.rejects(pull(null), { kind: 'Unauthenticated' });
  await assert.rejects(pull({ username: 'test', password: 'wrong' }), { kind: 'Unauthenticated' });
  await assert.rejects(pull({ registryToken: 'forged' }), { kind: 'Unauthenticated' });
  tokens.asked.length = 0;
  await pull({ username: 'test', password: 'secret' });
  assert.equal(tokens.asked.length, 1, 'one token serves manifest, config and layers');
  assert.equal(tokens.asked[0]!.fields.service, 'test-registry');
  assert.equal(tokens.asked[0]!.fields.scope, 'repository:team/app:pull');
  await pull({ identityToken: 'identity' });
  assert.equal(tokens.asked[1]!.method, 'POST');
  assert.equal(tokens.asked[1]!.fields.grant_type, 'refresh_token');
  assert.equal(tokens.asked[1]!.headers.authorization, undefined);
  await pull({ registryToken: access_token });
  assert.equal(tokens.asked.length, 2, 'a registry token is used as it is');
});

test('docker.io by a mirror; its credentials are not shown to the mirror', async () => {
  await using proxy = await startProxy(registry.host);
  await using store = await Store.open();
  await pushImage({ host: registry.host, repository: 'library/app' }, 'v1', one);
  store.hosts(
    'docker.io',
    `server = "http://127.0.0.1:1"\n[host."http://${proxy.host}"]\n[host."http://${proxy.host}".header]\nx-mine = "yes"\n`,
  );
  const pulled = await store.images.pull({ reference: 'app:v1', auth: authOf({ username: 'u', password: 'p' }) });
  assert.deepEqual(pulled.tags, ['docker.io/library/app:v1']);
  assert.equal(store.images.find('app:v1')?.id, one.config.digest);
  assert.ok(proxy.asked.length >= 3);
  for (const { headers, url } of proxy.asked) {
    assert.equal(headers.authorization, undefined);
    assert.equal(headers['x-mine'], 'yes');
    assert.match(url, /[?&]ns=docker\.io/);
  }
});

test('a mirror that asks for credentials gets none; the registry behind it does', async () => {
  await using locked = await startRegistry({ htpasswd });
  const basic = { authorization: `Basic ${Buffer.from('test:secret').toString('base64')}` };
  await pushImage({ host: locked.host, repository: 'team/app', headers: basic }, 'v1', one);
  await using mirror = await startProxy(locked.host);
  await using store = await Store.open();
  store.hosts('r.example', `server = "http://${locked.host}"\n[host."http://${mirror.host}"]\n`);
  const auth = authOf({ username: 'test', password: 'secret' });
  assert.equal((await store.images.pull({ reference: 'r.example/team/app:v1', auth })).id, one.config.digest);
  assert.ok(mirror.asked.length > 0);
  for (const { headers } of mirror.asked) assert.equal(headers.authorization, undefined);
});

test('a mirror that is down, or lacks the image, is passed over; one without the capability is not asked', async () => {
  await using bare = await startRegistry();
  await using store = await Store.open();
  await using never = await startProxy(registry.host);
  await pushImage({ host: registry.host, repository: 'fallback' }, 'v1', one);
  store.hosts(
    'r.example',
    `server = "http://${registry.host}"
[host."http://${never.host}"]
capabilities = ["push"]
[host."http://127.0.0.1:1"]
[host."http://${bare.host}"]
`,
  );
  await expectPulled(store, 'r.example/fallback:v1', one.config.digest);
  assert.deepEqual(never.asked, []);
  await assert.rejects(store.pull('r.example/none:v1'), {
    kind: 'NotFound',
    message: /MANIFEST_UNKNOWN.*127\.0\.0\.1:1: connect ECONNREFUSED/s,
  });
});

test('what is not there is NotFound, and named', async () => {
  await using store = await Store.open();
  await assert.rejects(store.pull(`${registry.host}/none:v1`), {
    kind: 'NotFound',
    message: /manifest v1 of .*\/none/,
  });
  await assert.rejects(store.pull('127.0.0.1:1/none:v1'), { kind: 'Unavailable' });
  await assert.rejects(store.pull('Not A Name'), { kind: 'InvalidArgument' });
  assert.deepEqual(store.leftovers(), []);
});

test('proxy variables: a registry elsewhere is reached through the proxy, one on this host is not', async (t) => {
  await pushImage({ host: registry.host, repository: 'proxied' }, 'v1', one);
  await using proxy = await startProxy(registry.host, (incoming) => {
    incoming.url = incoming.url?.replace(/^http:\/\/[^/]+/, '');
    return false;
  });
  await using store = await Store.open();
  store.hosts('r.example', 'server = "http://r.example"\n');
  const before_ = { ...process.env };
  t.after(() => {
    process.env = before_;
  });
  process.env.HTTP_PROXY = process.env.http_proxy = `http://${proxy.host}`;
  delete process.env.NO_PROXY;
  delete process.env.no_proxy;
  assert.equal((await store.pull('r.example/proxied:v1')).id, one.config.digest);
  assert.ok(proxy.asked.length >= 3);
  for (const { url } of proxy.asked) assert.match(url, /^http:\/\/r\.example\/v2\//);
  const count = proxy.asked.length;
  await store.pull(`${registry.host}/proxied:v1`);
  assert.equal(proxy.asked.length, count);
});
