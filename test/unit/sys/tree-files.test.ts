import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { type Attributes, packXattrs, Tree } from '../../../src/sys/tree.ts';

let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tree-files-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const mine = { uid: process.getuid!(), gid: process.getgid!(), nanoseconds: 7000, xattrs: undefined };
const attributesOf = (at: number): Attributes => ({ ...mine, mode: 0o600 + (at % 8), seconds: 1_000_000 + at });

/** Sizes from nothing to the longest that is written whole: some have to be done at once, for want of room to wait. */
const sizeOf = (at: number): number => (at % 50 === 0 ? 128 * 1024 : (at * 37) % 5000);
const contentOf = (at: number): Buffer => Buffer.alloc(sizeOf(at), `${at} `);
const nameOf = (at: number): string => `${Math.floor(at / 100)}/${at}`;

function fill(tree: Tree, count: number): void {
  for (let at = 0; at < count; at++) {
    if (at % 100 === 0) assert.equal(tree.mkdir(`${at / 100}`), 0);
    assert.equal(tree.writeFile(nameOf(at), contentOf(at), attributesOf(at)), 0);
  }
}

for (const count of [1, 15, 2000]) {
  test(`${count} small files are whole once they are awaited`, () => {
    using tree = new Tree(root);
    fill(tree, count);
    tree.awaitFiles();
    for (let at = 0; at < count; at++) {
      const file = join(root, nameOf(at));
      const { mode, mtimeNs } = statSync(file, { bigint: true });
      assert.ok(readFileSync(file).equals(contentOf(at)), `${file} has other bytes`);
      assert.equal(Number(mode) & 0o777, attributesOf(at).mode);
      assert.equal(mtimeNs, BigInt(attributesOf(at).seconds) * 10n ** 9n + 7000n);
    }
  });
}

test('what is written is what the content was at the call', () => {
  using tree = new Tree(root);
  const shared = Buffer.alloc(100);
  for (let at = 0; at < 300; at++) assert.equal(tree.writeFile(`${at}`, shared.fill(`${at} `), attributesOf(at)), 0);
  shared.fill('gone');
  tree.awaitFiles();
  for (let at = 0; at < 300; at++)
    assert.equal(`${readFileSync(join(root, `${at}`))}`, `${Buffer.alloc(100, `${at} `)}`);
});

test('a name that is taken is said at once', () => {
  using tree = new Tree(root);
  assert.equal(tree.writeFile('a', contentOf(1), attributesOf(1)), 0);
  assert.equal(tree.writeFile('a', contentOf(2), attributesOf(2)), -17);
});

test('a file that cannot be written is named, and so it is to what comes after', () => {
  using tree = new Tree(root);
  // No capability at all: EINVAL for root, EPERM for others (capabilities(7)).
  const xattrs = packXattrs([['security.capability', Buffer.from('none')]])!;
  const late = /^E(?:INVAL|PERM): .*'12'$/;
  for (let at = 0; at < 14; at++) {
    const attributes = at === 12 ? { ...attributesOf(at), xattrs } : attributesOf(at);
    assert.equal(tree.writeFile(`${at}`, contentOf(at), attributes), 0);
  }
  assert.throws(() => tree.awaitFiles(), { message: late, path: '12' });
  assert.throws(() => tree.writeFile('99', contentOf(99), attributesOf(99)), { message: late });
  assert.deepEqual(readdirSync(root).includes('99'), false);
});

test('closing a tree in the middle leaves nothing open', () => {
  const open = () => readdirSync('/proc/self/fd').length;
  const threads = () => readdirSync('/proc/self/task').length;
  const before = [open(), threads()];
  for (let round = 0; round < 20; round++) {
    using tree = new Tree(root);
    for (let at = 0; at < 200; at++) tree.writeFile(`${round}-${at}`, contentOf(at + 1), attributesOf(at));
  }
  assert.deepEqual([open(), threads()], before);
});
