// Snapshots, but for their mounts: those take root (test/node/snapshots.test.ts, which shows what a start finds, too).
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { openSnapshots, type Snapshots } from '../../../src/snapshot/index.ts';

let folder = '';
let root = '';
let snapshots: Snapshots;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-snapshot-units-'));
  root = join(folder, 'snapshots');
  snapshots = await openSnapshots(root);
});
afterEach(() => rmSync(folder, { recursive: true }));

async function commit(key: string, parent: string | null, size?: number): Promise<void> {
  await using stage = await snapshots.stage();
  writeFileSync(join(stage.path, 'file'), key);
  await stage.commit(key, parent, size);
}
const keys = () =>
  snapshots
    .list()
    .map(({ key }) => key)
    .sort();
/** A disk that takes nothing: there is no folder any more. */
const refuse = () => renameSync(root, `${root}-away`);
const accept = () => renameSync(`${root}-away`, root);
const bootOf = (key: string) => JSON.parse(readFileSync(join(root, key, 'snapshot.json'), 'utf8')).boot;

describe('a layer', () => {
  test('is there with its size once it is committed, and its stage is gone', async () => {
    await commit('a', null, 7);
    await commit('b', 'a');
    assert.deepEqual([snapshots.size('a'), snapshots.size('b'), readdirSync(root)], [7, 0, ['a', 'b']]);
    assert.deepEqual(snapshots.lowerPaths('b'), [join(root, 'b/fs'), join(root, 'a/fs')]);
    assert.throws(() => snapshots.size('none'), { kind: 'NotFound' });
    assert.throws(() => snapshots.lowerPaths('none'), { kind: 'NotFound' });
  });

  const refusals = [
    { name: 'over nothing that there is', key: 'x', parent: 'none', kind: 'NotFound' },
    { name: 'over the layer of a container', key: 'x', parent: 'container', kind: 'FailedPrecondition' },
    { name: 'under the key of a container', key: 'container', parent: 'a', kind: 'AlreadyExists' },
    { name: 'under what is no key', key: '../x', parent: null, kind: 'InvalidArgument' },
  ];
  for (const { name, key, parent, kind } of refusals) {
    test(`${name} is refused, and leaves nothing`, async () => {
      await commit('a', null);
      await snapshots.prepare('container', 'a');
      await assert.rejects(commit(key, parent), { kind });
      assert.deepEqual(
        [keys(), readdirSync(root).sort()],
        [
          ['a', 'container'],
          ['a', 'container'],
        ],
      );
    });
  }

  test('that the disk refuses is not there, and can be committed again', async () => {
    const stage = await snapshots.stage();
    refuse();
    await assert.rejects(stage.commit('a', null), { code: 'ENOENT' });
    accept();
    assert.equal(snapshots.get('a'), undefined);
    await stage.commit('a', null);
    await stage[Symbol.asyncDispose]();
    assert.deepEqual([keys(), readdirSync(root)], [['a'], ['a']]);
  });
});

describe("a container's layer", () => {
  test('that the disk refuses is not there, leaves nothing, and can be prepared again', async () => {
    await commit('a', null);
    rmSync(join(root, 'a/fs'), { recursive: true }); // what its root is to look like
    await assert.rejects(snapshots.prepare('container', 'a'));
    assert.deepEqual([keys(), readdirSync(root)], [['a'], ['a']]);
    await snapshots.prepare('container', null);
    assert.deepEqual(readdirSync(join(root, 'container')).sort(), ['fs', 'snapshot.json', 'work']);
  });

  test('keeps what it stands on, until it is removed', async () => {
    await commit('a', null);
    await snapshots.prepare('container', 'a');
    await assert.rejects(snapshots.remove('a'), { kind: 'FailedPrecondition' });
    await snapshots.remove('container');
    await snapshots.remove('a');
    assert.deepEqual([keys(), readdirSync(root)], [[], []]);
  });

  test('two calls at once make one', async () => {
    await commit('a', null);
    const [one, other] = await Promise.all([snapshots.prepare('container', 'a'), snapshots.prepare('container', 'a')]);
    assert.equal(one, other);
  });
});

describe('a removal', () => {
  test('stays undone where it is said so at the last moment', async () => {
    await commit('a', null);
    await snapshots.remove('a', () => true);
    assert.deepEqual(keys(), ['a']);
  });

  test('that the disk refuses takes nothing', async () => {
    await commit('a', null);
    renameSync(root, `${root}-away`);
    writeFileSync(root, 'no directory');
    await assert.rejects(snapshots.remove('a'), { code: 'ENOTDIR' });
    rmSync(root);
    accept();
    assert.deepEqual(keys(), ['a']);
    await snapshots.remove('a');
    assert.deepEqual([keys(), readdirSync(root)], [[], []]);
  });

  test('of what others took away already is one', async () => {
    await commit('a', null);
    rmSync(join(root, 'a'), { recursive: true });
    await snapshots.remove('a');
    assert.deepEqual([keys(), await snapshots.usage('a')], [[], null]);
  });
});

describe('what is to outlive a reboot', () => {
  test('is what was committed before the sync; what came meanwhile waits for the next', async () => {
    await commit('a', null);
    const syncing = snapshots.sync();
    await commit('b', 'a');
    await syncing;
    assert.equal(bootOf('a'), null);
    await snapshots.sync();
    assert.equal(bootOf('b'), null);
  });

  test('is nothing that was removed meanwhile', async () => {
    await commit('a', null);
    const syncing = snapshots.sync();
    await snapshots.remove('a');
    await syncing;
    assert.deepEqual([keys(), existsSync(join(root, 'a'))], [[], false]);
  });
});
