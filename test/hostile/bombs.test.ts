// Small blobs that want to be large: stopped at the limit, gone afterwards. The largest ones with BERTH_SLOW=1.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { after, before, test } from 'node:test';
import { createZstdCompress, gzipSync, zstdCompressSync } from 'node:zlib';
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

/** A layer of one large file that is the same million bytes again and again. */
async function repeated(million: Buffer, size: number): Promise<BuiltLayer> {
  const stream = createZstdCompress();
  const inner = createHash('sha256');
  const parts: Buffer[] = [];
  const content = function* () {
    yield header(file('file'), size);
    for (let n = 0; n < size / million.length; n++) yield million;
    yield Buffer.alloc(1024 + ((512 - (size % 512)) % 512));
  };
  const counted = function* () {
    for (const part of content()) {
      inner.update(part);
      yield part;
    }
  };
  await pipeline(counted, stream, async (compressed) => {
    for await (const part of compressed) parts.push(part as Buffer);
  });
  return { ...layer(tar()), blob: blob(Buffer.concat(parts)), diffId: `sha256:${inner.digest('hex')}` };
}
/** More than a gigabyte. */
const large = 1_200_000_000;

test('a thousand times its size, and more than a gigabyte, is a bomb', async () => {
  await using store = await Store.open();
  const bomb = await repeated(Buffer.alloc(1_000_000, 'bomb'), large);
  await assert.rejects(store.images.load(saved(bomb)), { kind: 'ResourceExhausted', message: /200 times its size/ });
  assert.deepEqual(store.leftovers(), []);
});

test('as many zeros in a file are a file like any other, and take no disk', async () => {
  await using store = await Store.open();
  const [loaded] = await store.images.load(saved(await repeated(Buffer.alloc(1_000_000), large)));
  const { size, blocks } = statSync(join(await store.mount(loaded!.id), 'file'));
  assert.equal(size, large);
  assert.ok(blocks < 10_000, `${blocks} blocks`);
  assert.ok(loaded!.size >= large, 'they count as what they are');
});

test('zeros that are no content of a file count', async () => {
  const content = Buffer.concat([header({ name: 'x', type: 'g' }, 0), Buffer.alloc(1024)]);
  const tail = function* () {
    yield content;
    for (let n = 0; n < large / 1_000_000; n++) yield Buffer.alloc(1_000_000);
  };
  const parts: Buffer[] = [];
  await pipeline(tail, createZstdCompress(), async (compressed) => {
    for await (const part of compressed) parts.push(part as Buffer);
  });
  await using store = await Store.open();
  const bomb = { ...layer(tar()), blob: blob(Buffer.concat(parts)), diffId: sha256('never reached') };
  await assert.rejects(store.images.load(saved(bomb)), { kind: 'ResourceExhausted', message: /200 times its size/ });
  assert.deepEqual(store.leftovers(), []);
});

test('holes are where zeros were: everything else is where it was', async () => {
  const piece = 32 * 1024;
  const content = Buffer.alloc(40 * piece, 'x');
  for (const [from, to] of [
    [0, 3],
    [5, 5.5],
    [9.25, 14.75],
    [20, 21],
    [37.125, 40],
  ] as const) {
    content.fill(0, from * piece, to * piece);
  }
  await using store = await Store.open();
  for (const compression of ['none', 'gzip'] as const) {
    const [loaded] = await store.images.load(saved(layer(tar(file('a'), file(compression, content)), compression)));
    const path = join(await store.mount(loaded!.id), compression);
    assert.ok(readFileSync(path).equals(content));
    assert.ok(statSync(path).blocks * 512 < content.length - 3 * piece);
    store.unmount();
  }
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
