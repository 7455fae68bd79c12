// What the store remembers, forgets and frees.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import {
  artifact,
  type BuiltImage,
  image,
  index,
  layer,
  namedText,
  ociIndex,
  pushImage,
  pushManifest,
} from '../registry/images.ts';
import { type Registry, startRegistry } from '../registry/server.ts';
import { Store } from '../registry/store.ts';
import { dir, file, tar } from '../registry/tar.ts';

await ownHost();

let registry: Registry;
before(async () => {
  registry = await startRegistry();
});
after(() => registry[Symbol.asyncDispose]());

const base = layer(tar(dir('etc'), file('etc/a', 'x'.repeat(5000))));
const first = image([base, layer(tar(file('one', '1')))]);
const second = image([base, layer(tar(file('two', '2')))]);
const notUsed = () => false;

let serial = 0;
/** A repository of its own for each test. */
async function pushed(images: Record<string, BuiltImage>): Promise<string> {
  const repository = `app${serial++}`;
  for (const [tag, built] of Object.entries(images)) await pushImage({ host: registry.host, repository }, tag, built);
  return `${registry.host}/${repository}`;
}
const keys = (store: Store) => readdirSync(join(store.root, 'v1/snapshots')).length;

test('an artifact is pulled with its files; in an index an image comes before it', async () => {
  await using store = await Store.open();
  const built = artifact([namedText('weights', 'w.bin'), namedText('read', 'README')]);
  const name = await pushed({ v1: built, image: first });
  const pulled = await store.pull(`${name}:v1`);
  assert.deepEqual([pulled.id, pulled.artifactType], [built.manifest.digest, 'application/vnd.example.thing']);
  const root = await store.mount(pulled.id);
  assert.deepEqual(readdirSync(root).sort(), ['README', 'w.bin']);
  assert.equal(readFileSync(join(root, 'w.bin'), 'utf8'), 'weights');
  assert.deepEqual(await store.pull(`${name}:v1`), pulled, 'by a HEAD alone');
  const to = { host: registry.host, repository: name.slice(name.indexOf('/') + 1) };
  const unsaid = ({ manifest, mediaType }: BuiltImage) => ({
    mediaType,
    digest: manifest.digest,
    size: manifest.data.length,
  });
  await pushManifest(to, 'both', index([], ociIndex, [unsaid(built), unsaid(first)]), ociIndex);
  await pushManifest(to, 'only', index([], ociIndex, [unsaid(built)]), ociIndex);
  assert.equal((await store.pull(`${name}:both`)).id, first.config.digest);
  assert.equal((await store.pull(`${name}:only`)).id, pulled.id);
  store.unmount();
  for (const { id } of store.images.list()) await store.images.remove(id, notUsed);
  assert.deepEqual(store.leftovers(), []);
});

test('images survive a restart', async () => {
  await using store = await Store.open();
  const name = await pushed({ v1: first });
  const pulled = await store.pull(`${name}:v1`);
  await store.reopen();
  assert.deepEqual(store.images.find(`${name}:v1`), pulled);
  assert.deepEqual(store.images.list(), [pulled]);
  assert.equal(readFileSync(join(await store.mount(pulled.id), 'one'), 'utf8'), '1');
});

test('after a pull has settled, everything is marked as on disk', async () => {
  await using store = await Store.open();
  const pulled = await store.pull(`${await pushed({ v1: first })}:v1`);
  await store.images.idle();
  for (const key of pulled.layers) {
    const text = readFileSync(join(store.root, 'v1/snapshots', key.replace(':', '-'), 'snapshot.json'), 'utf8');
    assert.equal(JSON.parse(text).boot, null);
  }
});

test('an image of which a layer is gone is forgotten at the start, and can be pulled again', async () => {
  await using store = await Store.open();
  const name = await pushed({ v1: first, v2: second });
  const one = await store.pull(`${name}:v1`);
  const two = await store.pull(`${name}:v2`);
  await store.images.idle();
  writeFileSync(join(store.root, 'v1/snapshots', one.layers[1]!.replace(':', '-'), 'snapshot.json'), 'torn');
  await store.reopen();
  assert.deepEqual(store.images.list(), [two]);
  assert.equal((await store.pull(`${name}:v1`)).id, one.id);
});

test('a tag that moves belongs to the new image; the old one stays by id and digest', async () => {
  await using store = await Store.open();
  const name = await pushed({ latest: first });
  const old = await store.pull(name);
  await pushImage({ host: registry.host, repository: name.slice(name.indexOf('/') + 1) }, 'latest', second);
  const moved = await store.pull(name);
  assert.equal(moved.id, second.config.digest);
  assert.equal(store.images.find(name)?.id, moved.id);
  assert.deepEqual(store.images.find(old.id)?.tags, []);
  assert.equal(store.images.find(old.digests[0]!)?.id, old.id);
  await store.reopen();
  assert.equal(store.images.find(name)?.id, moved.id);
});

