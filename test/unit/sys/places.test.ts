import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  linkSync,
  mkdirSync,
  mkdtempDisposableSync,
  readdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { diskUsage } from '../../../src/sys/files.ts';
import { copyTree } from '../../../src/sys/places.ts';
import { labelTree } from '../../harness/look.ts';

/** A tree to copy and an empty directory for the copy. */
function scratch() {
  const root = mkdtempDisposableSync(join(tmpdir(), 'berth-places-'));
  const [from, to] = [join(root.path, 'from'), join(root.path, 'to')];
  for (const path of [from, to]) mkdirSync(path);
  return { from, to, [Symbol.dispose]: () => execFileSync('/bin/rm', ['-rf', root.path]) };
}

/** Nests directories with a file in each, `depth` of them: beyond what a path can say and what one walk holds open. */
const nest = (top: string, depth: number) =>
  execFileSync('/usr/bin/python3', [
    '-c',
    `import os
os.chdir(${JSON.stringify(top)})
for i in range(${depth}):
    for name in ('before', 'sub', 'zafter'):
        os.mkdir(name); open(name + '/file', 'w').close()
    os.mkdir('deeper-and-deeper'); os.chdir('deeper-and-deeper')`,
  ]);

const found = (top: string, ...more: string[]) =>
  execFileSync('/usr/bin/find', [top, ...more, '-printf', 'x'], { encoding: 'utf8' }).length;

test('trees of any depth are measured, labelled and copied as a whole', async () => {
  using place = scratch();
  nest(place.from, 600);
  const du = Number(execFileSync('/usr/bin/du', ['-s', '--inodes', place.from], { encoding: 'utf8' }).split('\t')[0]);
  assert.equal((await diskUsage(place.from)).inodes, du);
  await copyTree(place.from, place.to);
  assert.equal(found(place.to), du);
  assert.equal((await diskUsage(place.to)).inodes, du);
  await labelTree(place.to, 'user.berth', 'label');
  const unlabelled = `import os, sys
bad = 0
for _, folders, files, fd in os.fwalk(sys.argv[1]):
    for name in folders + files:
        at = os.open(name, os.O_RDONLY, dir_fd=fd)
        bad += os.listxattr(at) != ['user.berth']
        os.close(at)
print(bad)`;
  const argv = ['-c', `import sys; sys.setrecursionlimit(10000)\n${unlabelled}`, place.to];
  assert.equal(execFileSync('/usr/bin/python3', argv, { encoding: 'utf8' }).trim(), '0');
});

test('copyTree keeps hard links and holes, and takes no more room than the original', async () => {
  using place = scratch();
  mkdirSync(join(place.from, 'a'));
  mkdirSync(join(place.from, '.berth-copy-0')); // a name that the copy might want to use itself
  writeFileSync(join(place.from, 'a/file'), Buffer.alloc(1_000_000, 'x'));
  for (let i = 0; i < 50; i++) linkSync(join(place.from, 'a/file'), join(place.from, `name-${i}`));
  symlinkSync('/nowhere', join(place.from, 'link'));
  linkSync(join(place.from, 'link'), join(place.from, 'a/link'));
  writeFileSync(join(place.from, 'holes'), 'start');
  truncateSync(join(place.from, 'holes'), 500_000_000);
  await copyTree(place.from, place.to);
  assert.deepEqual(readdirSync(place.to).sort(), readdirSync(place.from).sort());
  const { ino, nlink } = statSync(join(place.to, 'a/file'));
  assert.equal(nlink, 51);
  for (let i = 0; i < 50; i++) assert.equal(statSync(join(place.to, `name-${i}`)).ino, ino);
  assert.equal(statSync(join(place.to, 'holes')).size, 500_000_000);
  const [original, copy] = [await diskUsage(place.from), await diskUsage(place.to)];
  assert.equal(copy.inodes, original.inodes);
  assert.ok(copy.bytes < 1_200_000, `${copy.bytes} bytes`);
  assert.equal(statSync(place.to).mtimeMs, statSync(place.from).mtimeMs);
});

test('copyTree keeps files with as many names as the file system takes', async () => {
  using place = scratch();
  execFileSync('/usr/bin/python3', [
    '-c',
    `import os
os.chdir(${JSON.stringify(place.from)})
open('0', 'w').close()
try:
    for i in range(1, 65100): os.link('0', str(i))
except OSError: pass`,
  ]);
  await copyTree(place.from, place.to);
  assert.equal(readdirSync(place.to).length, readdirSync(place.from).length);
});
