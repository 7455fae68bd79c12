// What a layer says about files of lower layers: how much disk it takes, and that nothing of the host is read for it.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { image, layer, writeLayout } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { dir, file, hardlink, symlink, tar } from '../registry/tar.ts';

await ownHost();

let work = '';
before(() => {
  work = mkdtempSync(join(tmpdir(), 'berth-lower-files-'));
});
after(() => rmSync(work, { recursive: true }));

const limits = { maxBytes: 10_000_000, maxEntries: 1000 };
const tooMuch = { kind: 'ResourceExhausted', message: /images\.limits|The layer/ };

/** Loads an image of these layers; what stands in the store, or the error, with nothing left behind. */
async function load(content: Buffer[], see: (root: string, store: Store, layers: readonly string[]) => unknown) {
  const layout = mkdtempSync(join(work, 'layout-'));
  writeLayout(layout, { app: image(content.map((item) => layer(item))) });
  await using store = await Store.open({ limits });
  try {
    const [loaded] = await store.images.load(layout);
    await see(await store.mount(loaded!.id), store, loaded!.layers);
  } catch (error) {
    assert.deepEqual(store.leftovers(), error instanceof assert.AssertionError ? store.leftovers() : []);
    throw error;
  }
}
const nothing = () => {};
const megabyte = Buffer.alloc(1_000_000, 'lower');
const times = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));

test('every layer that links to a lower file takes a copy of it, which counts', async () => {
  const links = times(8, (i) => tar(hardlink(`link-${i}`, 'f')));
  await load([tar(file('f', megabyte)), ...links], (root, store, layers) => {
    assert.equal(statSync(join(root, 'link-7')).ino, statSync(join(root, 'f')).ino);
    for (const key of layers)
      assert.ok(store.snapshots.size(key) >= megabyte.length, 'the size of a layer has its copies');
  });
  const more = times(10, (i) => tar(hardlink(`link-${i}`, 'f')));
  await assert.rejects(load([tar(file('f', megabyte)), ...more], nothing), tooMuch);
});

test('one layer with links to many lower files is refused before they fill the disk', async () => {
  const names = times(9, (i) => `f${i}`);
  const lower = tar(...names.map((name) => file(name, Buffer.alloc(1_000_000, name))));
  await assert.rejects(load([lower, tar(...names.map((name) => hardlink(`${name}-again`, name)))], nothing), tooMuch);
});

test('many names of one lower file are one copy, and stay one file', async () => {
  const names = times(60, (i) => `f${i}`);
  const lower = tar(file('f0', megabyte), ...names.slice(1).map((name) => hardlink(name, 'f0')));
  const upper = tar(
    ...names.flatMap((name) => [hardlink(`again/${name}`, name), hardlink(`more/${name}`, `again/${name}`)]),
  );
  await load([lower, upper], async (root, store, layers) => {
    const inodes = names.flatMap((name) =>
      [name, `again/${name}`, `more/${name}`].map((path) => statSync(join(root, path)).ino),
    );
    assert.equal(new Set(inodes).size, 1);
    const { bytes } = (await store.snapshots.usage(layers[1]!))!;
    assert.ok(bytes < 1_100_000, `${bytes} bytes on disk`);
  });
});

test('the copy of a file with holes has them too', async () => {
  const sparse = { 'GNU.sparse.map': '0,1', 'GNU.sparse.size': '300000000' };
  await load([tar(file('f', 'x', { pax: sparse })), tar(hardlink('link', 'f'))], (root) => {
    const { size, blocks } = statSync(join(root, 'link'));
    assert.equal(size, 300_000_000);
    assert.ok(blocks <= 16, `${blocks} blocks`);
  });
});

test('bytes between holes count with the blocks that they take', async () => {
  const map = times(5000, (i) => [i * 4096, 1]).flat();
  const pax = { 'GNU.sparse.map': map.join(','), 'GNU.sparse.size': String(5000 * 4096) };
  await assert.rejects(load([tar(file('f', Buffer.alloc(5000, 'x'), { pax }))], nothing), tooMuch);
  const dense = { 'GNU.sparse.map': '0,4096,4096,4096,8192,10', 'GNU.sparse.size': '8202' };
  await load([tar(file('f', Buffer.alloc(8202, 'x'), { pax: dense }))], (_, store, [key]) => {
    assert.equal(store.snapshots.size(key!), 3 * 4096);
  });
});

test('directories that a layer implies count as entries', async () => {
  const deep = (name: string) => `${name}/`.repeat(100);
  const members = times(12, (i) => file(`${deep(String(i))}f`));
  await assert.rejects(load([tar(...members)], nothing), tooMuch);
  await load([tar(...members.slice(0, 6))], nothing);
  // A link to a lower file needs the directories that it is in.
  const upper = tar(...times(6, (i) => hardlink(`l${i}`, `${deep(String(i))}f`)));
  await assert.rejects(load([tar(...members.slice(0, 6)), upper], nothing), tooMuch);
});

/** A directory of the host, and the same path in an image. */
function twins(name: string): { host: string; inside: string } {
  const host = join(work, name);
  mkdirSync(host);
  return { host, inside: host.slice(1) };
}

test('a link of the layer does not lead to the time of a host directory', async () => {
  const { host, inside } = twins('times');
  mkdirSync(join(host, 'b'));
  utimesSync(join(host, 'b'), 1_000_000_000, 1_000_000_000);
  const members = [dir(`${inside}/b`, { mtime: 1_500_000_000 }), symlink('out', host), hardlink('out/b/link', 'f')];
  await load([tar(file('f', 'lower')), tar(...members)], (root) => {
    assert.equal(statSync(join(root, inside, 'b')).mtimeMs, 1_500_000_000_000);
    assert.deepEqual(readdirSync(join(root, inside, 'b')), ['link']);
  });
});

test('a link of the layer does not lead to a time of the host, where the host has no such directory either', async () => {
  const { host, inside } = twins('missing');
  const members = [dir(`${inside}/b`), symlink('out', host), hardlink('out/b/link', 'f')];
  await load([tar(file('f', 'lower')), tar(...members)], (root) => {
    assert.deepEqual(readdirSync(join(root, inside, 'b')), ['link']);
  });
});

test('what a layer replaces by a link to the host moves nothing there, nor from there', async () => {
  const { host, inside } = twins('names');
  mkdirSync(join(host, 'y'));
  writeFileSync(join(host, 'y/of-the-host'), '');
  const lower = tar(dir('x'), dir('x/z'), symlink('x/y', 'z'));
  const upper = tar(file('x/y/f'), symlink('x', host), file(`${inside}/y/g`), file(`${inside}/z/k`));
  await load([lower, upper], (root) => {
    assert.deepEqual(readdirSync(join(root, inside, 'y')), ['g']);
    assert.deepEqual(readdirSync(join(root, inside, 'z')), ['k']);
  });
});
