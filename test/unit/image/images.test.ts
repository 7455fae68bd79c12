// What images there are, and which layers are whose. Files belong to whoever runs the tests.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { RegistryAuth } from '../../../src/image/auth.ts';
import { openImages } from '../../../src/image/index.ts';
import { openSnapshots } from '../../../src/snapshot/index.ts';
import { type BuiltImage, type BuiltLayer, blob, image, layer, writeLayout } from '../../registry/images.ts';
import { Store } from '../../registry/store.ts';
import { file, tar } from '../../registry/tar.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-image-units-'));
after(() => rmSync(folder, { recursive: true }));
let serial = 0;
const [uid, gid] = [process.getuid!(), process.getgid!()];
const own = { uid, gid };
const never = () => false;
const until = async (what: () => boolean) => {
  while (!what()) await new Promise(setImmediate);
};
const forever = new AbortController().signal;

const digest = (character: string, algorithm = 'sha256') =>
  `${algorithm}:${character.repeat(algorithm === 'sha256' ? 64 : 128)}`;
const config = {
  os: 'linux',
  architecture: 'amd64',
  variant: '',
  env: [],
  entrypoint: [],
  cmd: [],
  user: '',
  workingDir: '',
  labels: {},
  volumes: [],
  stopSignal: '',
};

/** Images on record, each with its layers by their names, and a store that has these: `b` on `a` is `b: 'a'`. */
async function storeOf(tree: Record<string, string | null>, images: Record<string, string> = {}) {
  const root = join(folder, `${serial++}`);
  const snapshots = await openSnapshots(join(root, 'snapshots'));
  for (const [name, parent] of Object.entries(tree)) {
    await using stage = await snapshots.stage();
    writeFileSync(join(stage.path, 'file'), name);
    await stage.commit(digest(name), parent === null ? null : digest(parent), 1);
  }
  mkdirSync(join(root, 'images'), { recursive: true });
  for (const [id, layers] of Object.entries(images)) {
    const record = {
      id,
      tags: [`docker.io/r/${id.slice(7, 8)}:1`],
      digests: [],
      config,
      layers: [...layers].map((name) => digest(name)),
      size: 1,
      pulledAt: 1,
    };
    writeFileSync(join(root, 'images', `${id.replace(':', '-')}.json`), JSON.stringify(record));
  }
  const open = () => openImages({ dataDir: root, certsDir: root }, snapshots);
  const left = () =>
    snapshots
      .list()
      .map(({ key }) => (key.startsWith('sha256') ? key.at(-1)! : key))
      .sort()
      .join('');
  return { root, snapshots, open, images: await open(), left };
}

describe('garbage', () => {
  const tree = { a: null, b: 'a', c: 'b', d: 'a' };
  const cases: Record<
    string,
    { images?: Record<string, string>; active?: string; usedParents?: string[]; garbage: string[] }
  > = {
    'all, where nothing needs any: what stands on others first': { garbage: ['c', 'b', 'd', 'a'] },
    'what no image has': { images: { [digest('1')]: 'ab' }, garbage: ['c', 'd'] },
    'nothing below a container': { active: 'c', garbage: ['d'] },
    'nothing below what is said to be used': { usedParents: [digest('d')], garbage: ['c', 'b'] },
    'nothing, where images have all': { images: { [digest('1')]: 'abc', [digest('2')]: 'ad' }, garbage: [] },
  };
  for (const [name, { images: records, active, usedParents = [], garbage }] of Object.entries(cases)) {
    test(`is ${name}; a dry run takes nothing`, async () => {
      const { snapshots, images, left } = await storeOf(tree, records);
      if (active) await snapshots.prepare('container', digest(active));
      const before = left();
      const dry = await images.gc({ usedParents, dryRun: true });
      assert.equal(left(), before);
      const found = await images.gc({ usedParents });
      assert.deepEqual(found, dry);
      const names = found.map(({ key }) => key.at(-1)!);
      assert.deepEqual(names.toSorted(), garbage.toSorted());
      for (const [index, name] of names.entries()) {
        assert.ok(
          !names.slice(0, index).includes(tree[name as keyof typeof tree]!),
          `${names}: what stands on others first`,
        );
      }
      for (const { bytes } of found) assert.ok(bytes > 0);
      for (const key of Object.keys(tree))
        assert.equal(snapshots.get(digest(key)) !== undefined, !garbage.includes(key), key);
    });
  }

  test('a layer that cannot be removed is told, and what stands below it stays', async () => {
    const { snapshots, images } = await storeOf({ a: null, b: 'a' });
    const removed: string[] = [];
    Object.assign(snapshots, {
      remove: async (key: string) => {
        removed.push(key.at(-1)!);
        throw new Error('EIO: i/o error');
      },
    });
    await assert.rejects(images.gc(), /EIO/);
    assert.deepEqual(removed, ['b']);
  });
});

