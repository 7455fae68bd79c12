// Registries and networks that misbehave, callers that leave.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openImages } from '../../src/image/index.ts';
import { openSnapshots } from '../../src/snapshot/index.ts';
import { mount, unmount } from '../../src/sys/mounts.ts';
import { ownHost } from '../harness/own-host.ts';
import { authOf } from '../registry/auth.ts';
import { blob, image, layer, pushImage } from '../registry/images.ts';
import { startProxy } from '../registry/proxy.ts';
import { type Registry, startRegistry } from '../registry/server.ts';
import { Store } from '../registry/store.ts';
import { file, tar } from '../registry/tar.ts';

await ownHost();

const secret = authOf({ username: 'u', password: 'p' });
const noise = randomBytes(3_000_000);
const built = image([layer(tar(file('noise', noise))), layer(tar(file('b', 'x')))]);
const bigBlob = built.layers[0]!.blob;
let registry: Registry;
before(async () => {
  registry = await startRegistry();
  await pushImage({ host: registry.host, repository: 'app' }, 'v1', built);
});
after(() => registry[Symbol.asyncDispose]());

const isBig = (url = '') => url.includes(bigBlob.digest);

for (const compression of ['gzip', 'none'] as const) {
  test(`a blob (${compression}) that is not what its digest says is refused, and nothing is left`, async () => {
    await using own = await startRegistry();
    await using store = await Store.open();
    const tampered = image([layer(tar(file('b', 'x'))), layer(tar(file('noise', noise)), compression)]);
    await pushImage({ host: own.host, repository: 'app' }, 'v1', tampered);
    const hex = tampered.layers[1]!.blob.digest.slice(7);
    const path = join(own.root, `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`);
    const data = readFileSync(path);
    data[1_000_000]! ^= 1;
    writeFileSync(path, data);
    await assert.rejects(store.pull(`${own.host}/app:v1`), { kind: 'DataLoss' });
    assert.deepEqual(store.leftovers(), []);
    assert.deepEqual(store.images.list(), []);
  });
}

test('a layer that is elsewhere by its manifest is taken from the registry, and nobody is asked there', async () => {
  await using elsewhere = await startProxy(registry.host);
  const urls = [`http://${elsewhere.host}/v2/app/blobs/${bigBlob.digest}`];
  const foreign = image(built.layers, {
    editManifest: (manifest) => {
      for (const each of manifest.layers as { urls?: string[] }[]) each.urls = urls;
    },
  });
  let isGone = false;
  await using proxy = await startProxy(registry.host, (incoming, outgoing) => {
    if (incoming.url?.includes('/manifests/')) {
      outgoing.writeHead(200, { 'content-type': foreign.mediaType }).end(foreign.manifest.data);
    } else if (isGone && isBig(incoming.url)) outgoing.writeHead(404).end();
    else return false;
    return true;
  });
  {
    await using store = await Store.open();
    assert.equal((await store.pull(`${proxy.host}/app:v1`)).id, built.config.digest);
  }
  isGone = true;
  await using store = await Store.open();
  const words = `answered 404.*its manifest says that it is at ${elsewhere.host}, where nothing is fetched from`;
  await assert.rejects(store.pull(`${proxy.host}/app:v1`), { kind: 'NotFound', message: new RegExp(words) });
  assert.deepEqual(elsewhere.asked, []);
  assert.deepEqual(store.leftovers(), []);
});

test('a manifest or a config that is not what its digest says is refused', async () => {
  for (const target of [built.manifest.digest, built.config.digest]) {
    await using proxy = await startProxy(registry.host, async (incoming, outgoing, self) => {
      if (!incoming.url?.includes(target)) return false;
      await self.forward(incoming, outgoing, (body) =>
        Buffer.from(body.toString().replace('application', 'Application').replace('/bin/sh', '/bin/SH')),
      );
      return true;
    });
    await using store = await Store.open();
    await assert.rejects(store.pull(`${proxy.host}/app@${built.manifest.digest}`), { kind: 'DataLoss' });
    assert.deepEqual(store.leftovers(), []);
  }
});

