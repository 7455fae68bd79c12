import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { openSnapshots, probeOverlay, type Snapshots } from '../../src/snapshot/index.ts';
import { isMountPoint, mount, mountOverlay, mountTmpfs, unmount } from '../../src/sys/mounts.ts';
import { ownHost } from '../harness/own-host.ts';

await ownHost();

let root = '';
let target = '';
let store: string;
let snapshots: Snapshots;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'berth-snapshots-'));
  target = join(root, 'target');
  store = join(root, 'snapshots');
  mkdirSync(target);
  snapshots = await openSnapshots(store);
});
afterEach(() => {
  while (isMountPoint(target)) unmount(target, { detach: true });
  rmSync(root, { recursive: true });
});

/** Resolves when nothing else is in the store: a removal announces itself by no event. */
async function untilLeft(names: readonly string[]): Promise<void> {
  for (let looks = 0; readdirSync(store).sort().join() !== names.join(); looks++) {
    assert.ok(looks < 4000, readdirSync(store).join());
    await delay(5);
  }
}

async function layer(key: string, parent: string | null, files: Record<string, string>): Promise<void> {
  await using stage = await snapshots.stage();
  for (const [name, text] of Object.entries(files)) writeFileSync(join(stage.path, name), text);
  await stage.commit(key, parent);
}

test('layers are joined and a container writes to its own tree', async () => {
  await layer('sha256:a', null, { one: 'a', both: 'a' });
  await layer('sha256:b', 'sha256:a', { two: 'b', both: 'b' });
  const active = await snapshots.prepare('c1', 'sha256:b');
  assert.deepEqual([active.key, active.kind, active.parent], ['c1', 'active', 'sha256:b']);
  await snapshots.mount('c1', target);
  assert.deepEqual(readdirSync(target), ['both', 'one', 'two']);
  assert.equal(readFileSync(join(target, 'both'), 'utf8'), 'b');
  writeFileSync(join(target, 'mine'), '');
  assert.deepEqual(readdirSync(join(store, 'c1/fs')), ['mine']);
  assert.deepEqual(snapshots.lowerPaths('c1'), [join(store, 'sha256-b/fs'), join(store, 'sha256-a/fs')]);
});

test('without a parent, an active snapshot still mounts', async () => {
  await snapshots.prepare('c1', null);
  await snapshots.mount('c1', target);
  writeFileSync(join(target, 'file'), '');
  unmount(target);
  assert.deepEqual(readdirSync(join(store, 'c1/fs')), ['file']);
});

test("the container's root directory looks like the image's", async () => {
  await using stage = await snapshots.stage();
  chmodSync(stage.path, 0o1751);
  chownSync(stage.path, 12, 34);
  await stage.commit('sha256:a', null);
  await snapshots.prepare('c1', 'sha256:a');
  await snapshots.mount('c1', target);
  const { mode, uid, gid } = statSync(target);
  assert.deepEqual({ mode: mode & 0o7777, uid, gid }, { mode: 0o1751, uid: 12, gid: 34 });
});

test('read-only mounts of one layer and of several', async () => {
  await layer('sha256:a', null, { one: 'a' });
  await layer('sha256:b', 'sha256:a', { two: 'b' });
  for (const [key, names] of [
    ['sha256:a', ['one']],
    ['sha256:b', ['one', 'two']],
  ] as const) {
    await snapshots.mountReadOnly(key, target);
    assert.deepEqual(readdirSync(target), names);
    assert.throws(() => writeFileSync(join(target, 'x'), ''), { code: 'EROFS' });
    unmount(target);
  }
  await snapshots.prepare('c1', null);
  await assert.rejects(snapshots.mountReadOnly('c1', target), { kind: 'FailedPrecondition' });
  await assert.rejects(snapshots.mount('sha256:a', target), { kind: 'FailedPrecondition' });
});

test('a stage that is not committed is gone, and one that came second is discarded', async () => {
  {
    await using stage = await snapshots.stage();
    writeFileSync(join(stage.path, 'x'), '');
  }
  await layer('sha256:a', null, { first: '' });
  await layer('sha256:a', null, { second: '' });
  assert.deepEqual(readdirSync(store), ['sha256-a']);
  assert.deepEqual(readdirSync(join(store, 'sha256-a/fs')), ['first']);
});

test('prepare is idempotent for the same parent, and says what is wrong with another', async () => {
  await layer('sha256:a', null, {});
  const first = await snapshots.prepare('c1', 'sha256:a');
  assert.equal(await snapshots.prepare('c1', 'sha256:a'), first);
  await assert.rejects(snapshots.prepare('c1', null), { kind: 'AlreadyExists' });
  await assert.rejects(snapshots.prepare('c2', 'c1'), { kind: 'FailedPrecondition' });
  await assert.rejects(snapshots.prepare('c2', 'sha256:none'), { kind: 'NotFound' });
  for (const key of ['', '../x', 'a/b', '.stage-1', 'x'.repeat(201)]) {
    await assert.rejects(snapshots.prepare(key, null), { kind: 'InvalidArgument' }, key);
  }
});

test('remove: idempotent, and not while something stands on it', async () => {
  await layer('sha256:a', null, { x: '' });
  await snapshots.prepare('c1', 'sha256:a');
  await assert.rejects(snapshots.remove('sha256:a'), { kind: 'FailedPrecondition', message: /"c1" stands on it/ });
  await snapshots.remove('c1');
  await snapshots.remove('c1');
  rmSync(join(store, 'sha256-a'), { recursive: true });
  await snapshots.remove('sha256:a');
  assert.deepEqual(readdirSync(store), []);
  assert.deepEqual(snapshots.list(), []);
});

