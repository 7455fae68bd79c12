// Images named by sha512, in whole and in part. Debian's registry keeps such blobs but takes no such manifest: a proxy
// before it answers for those.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import {
  type BuiltImage,
  blob,
  digestWith,
  image,
  index,
  layer,
  ociIndex,
  pushBlob,
  pushImage,
  sha256,
  writeLayout,
} from '../registry/images.ts';
import { startProxy } from '../registry/proxy.ts';
import { type Registry, startRegistry } from '../registry/server.ts';
import { Store } from '../registry/store.ts';
import { dir, file, tar } from '../registry/tar.ts';

await ownHost();

const lower = tar(dir('etc'), file('etc/a', 'one'));
const upper = tar(file('etc/a', 'two'), file('b', 'x'));
const long = { blob: 'sha512', diffId: 'sha512' } as const;
const whole = image([layer(lower, 'gzip', long), layer(upper, 'zstd', long)], { algorithm: 'sha512' });
let registry: Registry;
before(async () => {
  registry = await startRegistry();
});
after(() => registry[Symbol.asyncDispose]());

/** The registry with these documents by digest in front of it. */
const withDocuments = (documents: Readonly<Record<string, { data: Buffer; type: string }>>) =>
  startProxy(registry.host, (incoming, outgoing) => {
    const found = documents[incoming.url?.split('/manifests/')[1] ?? ''];
    if (!found) return false;
    outgoing.writeHead(200, { 'content-type': found.type, 'content-length': found.data.length }).end(found.data);
    return true;
  });

async function push(built: BuiltImage): ReturnType<typeof startProxy> {
  for (const { blob: data } of built.layers) await pushBlob({ host: registry.host, repository: 'app' }, data);
  await pushBlob({ host: registry.host, repository: 'app' }, built.config);
  return withDocuments({ [built.manifest.digest]: { data: built.manifest.data, type: built.mediaType } });
}

async function expectTree(store: Store, id: string): Promise<void> {
  const root = await store.mount(id);
  assert.deepEqual(readdirSync(root), ['b', 'etc']);
  assert.equal(readFileSync(join(root, 'etc/a'), 'utf8'), 'two');
}

test('manifest, config, layers and diff ids by sha512: pulled, found by every name, kept over a restart', async () => {
  await using proxy = await push(whole);
  await using store = await Store.open();
  const name = `${proxy.host}/app@${whole.manifest.digest}`;
  const pulled = await store.pull(name);
  assert.equal(pulled.id, whole.config.digest);
  assert.match(pulled.id, /^sha512:[0-9a-f]{128}$/);
  assert.deepEqual(pulled.digests, [name]);
  const [first, second] = whole.layers.map(({ diffId }) => diffId);
  assert.deepEqual(pulled.layers, [first, sha256(`${first} ${second}`)]);
  await store.reopen();
  const hex = pulled.id.slice('sha512:'.length);
  for (const text of [name, pulled.id, hex, hex.slice(0, 40), `sha512:${hex.slice(0, 12)}`]) {
    assert.equal(store.images.find(text)?.id, pulled.id, text);
  }
  assert.equal(store.images.find(`sha256:${hex.slice(0, 12)}`), undefined);
  await expectTree(store, pulled.id);
  store.unmount();
  await store.images.remove(name, () => false);
  assert.deepEqual(store.leftovers(), []);
});

for (const compression of ['gzip', 'none'] as const) {
  for (const by of [{ blob: 'sha512' }, { diffId: 'sha512' }] as const) {
    test(`a tag whose ${Object.keys(by)} of a layer (${compression}) is by sha512, the rest by sha256`, async () => {
      const built = image([layer(lower), layer(upper, compression, by)]);
      await pushImage({ host: registry.host, repository: 'mixed' }, 'v1', built);
      await using store = await Store.open();
      const pulled = await store.pull(`${registry.host}/mixed:v1`);
      assert.deepEqual(pulled.digests, [`${registry.host}/mixed@${built.manifest.digest}`]);
      await expectTree(store, pulled.id);
    });
  }
}