test('one image under several names has them all, and removing one name removes the image', async () => {
  await using store = await Store.open();
  const [a, b] = [await pushed({ v1: first }), await pushed({ v1: first, v2: first })];
  await store.pull(`${a}:v1`);
  await store.pull(`${b}:v1`);
  const pulled = await store.pull(`${b}:v2`);
  assert.deepEqual([...pulled.tags].sort(), [`${a}:v1`, `${b}:v1`, `${b}:v2`].sort());
  assert.equal(pulled.digests.length, 2);
  await store.images.remove(`${b}:v1`, notUsed);
  assert.equal(store.images.find(`${a}:v1`), undefined);
  assert.deepEqual(store.leftovers(), []);
  await store.images.remove(`${b}:v1`, notUsed);
  await store.images.remove('never/heard:of', notUsed);
});

test('removing an image frees what no other image has', async () => {
  await using store = await Store.open();
  const name = await pushed({ v1: first, v2: second });
  await store.pull(`${name}:v1`);
  await store.pull(`${name}:v2`);
  assert.equal(keys(store), 3);
  await store.images.remove(`${name}:v1`, notUsed);
  assert.equal(keys(store), 2);
  assert.equal(readFileSync(join(await store.mount(`${name}:v2`), 'two'), 'utf8'), '2');
});

test('a mounted image stays; layers of a container stay until it is gone, and go with the next removal or gc', async () => {
  await using store = await Store.open();
  const name = await pushed({ v1: first, v2: second });
  const pulled = await store.pull(`${name}:v1`);
  await assert.rejects(
    store.images.remove(name.concat(':v1'), (id) => id === pulled.id),
    { kind: 'FailedPrecondition' },
  );
  await store.snapshots.prepare('container', pulled.layers.at(-1)!);
  await store.images.remove(pulled.id, notUsed);
  assert.deepEqual(store.images.list(), []);
  assert.equal(keys(store), 3);
  await store.images.gc();
  assert.equal(keys(store), 3);
  await store.pull(name.concat(':v2'));
  assert.equal(keys(store), 4);
  await store.snapshots.remove('container');
  await store.images.remove(name.concat(':v2'), notUsed);
  assert.deepEqual(store.leftovers(), []);
  await store.pull(name.concat(':v1'));
  await store.snapshots.prepare('container', pulled.layers.at(-1)!);
  await store.images.remove(pulled.id, notUsed);
  await store.snapshots.remove('container');
  const dry = await store.images.gc({ usedParents: [pulled.layers[0]!], dryRun: true });
  assert.deepEqual(
    dry.map(({ key }) => key),
    [pulled.layers[1]!],
  );
  assert.ok(dry[0]!.bytes >= 8192);
  assert.equal(keys(store), 2);
  await store.images.gc({ usedParents: [pulled.layers[0]!] });
  assert.equal(keys(store), 1);
  await store.images.gc();
  assert.deepEqual(store.leftovers(), []);
});

test('gc during a pull takes nothing from it', async () => {
  await using store = await Store.open();
  const name = await pushed({ v1: first });
  const pull = store.pull(`${name}:v1`);
  let pulled: unknown;
  pull.then((result) => {
    pulled = result;
  });
  while (!pulled) {
    await store.images.gc();
    await new Promise(setImmediate);
  }
  await store.mount(`${name}:v1`);
  assert.equal(keys(store), 2);
});

test('an id prefix finds its image only if it is one image', async () => {
  await using store = await Store.open();
  const { id } = await store.pull(`${await pushed({ v1: first })}:v1`);
  for (const text of [id, id.slice(7), id.slice(0, 12), id.slice(7, 10)])
    assert.equal(store.images.find(text)?.id, id, text);
  for (const text of ['', 'sha256:', id.slice(7, 9), `${id}0`, 'f'.repeat(64), 'UPPER', '../x']) {
    assert.equal(store.images.find(text), undefined, text);
  }
});

test('size is that of the unpacked files and documents, and fsInfo is what du says', async () => {
  await using store = await Store.open();
  const pulled = await store.pull(`${await pushed({ v1: first })}:v1`);
  assert.equal(pulled.size, 5001 + first.config.data.length + first.manifest.data.length);
  const { mountpoint, bytes, inodes } = await store.images.fsInfo();
  assert.equal(mountpoint, join(store.root, 'v1/snapshots'));
  assert.equal(inodes, 3 + 2);
  assert.equal(bytes, 4096 * 3 + 8192 + 4096);
  await store.images.remove(pulled.id, notUsed);
  assert.equal((await store.images.fsInfo()).inodes, 0);
});

/** Connections and files that this process has open, by kind. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`).replace(/\d+/g, 'N')];
    } catch {
      return []; // the listing's own descriptor
    }
  });
}

test('pulls, failed ones too, leave no connection and no file open', async () => {
  await using store = await Store.open();
  const name = await pushed({ v1: first });
  const round = async () => {
    const { id } = await store.pull(`${name}:v1`);
    await store.images.remove(id, notUsed);
    await assert.rejects(store.pull(`${name}:none`), { kind: 'NotFound' });
    await store.images.idle();
  };
  await round();
  await round();
  const before_ = openFiles().length;
  for (let i = 0; i < 10; i++) await round();
  assert.ok(openFiles().length < before_ + 5, openFiles().join(' '));
});