describe('removal', () => {
  test('takes an image with all its names, and the layers that no other has; one that is gone is removed', async () => {
    const { images, left } = await storeOf({ a: null, b: 'a', c: 'a' }, { [digest('1')]: 'ab', [digest('2')]: 'ac' });
    await images.remove('r/1:1', never);
    assert.deepEqual([images.list().map(({ id }) => id), left()], [[digest('2')], 'ac']);
    await images.remove('r/1:1', never);
    await images.remove(digest('2'), never);
    assert.deepEqual([images.list(), left()], [[], '']);
  });

  test('of one that a container mounts is refused, of one that a container stands on leaves the layers', async () => {
    const { snapshots, images, left } = await storeOf({ a: null }, { [digest('1')]: 'a' });
    await assert.rejects(
      images.remove('r/1:1', (id) => id === digest('1')),
      { kind: 'FailedPrecondition' },
    );
    assert.equal(images.list().length, 1);
    await snapshots.prepare('container', digest('a'));
    await images.remove('r/1:1', never);
    assert.deepEqual([images.list().length, snapshots.get(digest('a'))?.kind], [0, 'committed']);
    await snapshots.remove('container');
    await images.collect();
    assert.equal(left(), '');
  });
});

test('images are found by name, by digest, by id, and by what only one id begins with', async () => {
  const [one, other, long] = [digest('1'), `sha256:12${'3'.repeat(62)}`, `sha512:12${'3'.repeat(126)}`];
  const { images } = await storeOf({ a: null }, { [one]: 'a', [other]: 'a', [long]: 'a' });
  const cases: Record<string, string | undefined> = {
    [one]: one,
    ['1'.repeat(64)]: one,
    '111': one,
    'sha256:111': one,
    '11': undefined,
    '123': undefined,
    'sha256:123': other,
    'sha512:123': long,
    [`sha256:${'9'.repeat(64)}`]: undefined,
    '': undefined,
    'Not A Name': undefined,
    'docker.io/library/none': undefined,
  };
  for (const [name, id] of Object.entries(cases)) assert.equal(images.find(name)?.id, id, name);
});

test('a start forgets images of which a layer is gone, and removes what interrupted loads left', async () => {
  const { root, open } = await storeOf({ a: null, b: 'a' }, { [digest('1')]: 'ab', [digest('2')]: 'af' });
  writeFileSync(join(root, '.load-1-1.tar'), '');
  const images = await open();
  assert.deepEqual(
    images.list().map(({ id }) => id),
    [digest('1')],
  );
  assert.deepEqual(readdirSync(root).sort(), ['documents', 'images', 'snapshots']);
  assert.equal(readdirSync(join(root, 'images')).length, 1);
});

