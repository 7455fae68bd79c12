// Kinds of images, credentials and mirrors, against a real registry.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib';
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
  ociManifest,
  pushImage,
  pushManifest,
  sha256,
} from '../registry/images.ts';
import { type Proxy as Mirror, type Misbehave, startProxy } from '../registry/proxy.ts';
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

test('what descriptors bring with them needs no registry', async () => {
  const plain = image([layer(tar(file('a', 'inlined')))]);
  const inline = (bytes: Buffer) => bytes.toString('base64');
  const built = image(plain.layers, {
    editManifest: (manifest) => {
      Object.assign(manifest.config as object, { data: inline(plain.config.data) });
      Object.assign((manifest.layers as object[])[0]!, { data: inline(plain.layers[0]!.blob.data) });
    },
  });
  const entry = { mediaType: ociManifest, digest: built.manifest.digest, size: built.manifest.data.length };
  const named = { ...entry, platform: built.platform, data: inline(built.manifest.data) };
  const top = JSON.stringify({ schemaVersion: 2, manifests: [named] });
  await using proxy = await startProxy(registry.host, (_, outgoing) => {
    outgoing.writeHead(200, { 'content-type': ociIndex }).end(top);
    return true;
  });
  await using store = await Store.open();
  const { id } = await store.pull(`${proxy.host}/inlined:v1`);
  assert.equal(readFileSync(join(await store.mount(id), 'a'), 'utf8'), 'inlined');
  assert.equal(proxy.asked.length, 1);
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

/** A registry that wants test:secret, as what `hosts` makes of a mirror in front of it and of the registry itself. */
async function lockedBehind(
  hosts: (mirror: string, registry: string) => string,
  misbehave?: Misbehave,
): Promise<{ mirror: Mirror; store: Store } & AsyncDisposable> {
  const locked = await startRegistry({ htpasswd });
  const headers = { authorization: basicOf('test', 'secret') };
  await pushImage({ host: locked.host, repository: 'team/app', headers }, 'v1', one);
  const mirror = await startProxy(locked.host, misbehave);
  const store = await Store.open();
  store.hosts('r.example', hosts(mirror.host, locked.host));
  const dispose = async () => {
    for (const each of [store, mirror, locked]) await each[Symbol.asyncDispose]();
  };
  return { mirror, store, [Symbol.asyncDispose]: dispose };
}

const basicOf = (name: string, password: string) => `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`;
const secret = authOf({ username: 'test', password: 'secret' });
const shownTo = ({ asked }: Mirror) => [...new Set(asked.map(({ headers }) => headers.authorization))];
const reference = 'r.example/team/app:v1';
/** Nobody but the mirror has it. */
const onlyMirror = (mirror: string) => `server = "http://127.0.0.1:1"\n[host."http://${mirror}"]\n`;

test('a mirror that asks for credentials gets those of the pull, and only once it asks', async () => {
  await using scene = await lockedBehind(onlyMirror);
  assert.equal((await scene.store.images.pull({ reference, auth: secret })).id, one.config.digest);
  assert.equal(scene.mirror.asked[0]!.headers.authorization, undefined);
  assert.deepEqual(shownTo(scene.mirror), [undefined, basicOf('test', 'secret')]);
});

test('a mirror with credentials = false gets none; the registry behind it does', async () => {
  await using scene = await lockedBehind(
    (mirror, registry) => `server = "http://${registry}"\n[host."http://${mirror}"]\ncredentials = false\n`,
  );
  assert.equal((await scene.store.images.pull({ reference, auth: secret })).id, one.config.digest);
  assert.deepEqual(shownTo(scene.mirror), [undefined]);
});

test('a mirror gets no credentials that name another registry, no token of the registry, and none of the node', async () => {
  await using scene = await lockedBehind(onlyMirror);
  const refusedWith = async (auth: RegistryAuth | null, store = scene.store) => {
    await assert.rejects(store.images.pull({ reference, auth }));
    assert.deepEqual(shownTo(scene.mirror), [undefined]);
  };
  await refusedWith({ ...secret, serverAddress: 'r.example' });
  await refusedWith(authOf({ registryToken: 'token' }));
  const authFile = join(scene.store.certsDir, 'auth.json');
  writeFileSync(authFile, JSON.stringify({ auths: { 'r.example': { username: 'test', password: 'secret' } } }));
  await using withFile = await Store.open({ authFile });
  withFile.hosts('r.example', onlyMirror(scene.mirror.host));
  await refusedWith(null, withFile);
  const pulled = await scene.store.images.pull({ reference, auth: { ...secret, serverAddress: scene.mirror.host } });
  assert.equal(pulled.id, one.config.digest, 'those that name the mirror are for it');
});

test("a mirror gets the node's credentials that have its name, before those of the pull", async () => {
  await using scene = await lockedBehind(onlyMirror);
  const authFile = join(scene.store.certsDir, 'auth.json');
  const own = { username: 'test', password: 'secret' };
  const auths = { [`${scene.mirror.host}/team`]: own, 'r.example': { username: 'other', password: 'other' } };
  writeFileSync(authFile, JSON.stringify({ auths }));
  for (const auth of [null, authOf({ username: 'pod', password: 'own' })]) {
    await using store = await Store.open({ authFile });
    store.hosts('r.example', onlyMirror(scene.mirror.host));
    assert.equal((await store.images.pull({ reference, auth })).id, one.config.digest);
    assert.deepEqual(shownTo(scene.mirror), [undefined, basicOf('test', 'secret')]);
  }
});

test("the node's credentials that cannot be read cost no pull that brings its own", async () => {
  await using scene = await lockedBehind(onlyMirror);
  const authFile = join(scene.store.certsDir, 'auth.json');
  writeFileSync(authFile, '{"auths": []');
  await using store = await Store.open({ authFile });
  store.hosts('r.example', onlyMirror(scene.mirror.host));
  assert.equal((await store.images.pull({ reference, auth: secret })).id, one.config.digest);
});

test('where a mirror redirects, and a token service that it names elsewhere, no password of the pull is shown', async () => {
  const greedy: Misbehave = (incoming, outgoing) => {
    if (incoming.url?.startsWith('/token')) outgoing.end('{"token":"of-anybody"}');
    else outgoing.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    return true;
  };
  await using stranger = await startProxy(registry.host, greedy);
  const challenge = () => `Bearer realm="http://${stranger.host}/token",service="x"`;
  const misbehaviours: Misbehave[] = [
    (incoming, outgoing) => {
      if (incoming.headers.authorization !== basicOf('test', 'secret'))
        outgoing.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      else outgoing.writeHead(307, { location: `http://${stranger.host}${incoming.url}` }).end();
      return true;
    },
    (_, outgoing) => {
      outgoing.writeHead(401, { 'www-authenticate': challenge() }).end();
      return true;
    },
  ];
  for (const misbehave of misbehaviours) {
    stranger.asked.length = 0;
    await using scene = await lockedBehind(onlyMirror, misbehave);
    await assert.rejects(scene.store.images.pull({ reference, auth: secret }));
    await assert.rejects(scene.store.images.pull({ reference, auth: authOf({ identityToken: 'secret' }) }));
    assert.ok(stranger.asked.length > 0);
    assert.deepEqual(shownTo(stranger), [undefined]);
    for (const { url, method } of stranger.asked) assert.doesNotMatch(`${method} ${url}`, /account|secret|POST/);
  }
});

test("a mirror's own token service is shown the password; one that knows nobody of the registry's is asked as by anybody", async () => {
  await pushImage({ host: registry.host, repository: 'team/app' }, 'v1', one);
  for (const known of [true, false]) {
    const tokens: (string | undefined)[] = [];
    const misbehave: Misbehave = (incoming, outgoing, self) => {
      const { authorization } = incoming.headers;
      if (incoming.url?.startsWith('/token')) {
        tokens.push(authorization);
        if (authorization && !known) outgoing.writeHead(401).end();
        else outgoing.end(`{"token":"abc"}`);
      } else if (authorization === 'Bearer abc') return false;
      else
        outgoing.writeHead(401, { 'www-authenticate': `Bearer realm="http://${self.host}/token",service="x"` }).end();
      return true;
    };
    await using mirror = await startProxy(registry.host, misbehave);
    await using store = await Store.open();
    store.hosts('r.example', onlyMirror(mirror.host));
    assert.equal((await store.images.pull({ reference, auth: secret })).id, one.config.digest);
    assert.deepEqual(tokens, known ? [basicOf('test', 'secret')] : [basicOf('test', 'secret'), undefined]);
  }
});

test("registries.conf: a pull asks a mirror by the mirror's own name for the image, and keeps the user's", async () => {
  await using cache = await startProxy(registry.host);
  await pushImage({ host: registry.host, repository: 'cache/team/app' }, 'v1', one);
  await using scratch = await Store.open();
  const registriesConf = join(scratch.root, 'registries.conf');
  const mirror = `[[registry.mirror]]\nlocation = "${cache.host}/cache"\ninsecure = true\n`;
  writeFileSync(registriesConf, `[[registry]]\nprefix = "r.example"\nlocation = "127.0.0.1:1"\n${mirror}`);
  await using store = await Store.open({ registriesConf });
  const pulled = await store.images.pull({ reference, auth: null });
  assert.deepEqual([pulled.id, pulled.tags], [one.config.digest, [reference]]);
  for (const { url } of cache.asked) assert.match(url, /^\/v2\/cache\/team\/app\/[^?]*$/);
});

/** A store with a registries.conf that has this to say. */
async function storeBy(conf: string): Promise<{ store: Store; conf: string } & AsyncDisposable> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-conf-'));
  const registriesConf = join(folder, 'registries.conf');
  writeFileSync(registriesConf, conf);
  const store = await Store.open({ registriesConf });
  return {
    store,
    conf: registriesConf,
    [Symbol.asyncDispose]: async () => {
      await store[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

test('a short name is looked for at the registries to be searched, and found by it in every call', async () => {
  await using bare = await startRegistry();
  await pushImage({ host: registry.host, repository: 'short/app' }, 'v1', one);
  await using scene = await storeBy(`unqualified-search-registries = ["${bare.host}", "${registry.host}"]\n`);
  const { store } = scene;
  await expectPulled(store, 'short/app:v1', one.config.digest);
  assert.deepEqual(store.images.find('short/app:v1')?.tags, [`${registry.host}/short/app:v1`]);
  await store.reopen();
  await expectPulled(store, 'short/app:v1', one.config.digest);
  const missing = { kind: 'NotFound', message: new RegExp(`short/none:v1: .*${bare.host}.*${registry.host}`, 's') };
  await assert.rejects(store.pull('short/none:v1'), missing);
  store.unmount();
  await store.images.remove('short/app:v1', () => false);
  assert.deepEqual(store.images.list(), []);
  writeFileSync(scene.conf, `[aliases]\n"tool" = "${registry.host}/short/app"\n`);
  await expectPulled(store, 'tool:v1', one.config.digest);
});

test('a registry that cannot be asked may have what a short name means: no other one is asked', async () => {
  await using other = await startProxy(registry.host);
  await using scene = await storeBy(`unqualified-search-registries = ["127.0.0.1:1", "${other.host}"]\n`);
  await assert.rejects(scene.store.pull('short/app:v1'), { kind: 'Unavailable', message: /127\.0\.0\.1:1/ });
  assert.deepEqual(other.asked, []);
});

test("credentials that name no registry are Docker's where the image's name says none", async () => {
  await pushImage({ host: registry.host, repository: 'short/app' }, 'v1', one);
  await using asking = await startProxy(registry.host, ({ headers }, outgoing) => {
    if (!headers.authorization) outgoing.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    return !headers.authorization;
  });
  await using scene = await storeBy(`unqualified-search-registries = ["${asking.host}"]\n`);
  const pull = (auth: Partial<RegistryAuth>) =>
    scene.store.images.pull({
      reference: 'short/app:v1',
      auth: authOf({ username: 'test', password: 'secret', ...auth }),
    });
  await assert.rejects(pull({}), { kind: 'Unauthenticated' });
  for (const { headers } of asking.asked) assert.equal(headers.authorization, undefined);
  await pull({ serverAddress: asking.host });
  assert.equal(asking.asked.at(-1)!.headers.authorization, basicOf('test', 'secret'));
});

for (const [encoding, encode] of [
  ['gzip', gzipSync],
  ['zstd', zstdCompressSync],
  ['br', brotliCompressSync],
] as const) {
  test(`a layer that its server encodes unasked (${encoding}) is decoded; one that it only calls so is not`, async () => {
    await pushImage({ host: registry.host, repository: 'encoded' }, 'v1', one);
    for (const isTrue of [true, false, null]) {
      await using server = await startProxy(registry.host, async ({ url = '' }, outgoing) => {
        if (!url.includes('/blobs/')) return false;
        const data = Buffer.from(await (await fetch(`http://${registry.host}${url}`)).arrayBuffer());
        outgoing.setHeader('content-encoding', encoding);
        if (isTrue === false) outgoing.setHeader('content-length', data.length);
        outgoing.writeHead(200); // from here on no length is added
        outgoing.end(isTrue ? encode(data) : data);
        return true;
      });
      await using store = await Store.open();
      await expectPulled(store, `${server.host}/encoded:v1`, one.config.digest);
    }
  });
}

test('a registry that sends each layer elsewhere, and wants a login first, is asked on few connections', async () => {
  const layers = Array.from({ length: 12 }, (_, i) => layer(tar(file(`l${i}`, `${i}`))));
  await pushImage({ host: registry.host, repository: 'elsewhere' }, 'v1', image(layers));
  await using front = await startProxy(registry.host, ({ url = '', headers }, outgoing) => {
    const words = 'x'.repeat(1000);
    const withLength = { 'content-length': words.length };
    if (!headers.authorization)
      outgoing.writeHead(401, { ...withLength, 'www-authenticate': 'Basic realm="x"' }).end(words);
    else if (url.includes('/blobs/'))
      outgoing.writeHead(307, { ...withLength, location: `http://${registry.host}${url}` }).end(words);
    else return false;
    return true;
  });
  await using store = await Store.open();
  const auth = authOf({ username: 'test', password: 'secret' });
  await store.images.pull({ reference: `${front.host}/elsewhere:v1`, auth });
  await store.images.pull({ reference: `${front.host}/elsewhere:v1`, auth });
  assert.equal(front.blobs().length, 13);
  assert.ok(front.connections <= 5, `${front.connections} for 13 blobs of three at a time`);
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

test('a proxy that makes no tunnel, or says nothing, is given up in time, and its password is not told', {
  timeout: 30_000,
}, async (t) => {
  let answer = '';
  const sockets: Socket[] = [];
  const proxy = createTcpServer((socket) => {
    sockets.push(socket.on('error', () => {}));
    socket.once('data', () => {
      if (answer) socket.end(answer);
    });
  });
  await new Promise<void>((resolve) => {
    proxy.listen(0, '127.0.0.1', resolve);
  });
  const { port } = proxy.address() as { port: number };
  const before_ = { ...process.env };
  t.after(() => {
    process.env = before_;
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  process.env.HTTPS_PROXY = `http://user:secret@127.0.0.1:${port}`;
  await using store = await Store.open();
  store.hosts('r.example', 'server = "https://r.example"\ndial_timeout = "300ms"\n');
  await assert.rejects(store.pull('r.example/x:v1'), /a tunnel through the proxy 127\.0\.0\.1:\d+ did not finish/);
  await Promise.all(sockets.map((socket) => socket.closed || new Promise((resolve) => socket.once('close', resolve))));
  answer = 'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n';
  await assert.rejects(store.pull('r.example/x:v1'), (error: Error) => {
    assert.match(error.message, /407/);
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});

test('a pull that is called off while a proxy says nothing ends at once', { timeout: 20_000 }, async (t) => {
  const connected = Promise.withResolvers<void>();
  const sockets: Socket[] = [];
  const proxy = createTcpServer((socket) => {
    sockets.push(socket.on('error', () => {}));
    connected.resolve();
  });
  await new Promise<void>((resolve) => {
    proxy.listen(0, '127.0.0.1', resolve);
  });
  const before_ = { ...process.env };
  t.after(() => {
    process.env = before_;
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  process.env.HTTPS_PROXY = `http://127.0.0.1:${(proxy.address() as { port: number }).port}`;
  await using store = await Store.open();
  store.hosts('r.example', 'server = "https://r.example"\n');
  const leave = new AbortController();
  const pull = store.pull('r.example/x:v1', leave.signal);
  pull.catch(() => {});
  await connected.promise;
  leave.abort(new Error('enough'));
  await assert.rejects(pull, /enough/);
  await store.images.idle();
});

test('several scopes are asked for one by one; a password that is no UTF-8 is shown as it is', async () => {
  const seen: { scopes: string[]; account: string; secret: string }[] = [];
  const scopes = ['repository:offers:pull', 'repository:base/offers:pull'];
  await pushImage({ host: registry.host, repository: 'scopes' }, 'v1', one);
  await using proxy = await startProxy(registry.host, (incoming, outgoing, self) => {
    const { searchParams, pathname } = new URL(incoming.url ?? '', 'http://x');
    const { authorization = '' } = incoming.headers;
    if (pathname === '/token') {
      const [, secret = ''] = authorization.split(' ');
      const account = searchParams.get('account') ?? '';
      seen.push({
        scopes: searchParams.getAll('scope'),
        account,
        secret: Buffer.from(secret, 'base64').toString('latin1'),
      });
      outgoing.end('{"token":"t"}');
    } else if (authorization === 'Bearer t') return false;
    else {
      const challenge = `Bearer realm="http://${self.host}/token?scope=mine",scope="${scopes.join(' ')}"`;
      outgoing.writeHead(401, { 'www-authenticate': challenge }).end();
    }
    return true;
  });
  await using store = await Store.open();
  const auth = authOf({ auth: Buffer.from('test:p\xe9', 'latin1').toString('base64') });
  assert.equal((await store.images.pull({ reference: `${proxy.host}/scopes:v1`, auth })).id, one.config.digest);
  assert.deepEqual(seen, [{ scopes, account: 'test', secret: 'test:p\xe9' }]);
});

test('where a token service cannot help, another way that the registry offers is taken; else its words are told', async () => {
  const guard =
    (offers: string, token: Misbehave): Misbehave =>
    (incoming, outgoing, self) => {
      if (incoming.url?.startsWith('/token')) return token(incoming, outgoing, self);
      if (incoming.headers.authorization?.startsWith('Basic ')) return false;
      const bearer = `Bearer realm="http://${self.host}/token"`;
      outgoing.writeHead(401, { 'www-authenticate': `${bearer}${offers}` }).end();
      return true;
    };
  const refuse: Misbehave = (_, outgoing) => {
    outgoing.writeHead(401).end('{"details":"incorrect username or password"}');
    return true;
  };
  const hangUp: Misbehave = (_, outgoing) => Boolean(outgoing.destroy());
  await pushImage({ host: registry.host, repository: 'offers' }, 'v1', one);
  const auth = authOf({ username: 'test', password: 'secret' });
  for (const token of [refuse, hangUp]) {
    await using proxy = await startProxy(registry.host, guard(', Basic realm="x"', token));
    await using store = await Store.open();
    const reference = `${proxy.host}/offers:v1`;
    assert.equal((await store.images.pull({ reference, auth })).id, one.config.digest);
  }
  await using proxy = await startProxy(registry.host, guard('', refuse));
  await using store = await Store.open();
  const refused = { kind: 'Unauthenticated', message: /answered 401: incorrect username or password/ };
  await assert.rejects(store.images.pull({ reference: `${proxy.host}/offers:v1`, auth }), refused);
});
