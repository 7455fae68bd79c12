// What images there are, and which layers are whose. Files belong to whoever runs the tests.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { RegistryAuth } from '../../../src/image/auth.ts';
import { openImages } from '../../../src/image/index.ts';
import { openSnapshots } from '../../../src/snapshot/index.ts';
import { type BuiltImage, image, layer, writeLayout } from '../../registry/images.ts';
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
  assert.deepEqual(readdirSync(root).sort(), ['images', 'snapshots']);
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
    await until(() => store.images.pulls().some(({ phase }) => phase === 'fetching'));
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

test('an image that is being loaded is told of while it is', async () => {
  await using store = await Store.open({ maxParallelLayers: 1 });
  assert.deepEqual(store.images.pulls(), []);
  await assert.rejects(store.images.load(join(folder, 'none')), { code: 'ENOENT' });
  assert.deepEqual(store.images.pulls(), []);
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
  await until(() => store.images.pulls().length >= 3);
  assert.equal(store.images.pulls().length, 3);
  caller.abort(new Error('client left'));
  for (const each of all) await assert.rejects(each, /client left/);
  silent.close();
});