test('what images take on the disk: each layer once, no container, and nothing that is gone', async () => {
  const { snapshots, images } = await storeOf({ a: null, b: 'a' }, { [digest('1')]: 'ab' });
  const { bytes } = await images.fsInfo();
  await snapshots.prepare('container', digest('b'));
  assert.deepEqual([await images.fsInfo(), bytes > 0], [{ mountpoint: snapshots.root, bytes, inodes: 4 }, true]);
  await snapshots.remove('container');
  await images.remove(digest('1'), never);
  assert.equal((await images.fsInfo()).bytes, 0);
  await using stage = await snapshots.stage();
  for (const name of ['one', 'two', 'three']) writeFileSync(join(stage.path, name), 'x');
  await stage.commit(digest('a'), null, 1);
  assert.equal((await images.fsInfo()).inodes, 4, 'measured anew');
});

describe('images that are loaded', () => {
  const base = layer(tar(file('base', 'x', own)));
  const good = image([base, layer(tar(file('good', 'x', own)))]);
  const other = image([base, layer(tar(file('other', 'x', own)))]);
  const bad = image([
    base,
    layer(tar(file('second', 'x', own))),
    { ...layer(tar(file('bad', 'x', own))), diffId: digest('0') },
  ]);
  const layout = (images: Record<string, BuiltImage>): string => {
    const path = join(folder, `layout-${serial++}`);
    writeLayout(path, images);
    return path;
  };
  const keysIn = (store: Store) => store.snapshots.list().length;

  /** Holds up the next layer; the returned function lets it go. */
  function hold(store: Store): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    const stage = store.snapshots.stage.bind(store.snapshots);
    const first = async () => {
      Object.assign(store.snapshots, { stage });
      await promise;
      return stage();
    };
    Object.assign(store.snapshots, { stage: first });
    return resolve;
  }

  test('a tag belongs to the image that had it last; names of before stay', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    await store.images.load(layout({ 'r/app:1': good, 'r/app:2': good }));
    const [moved] = await store.images.load(layout({ 'r/app:1': other }));
    const first = store.images.find(good.config.digest)!;
    assert.deepEqual(
      [first.tags, moved!.tags],
      [['r/app:2'], ['r/app:1']].map((tags) => tags.map((tag) => `docker.io/${tag}`)),
    );
    await store.images.load(layout({ 'r/app:3': good }));
    assert.deepEqual(store.images.find(good.config.digest)!.tags, ['docker.io/r/app:2', 'docker.io/r/app:3']);
  });

  test('one that fails leaves no layer of its own, and those of others where they are', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    await assert.rejects(store.images.load(layout({ 'r/bad:1': bad })), { kind: 'DataLoss' });
    assert.deepEqual(store.leftovers(), []);
    await store.images.load(layout({ 'r/good:1': good }));
    await assert.rejects(store.images.load(layout({ 'r/bad:1': bad })), { kind: 'DataLoss' });
    assert.equal(keysIn(store), 2);
  });

  test("what is being loaded is nobody's garbage, and is so again when its image is removed", async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    await store.images.load(layout({ 'r/other:1': other }));
    const letGo = hold(store);
    const loaded = store.images.load(layout({ 'r/good:1': good }));
    await until(() => store.images.pulls.statuses().some(({ phase }) => phase === 'fetching'));
    await assert.rejects(store.images.load(layout({ 'r/bad:1': bad })), { kind: 'DataLoss' });
    await store.images.remove('r/other:1', never);
    await store.images.gc();
    assert.equal(keysIn(store), 1, 'the layer that is there and counted on');
    letGo();
    await loaded;
    assert.equal(keysIn(store), 2);
    await store.images.remove('r/good:1', never);
    assert.deepEqual(store.leftovers(), []);
  });

  test('layers stay while they are saved', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    const large = image([layer(tar(file('large', Buffer.alloc(16 << 20, 'x'), own)), 'none')]);
    await store.images.load(layout({ 'r/large:1': large }));
    const path = join(folder, `saved-${serial++}`);
    const saved = store.images.save('r/large:1', path, forever);
    await store.images.remove('r/large:1', never);
    assert.equal(keysIn(store), 1);
    await saved;
    await store.images.collect();
    assert.equal(keysIn(store), 0);
    const [again] = await store.images.load(path);
    assert.deepEqual(again!.tags, ['docker.io/r/large:1']);
  });

  test('a save that is called off leaves no file; one over a file that there is is refused', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    await store.images.load(layout({ 'r/good:1': good }));
    const path = join(folder, `saved-${serial++}`);
    const calledOff = AbortSignal.abort(new Error('client left'));
    await assert.rejects(store.images.save('r/good:1', path, calledOff), /client left/);
    await store.images.save('r/good:1', path, forever);
    await assert.rejects(store.images.save('r/good:1', path, forever), { kind: 'AlreadyExists' });
    await assert.rejects(store.images.save('r/none:1', path, forever), { kind: 'NotFound' });
    await assert.rejects(store.images.save('r/good:1', join(path, 'x'), forever), { kind: 'NotFound' });
  });

  test('all of it is on the disk in the end, also what came while the rest was being written', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    const gates: (() => void)[] = [];
    Object.assign(store.snapshots, { sync: () => new Promise<void>((resolve) => gates.push(resolve)) });
    await store.images.load(layout({ 'r/good:1': good }));
    await store.images.load(layout({ 'r/other:1': other }));
    assert.equal(gates.length, 1);
    gates[0]!();
    await until(() => gates.length === 2);
    gates[1]!();
    await store.images.idle();
    assert.equal(gates.length, 2);
  });
});