for (const what of ['prepare', 'commit'] as const) {
  test(`removing a parent during ${what}: one of the two fails, and nothing dangles`, async () => {
    for (let i = 0; i < 30; i++) {
      await layer('sha256:a', null, {});
      await using stage = await snapshots.stage();
      const put = what === 'prepare' ? snapshots.prepare('b', 'sha256:a') : stage.commit('b', 'sha256:a');
      const [placed, removed] = await Promise.allSettled([put, snapshots.remove('sha256:a')]);
      assert.notEqual(placed.status, removed.status);
      assert.equal(snapshots.get('sha256:a') !== undefined, placed.status === 'fulfilled');
      await snapshots.remove('b');
    }
  });
}

test('what was committed is found again; what was interrupted is not', async () => {
  await layer('sha256:a', null, {});
  await layer('sha256:b', 'sha256:a', {});
  await snapshots.prepare('c1', 'sha256:b');
  mkdirSync(join(store, '.stage-1-1/fs'), { recursive: true });
  mkdirSync(join(store, '.remove-1-1/fs'), { recursive: true });
  mkdirSync(join(store, 'sha256-torn/fs'), { recursive: true });
  writeFileSync(join(store, 'sha256-torn/snapshot.json'), '{"key":');
  const again = await openSnapshots(store);
  assert.deepEqual(
    again
      .list()
      .map(({ key, kind, parent }) => [key, kind, parent])
      .sort(),
    [
      ['c1', 'active', 'sha256:b'],
      ['sha256:a', 'committed', null],
      ['sha256:b', 'committed', 'sha256:a'],
    ],
  );
  await untilLeft(['c1', 'sha256-a', 'sha256-b']);
});

test('what was interrupted is out of the way at once, however much it is, and removed beside what follows', async () => {
  const tree = join(store, '.stage-1-0/fs');
  mkdirSync(tree, { recursive: true });
  for (let nth = 0; nth < 3000; nth++) writeFileSync(join(tree, `${nth}`), '');
  snapshots = await openSnapshots(store);
  assert.match(readdirSync(store).join(), /^\.remove-[0-9a-f-]{36}$/);
  await layer('sha256:a', null, { x: '' });
  await untilLeft(['sha256-a']);
});

test('after a reboot only what was synced is trusted, and what stands on the rest goes too', async () => {
  await layer('sha256:a', null, {});
  await snapshots.sync();
  await layer('sha256:b', 'sha256:a', {});
  await layer('sha256:c', 'sha256:b', {});
  const file = join(store, 'sha256-b/snapshot.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace(/"boot":"[^"]+"/, '"boot":"an-earlier-boot"'));
  const again = await openSnapshots(store);
  assert.deepEqual(
    again.list().map(({ key }) => key),
    ['sha256:a'],
  );
  await untilLeft(['sha256-a']);
});

test('usage is that of the tree alone', async () => {
  await layer('sha256:a', null, { x: 'x'.repeat(10_000) });
  await snapshots.prepare('c1', 'sha256:a');
  assert.deepEqual(await snapshots.usage('sha256:a'), { bytes: 4096 + 12288, inodes: 2 });
  assert.deepEqual(await snapshots.usage('c1'), { bytes: 4096, inodes: 1 });
});

test('what is removed while it is measured takes nothing, and fails nobody', async () => {
  await layer('sha256:a', null, { x: 'x' });
  const keys = Array.from({ length: 64 }, (_, index) => `c${index}`);
  for (const key of keys) await snapshots.prepare(key, 'sha256:a');
  const measured = Promise.all(keys.map((key) => snapshots.usage(key)));
  await Promise.all(keys.map((key) => snapshots.remove(key)));
  const found = await measured;
  for (const usage of found) assert.ok(usage === null || usage.bytes >= 0);
  assert.equal(await snapshots.usage('c0'), null);
});

test('a file system is probed for what overlays need, and nothing of the probe stays', () => {
  const place = join(target, '.probe');
  const gone = () => assert.deepEqual(readdirSync(target), []);
  mountTmpfs(target, {});
  probeOverlay(place);
  gone();
  // As a crash between the mount and the unmount leaves it.
  for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(join(place, name), { recursive: true });
  const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) => join(place, name));
  mountOverlay({ lowers: [lower!], upper: upper!, work: work!, target: merged! });
  probeOverlay(place);
  gone();
  unmount(target);

  const base = join(root, 'base');
  for (const name of ['lower', 'upper', 'work']) mkdirSync(join(base, name), { recursive: true });
  const refused: [type: string, mountIt: () => void, why: RegExp][] = [
    [
      'overlay',
      () =>
        mountOverlay({ lowers: [join(base, 'lower')], upper: join(base, 'upper'), work: join(base, 'work'), target }),
      /not supported as upperdir|EINVAL/,
    ],
    ['ramfs', () => mount('ramfs', target, 'ramfs', 0), /it lacks trusted\.\* attributes or whiteouts/],
  ];
  for (const [type, mountIt, why] of refused) {
    mountIt();
    const says = (error: Error) =>
      why.test(error.message) &&
      error.message.startsWith(`The file system of ${target} (${type}) cannot carry overlayfs: `);
    assert.throws(() => probeOverlay(place), says, type);
    gone();
    unmount(target);
  }
});

test('a full or read-only disk is not taken for one that carries no overlays', () => {
  mountTmpfs(target, { size: 4096 });
  writeFileSync(join(target, 'all'), Buffer.alloc(4096));
  probeOverlay(join(target, '.probe'));
  execFileSync('/bin/mount', ['-o', 'remount,ro', target]);
  probeOverlay(join(target, '.probe'));
});