test('an index by sha512 leads to a manifest by sha512', async () => {
  await using _ = await push(whole);
  const list = blob(index([whole]).data, 'sha512');
  await using proxy = await withDocuments({
    [list.digest]: { data: list.data, type: ociIndex },
    [whole.manifest.digest]: { data: whole.manifest.data, type: whole.mediaType },
  });
  await using store = await Store.open();
  const pulled = await store.pull(`${proxy.host}/app@${list.digest}`);
  assert.deepEqual(pulled.digests, [`${proxy.host}/app@${list.digest}`]);
  await expectTree(store, pulled.id);
});

/** The same name for other content: the last character of a digest of its own. */
const other = (digest: string): string => digest.slice(0, -1) + (digest.endsWith('0') ? '1' : '0');

for (const compression of ['gzip', 'none'] as const) {
  for (const what of ['manifest', 'config', 'blob', 'diffId'] as const) {
    test(`a ${what} (${compression}) that is not what its sha512 says is refused, and nothing is left`, async () => {
      const own = layer(upper, compression, long);
      const lies = {
        ...own,
        diffId: what === 'diffId' ? other(own.diffId) : own.diffId,
        blob: what === 'blob' ? { ...own.blob, digest: other(own.blob.digest) } : own.blob,
      };
      const editManifest = (json: Record<string, unknown>) => {
        const config = json.config as { digest: string };
        if (what === 'config') config.digest = other(config.digest);
      };
      const built = image([layer(lower, 'gzip', long), lies], { algorithm: 'sha512', editManifest });
      const target = what === 'manifest' ? other(built.manifest.digest) : built.manifest.digest;
      const documents = new Map<string, Buffer>([
        [target, built.manifest.data],
        [what === 'config' ? other(built.config.digest) : built.config.digest, built.config.data],
        ...built.layers.map(({ blob: { digest, data } }): [string, Buffer] => [digest, data]),
      ]);
      await using proxy = await startProxy(registry.host, (incoming, outgoing) => {
        const data = documents.get(/[^/]*$/.exec(incoming.url ?? '')![0]);
        if (data) outgoing.writeHead(200, { 'content-type': built.mediaType }).end(data);
        return data !== undefined;
      });
      await using store = await Store.open();
      await assert.rejects(store.pull(`${proxy.host}/app@${target}`), { kind: 'DataLoss', message: /sha512:/ });
      assert.deepEqual(store.leftovers(), []);
    });
  }
}

test('an OCI layout by sha512, and its damage', async () => {
  const work = mkdtempSync(join(tmpdir(), 'berth-sha512-'));
  try {
    writeLayout(work, { 'docker.io/team/app:v1': whole });
    await using store = await Store.open();
    const [loaded] = await store.images.load(work);
    assert.equal(loaded?.id, whole.config.digest);
    await expectTree(store, 'team/app:v1');
    store.unmount();
    await store.images.remove(loaded!.id, () => false);
    writeFileSync(join(work, 'blobs', whole.config.digest.replace(':', '/')), '{}');
    await assert.rejects(store.images.load(work), { kind: 'DataLoss' });
    assert.deepEqual(store.leftovers(), []);
  } finally {
    rmSync(work, { recursive: true });
  }
});

test('an algorithm that cannot be verified is refused by name', async () => {
  await using store = await Store.open();
  const unknown = `blake3:${'a'.repeat(64)}`;
  await assert.rejects(store.pull(`${registry.host}/app@${unknown}`), {
    kind: 'InvalidArgument',
    message: /algorithm blake3, which cannot be verified here; sha256 and sha512 can/,
  });
  const edit = (json: Record<string, unknown>) => {
    (json.layers as { digest: string }[])[0]!.digest = unknown;
  };
  const built = image([layer(lower)], { editManifest: edit, algorithm: 'sha512' });
  await using proxy = await withDocuments({ v1: { data: built.manifest.data, type: built.mediaType } });
  await assert.rejects(store.pull(`${proxy.host}/app:v1`), { kind: 'InvalidArgument', message: /algorithm blake3/ });
  assert.equal(store.images.find(`${registry.host}/app@${unknown}`), undefined);
  assert.equal(digestWith('sha512', built.manifest.data), built.manifest.digest);
});