describe('the document that an image is named by', () => {
  const words = {
    created: '2020-02-02T02:02:02Z',
    author: 'a\u00fc',
    history: [{ created_by: 'ADD x' }],
    'x-other': { a: [1] },
  };
  const content = layer(tar(file('x', 'x', own)));
  const described = image([content], { editConfig: (config) => Object.assign(config, words) });
  const layout = (built: BuiltImage): string => {
    const path = join(folder, `layout-${serial++}`);
    writeLayout(path, { 'r/kept:1': built });
    return path;
  };
  const kept = (store: Store) => readdirSync(join(store.root, 'v1/documents'));
  const place = (store: Store, id: string) => join(store.root, 'v1/documents', id.replace(':', '-'));

  /** The one layer of a saved image, in the form in which Berth packs it. */
  function savedLayer(path: string): BuiltLayer {
    const out = join(folder, `unpacked-${serial++}`);
    mkdirSync(out);
    execFileSync('/bin/tar', ['-xf', path, '-C', out]);
    const [{ Layers }] = JSON.parse(readFileSync(join(out, 'manifest.json'), 'utf8'));
    return layer(readFileSync(join(out, Layers[0])), 'none');
  }

  test('is kept as it came, over a restart, and goes with the image', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    const [loaded] = await store.images.load(layout(described));
    assert.deepEqual(await store.images.document(loaded!), described.config.data);
    await store.reopen();
    assert.deepEqual(await store.images.document(loaded!), described.config.data);
    await store.images.remove('r/kept:1', never);
    assert.deepEqual(kept(store), []);
    await store.reopen();
    assert.equal(await store.images.document(loaded!), null);
  });

  test('is gone after a start if it has no image, or is by half; an image of before has none', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    const [loaded] = await store.images.load(layout(described));
    await store.images.close();
    writeFileSync(place(store, digest('7')), 'killed before the record was written');
    writeFileSync(`${place(store, '.sha256:8')}.1.1.tmp`, 'killed while it was written');
    await store.reopen();
    assert.deepEqual(kept(store), [loaded!.id.replace(':', '-')]);
    rmSync(place(store, loaded!.id));
    await store.reopen();
    assert.equal(await store.images.document(store.images.find('r/kept:1')!), null);
  });

  test('that is damaged is none; it comes again with the image', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    const [loaded] = await store.images.load(layout(described));
    writeFileSync(place(store, loaded!.id), '{"torn":');
    assert.equal(await store.images.document(loaded!), null);
    await store.images.load(layout(described));
    assert.deepEqual(await store.images.document(loaded!), described.config.data);
  });

  test('is not left where the record is refused', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    const images = join(store.root, 'v1/images');
    rmSync(images, { recursive: true });
    await assert.rejects(store.images.load(layout(described)), { code: 'ENOENT' });
    assert.deepEqual(kept(store), []);
    mkdirSync(images);
  });

  test('is given back by a save: with the id if the layers are what they were, else with another, and it says so', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    const [loaded] = await store.images.load(layout(described));
    const first = join(folder, `saved-${serial++}`);
    const { id, note } = await store.images.save('r/kept:1', first, forever);
    assert.notEqual(id, loaded!.id);
    assert.match(note, new RegExp(`^docker.io/r/kept:1 gets another id: 1 of its 1 layers .*\\(${content.diffId}\\)$`));
    await using other = await Store.open({ maxParallelLayers: 1 });
    const [again] = await other.images.load(first);
    assert.equal(again!.id, id);
    const document = JSON.parse(String(await other.images.document(again!)));
    const { rootfs: _, ...before } = JSON.parse(described.config.data.toString());
    const { rootfs, ...rest } = document;
    assert.deepEqual(rest, before);
  });

  test('is the very bytes that came where the layers are, under an id of any algorithm', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    await store.images.load(layout(described));
    const first = join(folder, `saved-${serial++}`);
    await store.images.save('r/kept:1', first, forever);
    const packed = savedLayer(first);
    const spaced = { os: 'linux', architecture: 'amd64', ...words, rootfs: { diff_ids: [packed.diffId] } };
    const config = blob(JSON.stringify(spaced, null, 3), 'sha512');
    const editManifest = (manifest: Record<string, unknown>) =>
      Object.assign(manifest.config as object, { digest: config.digest, size: config.data.length });
    const [made] = await store.images.load(layout({ ...image([packed], { editManifest }), config }));
    const second = join(folder, `saved-${serial++}`);
    const { id, note } = await store.images.save(made!.id, second, forever);
    assert.deepEqual([id, note], [config.digest, '']);
    await using other = await Store.open({ maxParallelLayers: 1 });
    const [back] = await other.images.load(second);
    assert.deepEqual([back!.id, await other.images.document(back!)], [config.digest, config.data]);
  });

  test('of an image of before is made of its record', async () => {
    await using store = await Store.open({ maxParallelLayers: 1 });
    const [loaded] = await store.images.load(layout(described));
    rmSync(place(store, loaded!.id));
    const { id, note } = await store.images.save('r/kept:1', join(folder, `saved-${serial++}`), forever);
    assert.notEqual(id, loaded!.id);
    assert.match(note, /its config was not kept/);
  });
});

test('an image that is being loaded is told of while it is', async () => {
  await using store = await Store.open({ maxParallelLayers: 1 });
  assert.deepEqual(store.images.pulls.statuses(), []);
  await assert.rejects(store.images.load(join(folder, 'none')), { kind: 'NotFound' });
  assert.deepEqual(store.images.pulls.statuses(), []);
});

test('equal pulls are one, by the reference and by who asks: another may see what this one may not', async () => {
  await using store = await Store.open({ maxParallelLayers: 1 });
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const caller = new AbortController();
  const auth = (password: string) => ({ username: 'u', password }) as RegistryAuth;
  const pull = (credentials: RegistryAuth | null) =>
    store.images.pull({ reference: `127.0.0.1:${port}/app:1`, auth: credentials }, caller.signal);
  const all = [null, auth('one'), auth('two'), auth('two')].map(pull);
  await until(() => store.images.pulls.statuses().length >= 3);
  assert.equal(store.images.pulls.statuses().length, 3);
  caller.abort(new Error('client left'));
  for (const each of all) await assert.rejects(each, /client left/);
  silent.close();
});
