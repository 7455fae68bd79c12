// Small blobs that want to be large: stopped at the limit, gone afterwards. The largest ones with BERTH_SLOW=1.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createGzip, gzipSync, zstdCompressSync } from 'node:zlib';
import { ownHost } from '../harness/own-host.ts';
import { type BuiltLayer, blob, image, layer, sha256, writeLayout } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { dir, file, header, symlink, tar } from '../registry/tar.ts';

await ownHost();

const skip = !process.env.BERTH_SLOW;
let work = '';
before(() => {
  work = mkdtempSync(join(tmpdir(), 'berth-bombs-'));
});
after(() => rmSync(work, { recursive: true }));

function saved(...layers: BuiltLayer[]): string {
  const layout = mkdtempSync(join(work, 'layout-'));
  writeLayout(layout, { app: image(layers) });
  return layout;
}
const limits = { maxBytes: 50_000_000, maxEntries: 20_000, maxRatio: 200 };

const zeros = tar(file('zeros', Buffer.alloc(100_000_000)));
for (const compression of ['gzip', 'zstd'] as const) {
  test(`100 MB of zeros in a small ${compression} stop at the limit`, async () => {
    const bomb = layer(zeros, compression);
    assert.ok(bomb.blob.data.length < 200_000);
    await using store = await Store.open({ limits });
    await assert.rejects(store.images.load(saved(bomb)), { kind: 'ResourceExhausted', message: /more than 50000000/ });
    assert.deepEqual(store.leftovers(), []);
  });
}

test('layers below the limit one by one, above it together, are refused', async () => {
  await using store = await Store.open({ limits });
  const layers = [1, 2, 3].map((n) => layer(tar(file(`f${n}`, Buffer.alloc(20_000_000, n)))));
  await assert.rejects(store.images.load(saved(...layers)), { kind: 'ResourceExhausted' });
  assert.deepEqual(store.leftovers(), []);
  await store.images.load(saved(layers[0]!, layers[1]!));
});

test('an archive of images that is compressed as a whole stops at the limit', async () => {
  await using store = await Store.open({ limits });
  for (const [name, data] of [
    ['bomb.gz', gzipSync(zeros)],
    ['bomb.zst', zstdCompressSync(zeros)],
  ] as const) {
    writeFileSync(join(work, name), data);
    await assert.rejects(store.images.load(join(work, name)), { kind: 'ResourceExhausted' });
    assert.deepEqual(store.leftovers(), []);
  }
});

test('links that name each other many times are followed as often as the kernel would', async () => {
  await using store = await Store.open({ limits, progressTimeoutMs: 5000 });
  const links = Array.from({ length: 8 }, (_, i) => symlink(`l${i + 1}`, `${`l${i}/u/`.repeat(600)}d`));
  const members = [dir('d'), symlink('d/u', '/'), symlink('l0', 'd'), ...links];
  // What is missing at the start is never made: so the kernel gives up early, and we go on by ourselves.
  const bomb = layer(tar(...members, symlink('start', 'missing/..'), file('start/l8/file', 'x')));
  await assert.rejects(store.images.load(saved(bomb)), {
    kind: 'InvalidArgument',
    message: /goes through too many symbolic links/,
  });
  assert.deepEqual(store.leftovers(), []);
});

test('more layers than the limit are refused before any is fetched', async () => {
  await using store = await Store.open({ limits: { ...limits, maxLayers: 3 } });
  const layers = [1, 2, 3, 4].map((n) => layer(tar(file(`f${n}`))));
  await assert.rejects(store.images.load(saved(...layers)), { kind: 'ResourceExhausted', message: /4 layers/ });
});

test('a thousand times its size, and more than a gigabyte, is a bomb', { skip }, async () => {
  const size = 1_200_000_000;
  const gzip = createGzip({ level: 9 });
  const parts: Buffer[] = [];
  const compressed = (async () => {
    for await (const part of gzip) parts.push(part);
  })();
  gzip.write(header(file('zeros'), size));
  const million = Buffer.alloc(1_000_000);
  for (let n = 0; n < size / million.length; n++) {
    if (!gzip.write(million)) await new Promise((resolve) => gzip.once('drain', resolve));
  }
  gzip.end(Buffer.alloc(1024));
  await compressed;
  const bomb = { ...layer(tar()), blob: blob(Buffer.concat(parts)), diffId: sha256('never reached') };
  await using store = await Store.open();
  await assert.rejects(store.images.load(saved(bomb)), { kind: 'ResourceExhausted', message: /200 times its size/ });
  assert.deepEqual(store.leftovers(), []);
});

for (const { name, count, members } of [
  { name: 'a million empty files', count: 1_000_000, members: (n: number) => [header(file(`${n % 1000}/${n}`), 0)] },
  {
    name: '200,000 opaque directories',
    count: 200_000,
    members: (n: number) => [header(dir(`${n % 500}/${n}`), 0), header(file(`${n % 500}/${n}/.wh..wh..opq`), 0)],
  },
]) {
  test(`${name} are an image like any other`, { skip }, async () => {
    const headers = Array.from({ length: count }, (_, n) => members(n)).flat();
    const content = Buffer.concat([...headers, Buffer.alloc(1024)]);
    await using store = await Store.open();
    const [loaded] = await store.images.load(saved(layer(content, 'none')));
    assert.equal(loaded?.layers.length, 1);
    await store.images.remove(loaded!.id, () => false);
    assert.deepEqual(store.leftovers(), []);
  });
}