test('a transfer that breaks goes on where it broke', async () => {
  let breaks = 0;
  await using proxy = await startProxy(registry.host, async (incoming, outgoing, self) => {
    if (!isBig(incoming.url) || breaks >= 6) return false;
    breaks++;
    await self.forward(incoming, outgoing, (body) => body.subarray(0, 400_000));
    return true;
  });
  await using store = await Store.open();
  const pulled = await store.pull(`${proxy.host}/app:v1`);
  assert.equal(breaks, 6);
  assert.ok(readFileSync(join(await store.mount(pulled.id), 'noise')).equals(noise));
  const ranges = proxy.asked.filter(({ url }) => isBig(url)).map(({ headers }) => headers.range);
  assert.equal(ranges[0], undefined);
  for (const range of ranges.slice(1)) assert.match(range ?? '', /^bytes=[1-9]\d*-[1-9]\d*$/);
});

test('a registry that ignores Range still gives the right bytes', async () => {
  let first = true;
  await using proxy = await startProxy(registry.host, async (incoming, outgoing, self) => {
    if (!isBig(incoming.url)) return false;
    delete incoming.headers.range;
    const cut = first ? (body: Buffer) => body.subarray(0, 1_234_567) : undefined;
    first = false;
    await self.forward(incoming, outgoing, cut);
    return true;
  });
  await using store = await Store.open();
  const pulled = await store.pull(`${proxy.host}/app:v1`);
  assert.ok(readFileSync(join(await store.mount(pulled.id), 'noise')).equals(noise));
});

test('a transfer that never moves is given up, and nothing is left', async () => {
  await using proxy = await startProxy(registry.host, (incoming, outgoing) => {
    if (!isBig(incoming.url)) return false;
    outgoing.writeHead(200, { 'content-length': String(bigBlob.data.length) });
    outgoing.flushHeaders();
    outgoing.destroy();
    return true;
  });
  await using store = await Store.open();
  await assert.rejects(store.pull(`${proxy.host}/app:v1`), { kind: 'Unavailable' });
  assert.deepEqual(store.leftovers(), []);
});

test('a registry that sends more than the manifest says is refused', async () => {
  await using proxy = await startProxy(registry.host, (incoming, outgoing) => {
    if (!isBig(incoming.url)) return false;
    outgoing.end(Buffer.concat([bigBlob.data, Buffer.from('more')]));
    return true;
  });
  await using store = await Store.open();
  await assert.rejects(store.pull(`${proxy.host}/app:v1`), { kind: 'DataLoss', message: /more than the \d+ bytes/ });
});

for (const where of ['headers', 'body'] as const) {
  test(`silence instead of ${where} ends with the progress timeout`, async () => {
    await using proxy = await startProxy(registry.host, (incoming, outgoing) => {
      if (!isBig(incoming.url)) return false;
      if (where === 'body') outgoing.writeHead(200).write(bigBlob.data.subarray(0, 1000));
      return true;
    });
    await using store = await Store.open({ progressTimeoutMs: 300 });
    await assert.rejects(store.pull(`${proxy.host}/app:v1`), { kind: 'DeadlineExceeded' });
    assert.deepEqual(store.leftovers(), []);
  });
}

for (const { status, retryAfter } of [
  { status: 429, retryAfter: '0' },
  { status: 503, retryAfter: new Date(0).toUTCString() },
]) {
  test(`${status} with Retry-After is tried again`, async () => {
    const refused = new Set<string>();
    await using proxy = await startProxy(registry.host, (incoming, outgoing) => {
      const url = incoming.url ?? '';
      if (refused.has(url)) return false;
      refused.add(url);
      outgoing.writeHead(status, { 'retry-after': retryAfter }).end();
      return true;
    });
    await using store = await Store.open();
    assert.equal((await store.pull(`${proxy.host}/app:v1`)).id, built.config.digest);
    assert.equal(refused.size, 4);
  });
}

test('a redirect is followed, and the other host sees no credentials', async () => {
  await using elsewhere = await startProxy(registry.host);
  await using proxy = await startProxy(registry.host, (incoming, outgoing) => {
    if (!incoming.headers.authorization) outgoing.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    else if (incoming.url?.includes('/blobs/'))
      outgoing.writeHead(307, { location: `http://${elsewhere.host}${incoming.url}` }).end();
    else return false;
    return true;
  });
  await using store = await Store.open();
  await store.images.pull({ reference: `${proxy.host}/app:v1`, auth: secret });
  assert.equal(elsewhere.blobs().length, 3);
  for (const { headers } of elsewhere.asked) assert.equal(headers.authorization, undefined);
});

