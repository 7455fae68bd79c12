// Names on their way into the addon: never shortened, never another name.
import assert from 'node:assert/strict';
import { mkdtempDisposableSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadAddon } from '../../../src/sys/addon.ts';
import { readFileInRoot, removeTree } from '../../../src/sys/files.ts';
import { Tree } from '../../../src/sys/tree.ts';
import { makeDirectory, writeNewFile } from '../../../src/sys/write-file.ts';
import { labelTree } from '../../harness/look.ts';

/** PATH_MAX has the NUL in it. */
const most = 4095;
const inBytes = (text: string) => Buffer.byteLength(text);

/** Paths in `folder` of `bytes` bytes, whose end is one character of one to four bytes. */
const paths = (folder: string, bytes: number) =>
  ['x', 'é', '€', '😀'].flatMap((last) =>
    [0, 1, 2, 3].map((back) => {
      const end = last + 'y'.repeat(back);
      return `${folder}/`.padEnd(bytes - inBytes(end) - (inBytes(folder) - folder.length), './') + end;
    }),
  );

test('a path that does not fit is refused, wherever its cut would fall', async () => {
  using root = mkdtempDisposableSync(join(tmpdir(), 'berth-names-'));
  for (const over of [1, 2, 3, 4, 100]) {
    for (const path of paths(root.path, most + over)) {
      assert.equal(inBytes(path), most + over);
      const code = { code: 'ENAMETOOLONG' };
      assert.throws(() => readFileInRoot(path, 'x', 1), code);
      assert.throws(() => readFileInRoot(root.path, path, 1), code);
      for (const call of [
        () => removeTree(path),
        () => makeDirectory(path, 0o700),
        () => writeNewFile(path, 'x'),
        () => labelTree(path, 'user.x', 'x'),
        () => labelTree(root.path, path, 'x'),
        () => labelTree(root.path, 'user.x', path),
      ]) {
        await assert.rejects(async () => await call(), code, String(call));
      }
    }
  }
  assert.deepEqual(readdirSync(root.path), []);
});

test('the longest path that the kernel takes is taken', async () => {
  using root = mkdtempDisposableSync(join(tmpdir(), 'berth-names-'));
  for (const path of paths(root.path, most)) {
    await makeDirectory(path, 0o700);
    await removeTree(path);
    assert.deepEqual(readdirSync(root.path), []);
  }
});

test('a name of bytes has no character that is none', () => {
  using root = mkdtempDisposableSync(join(tmpdir(), 'berth-names-'));
  writeFileSync(join(root.path, 'outside'), '');
  using tree = new Tree(root.path);
  // Cut to bytes these would be ".", "/" and NUL.
  for (const name of ['a\u012e', '\u012e\u012e\u012foutside', 'a\u0100', '\u{1f600}', 'a\0b']) {
    assert.throws(() => tree.mkdir(name), { code: 'EINVAL' }, JSON.stringify(name));
    assert.throws(() => tree.kind(name), { code: 'EINVAL' }, JSON.stringify(name));
  }
  assert.throws(() => tree.mkdir('x'.repeat(most + 1)), { code: 'ENAMETOOLONG' });
  assert.equal(tree.kind(`${'./'.repeat(2000)}outside`), 'file');
  assert.equal(tree.mkdir('caf\xe9'), 0);
  assert.deepEqual(
    tree.list(''),
    ['caf\xe9', 'outside'].toSorted((a) => (a === tree.list('')[0] ? -1 : 1)),
  );
});

test('what is no string is refused', () => {
  const addon = loadAddon<Record<string, (...values: unknown[]) => unknown>>();
  for (const value of [undefined, null, 1, {}, Symbol('x')]) {
    assert.throws(() => addon.isMountRoot!(value), TypeError);
    assert.throws(() => addon.removeTree!(value), TypeError);
  }
});