test('redirects in a circle, and to what is no web server, are refused', async () => {
  for (const location of ['/v2/app/manifests/v1', 'file:///etc/passwd', 'http://']) {
    await using proxy = await startProxy(registry.host, (_, outgoing) => {
      outgoing.writeHead(302, { location }).end();
      return true;
    });
    await using store = await Store.open();
    await assert.rejects(store.pull(`${proxy.host}/app:v1`), { kind: 'FailedPrecondition' });
    assert.ok(proxy.asked.length <= 6);
  }
});

test('a storm of 401 ends, and costs few requests', async () => {
  await using proxy = await startProxy(registry.host, (_, outgoing) => {
    outgoing.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    return true;
  });
  await using store = await Store.open();
  await assert.rejects(store.images.pull({ reference: `${proxy.host}/app:v1`, auth: secret }), {
    kind: 'Unauthenticated',
  });
  assert.equal(proxy.asked.length, 2);
});

test('documents that are too long, or lie about what they are, are refused', async () => {
  const odd = (data: Buffer | string, type = 'application/vnd.oci.image.manifest.v1+json') =>
    startProxy(registry.host, (incoming, outgoing) => {
      if (!incoming.url?.includes('/manifests/')) return false;
      outgoing.writeHead(200, { 'content-type': type }).end(data);
      return true;
    });
  for (const [data, kind, type] of [
    [Buffer.alloc(5 * 2 ** 20, ' '), 'ResourceExhausted', undefined],
    ['<html>login</html>', 'InvalidArgument', 'text/html'],
    [JSON.stringify({ schemaVersion: 1 }), 'Unimplemented', 'application/vnd.docker.distribution.manifest.v1+json'],
  ] as const) {
    await using proxy = await odd(data, type);
    await using store = await Store.open();
    await assert.rejects(store.pull(`${proxy.host}/app:v1`), { kind });
  }
  const nested = blob(
    JSON.stringify({
      schemaVersion: 2,
      manifests: [{ digest: built.manifest.digest, size: 1, platform: { os: 'linux', architecture: 'amd64' } }],
    }),
  );
  await using proxy = await startProxy(registry.host, (incoming, outgoing) => {
    if (!incoming.url?.includes('/manifests/')) return false;
    outgoing.end(nested.data); // whatever is asked for: an index that names what it is not
    return true;
  });
  await using store = await Store.open();
  await assert.rejects(store.pull(`${proxy.host}/app:v1`), { kind: 'DataLoss' });
});

test('a layer whose window is larger than any that is taken is not called damaged', async () => {
  const large = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3, 1, 0, 0]); // 256 MiB (RFC 8878, 3.1.1.1.2)
  const plain = layer(tar(file('x', 'y')), 'zstd');
  await pushImage({ host: registry.host, repository: 'app' }, 'large', image([{ ...plain, blob: blob(large) }]));
  await using store = await Store.open();
  await assert.rejects(store.pull(`${registry.host}/app:large`), {
    kind: 'ResourceExhausted',
    message: /too much memory/,
  });
});

test('equal pulls at once share one download', async () => {
  await using proxy = await startProxy(registry.host);
  await using store = await Store.open();
  const pulls = await Promise.all(Array.from({ length: 30 }, () => store.pull(`${proxy.host}/app:v1`)));
  assert.equal(new Set(pulls.map(({ id }) => id)).size, 1);
  assert.equal(proxy.asked.length, 4, 'manifest, config and two layers');
});

test('two images with a layer in common, pulled at once, fetch it once', async () => {
  const other = image([built.layers[0]!, layer(tar(file('c', 'y')))]);
  await pushImage({ host: registry.host, repository: 'app' }, 'other', other);
  await using proxy = await startProxy(registry.host);
  await using store = await Store.open();
  await Promise.all([store.pull(`${proxy.host}/app:v1`), store.pull(`${proxy.host}/app:other`)]);
  assert.equal(proxy.asked.filter(({ url }) => isBig(url)).length, 1);
});

/** A proxy that lets a layer begin and then says nothing, and a promise of that moment. */
async function stalling() {
  const { promise: stalled, resolve } = Promise.withResolvers<void>();
  const { promise: left, resolve: leave } = Promise.withResolvers<void>();
  const proxy = await startProxy(registry.host, (incoming, outgoing) => {
    if (!isBig(incoming.url)) return false;
    outgoing.writeHead(200).write(bigBlob.data.subarray(0, 1_000_000), () => resolve());
    outgoing.once('close', () => leave());
    return true;
  });
  return { proxy, stalled, left };
}

test('a cancelled pull takes no layer from an image that was pulled meanwhile', async () => {
  const base = layer(tar(file('base', 'x')));
  const derived = image([base, layer(tar(file('mid', 'x'))), built.layers[0]!]);
  await pushImage({ host: registry.host, repository: 'app' }, 'derived', derived);
  await pushImage({ host: registry.host, repository: 'app' }, 'base', image([base]));
  const { proxy: slow, stalled } = await stalling();
  await using proxy = slow;
  await using store = await Store.open({ maxParallelLayers: 4 });
  const cancel = new AbortController();
  const pull = store.pull(`${proxy.host}/app:derived`, cancel.signal);
  pull.catch(() => {});
  await stalled;
  // The next image comes while the first one's layers are being removed, as far as it may then.
  const remove = store.snapshots.remove.bind(store.snapshots);
  const removing = Promise.withResolvers<void>();
  let pulled: Promise<unknown> | null = null;
  store.snapshots.remove = async (key, unless) => {
    if (!pulled) {
      pulled = store.pull(`${proxy.host}/app:base`);
      await Promise.race([pulled, sleep(1000)]);
    }
    await remove(key, unless);
    removing.resolve();
  };
  cancel.abort(new Error('enough'));
  await removing.promise;
  await pulled;
  await store.images.idle();
  assert.ok(readFileSync(join(await store.mount(`${proxy.host}/app:base`), 'base')).equals(Buffer.from('x')));
});

test('a cancelled pull stops the transfer and leaves nothing', async () => {
  const { proxy, stalled, left } = await stalling();
  await using _ = proxy;
  await using store = await Store.open();
  const stop = new AbortController();
  const pull = store.pull(`${proxy.host}/app:v1`, stop.signal);
  await stalled;
  stop.abort(new Error('the caller went away'));
  await assert.rejects(pull, { message: 'the caller went away' });
  await left;
  await store.images.idle();
  assert.deepEqual(store.leftovers(), []);
});

test('one caller that leaves does not disturb the other', async () => {
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  await using proxy = await startProxy(registry.host, async (incoming) => {
    if (isBig(incoming.url)) {
      begun.resolve();
      await gate.promise;
    }
    return false;
  });
  await using store = await Store.open();
  const stop = new AbortController();
  const leaving = store.pull(`${proxy.host}/app:v1`, stop.signal);
  const staying = store.pull(`${proxy.host}/app:v1`);
  await begun.promise;
  stop.abort(new Error('left'));
  await assert.rejects(leaving, { message: 'left' });
  gate.resolve();
  assert.equal((await staying).id, built.config.digest);
});

test('a pull that takes longer than it may says so', async () => {
  const { proxy } = await stalling();
  await using _ = proxy;
  await using store = await Store.open({ pullTimeoutMs: 500 });
  await assert.rejects(store.pull(`${proxy.host}/app:v1`), {
    kind: 'DeadlineExceeded',
    message: /did not finish within 0.5 s/,
  });
  assert.deepEqual(store.leftovers(), []);
});

for (const { name, size, inodes } of [
  { name: 'space', size: '1m', inodes: 1000 },
  { name: 'inodes', size: '50m', inodes: 30 },
]) {
  test(`a disk without ${name} is ResourceExhausted, and what was written is gone`, async () => {
    const many = image([...built.layers, layer(tar(...Array.from({ length: 60 }, (_, i) => file(`f${i}`, 'x'))))]);
    await pushImage({ host: registry.host, repository: 'app' }, 'many', many);
    const disk = mkdtempSync(join(tmpdir(), 'berth-small-'));
    mount('tmpfs', disk, 'tmpfs', 0, `size=${size},nr_inodes=${inodes}`);
    try {
      const snapshots = await openSnapshots(join(disk, 'snapshots'));
      const platform = { os: 'linux', architecture: 'amd64', variant: '' };
      const images = await openImages({ dataDir: disk, certsDir: '/nonexistent', platform }, snapshots);
      await assert.rejects(images.pull({ reference: `${registry.host}/app:many`, auth: null }), {
        kind: 'ResourceExhausted',
      });
      await images.close();
      assert.deepEqual([...readdirSync(join(disk, 'snapshots')), ...readdirSync(join(disk, 'images'))], []);
    } finally {
      unmount(disk);
      rmdirSync(disk);
    }
  });
}
