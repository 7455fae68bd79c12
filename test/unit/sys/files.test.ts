import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempDisposableSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { diskUsage, readFileInRoot, removeTree } from '../../../src/sys/files.ts';

const scratch = () => mkdtempDisposableSync(join(tmpdir(), 'berth-files-'));

test('readFileInRoot reads a file, through links that resolve inside the root', () => {
  using root = scratch();
  mkdirSync(join(root.path, 'etc/real'), { recursive: true });
  writeFileSync(join(root.path, 'etc/real/passwd'), 'root:x:0:0');
  symlinkSync('/etc/real/passwd', join(root.path, 'etc/passwd'));
  symlinkSync('../../../../../../etc/real', join(root.path, 'up'));
  for (const path of ['etc/real/passwd', '/etc/passwd', 'up/passwd', '../../etc/passwd']) {
    assert.equal(readFileInRoot(root.path, path, 100)?.toString(), 'root:x:0:0', path);
  }
});

test('readFileInRoot answers null for what is missing', () => {
  using root = scratch();
  writeFileSync(join(root.path, 'file'), '');
  symlinkSync('/nowhere', join(root.path, 'dangling'));
  for (const path of ['missing', 'a/b/c', 'file/below', 'dangling']) {
    assert.equal(readFileInRoot(root.path, path, 100), null, path);
  }
});

test('readFileInRoot refuses what is no regular file, without opening it', () => {
  using root = scratch();
  execFileSync('/usr/bin/mkfifo', [join(root.path, 'fifo')]);
  symlinkSync('fifo', join(root.path, 'link'));
  symlinkSync('loop', join(root.path, 'loop'));
  for (const path of ['fifo', 'link', 'loop', '.', '/']) {
    assert.throws(() => readFileInRoot(root.path, path, 100), { name: 'Fault', kind: 'InvalidArgument' }, path);
  }
  assert.throws(() => readFileInRoot('/proc', 'self/cwd/package.json', 1_000_000), { name: 'Fault' });
  assert.throws(() => readFileInRoot(root.path, 'a\0b', 100), { code: 'EINVAL' });
});

for (const { size, limit, fits } of [
  { size: 0, limit: 0, fits: true },
  { size: 100, limit: 100, fits: true },
  { size: 101, limit: 100, fits: false },
  { size: 9000, limit: 100_000, fits: true },
  { size: 100_001, limit: 100_000, fits: false },
]) {
  test(`readFileInRoot: ${size} bytes under a limit of ${limit}`, () => {
    using root = scratch();
    writeFileSync(join(root.path, 'file'), Buffer.alloc(size, 'x'));
    if (fits) assert.equal(readFileInRoot(root.path, 'file', limit)?.length, size);
    else assert.throws(() => readFileInRoot(root.path, 'file', limit), { kind: 'ResourceExhausted' });
  });
}

test('removeTree removes a tree that no path can name, and nothing that it links to', async () => {
  using root = scratch();
  const outside = join(root.path, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'kept'), '');
  const top = join(root.path, 'top');
  mkdirSync(top);
  // 60 rounds of wrapping the tree in 50 more directories: 3,000 deep, far beyond PATH_MAX with these names.
  execFileSync('/usr/bin/python3', [
    '-c',
    `import os
os.chdir(${JSON.stringify(top)})
for i in range(3000):
    open('file','w').close(); os.mkdir('.remove-0' if i % 7 == 0 else 'd'); os.symlink(${JSON.stringify(outside)}, 'link')
    os.chdir('.remove-0' if i % 7 == 0 else 'd')`,
  ]);
  await removeTree(top);
  assert.equal(statSync(top, { throwIfNoEntry: false }), undefined);
  assert.ok(statSync(join(outside, 'kept')));
  await removeTree(top);
});

test('diskUsage ends in time, with what it found', async () => {
  using root = scratch();
  for (let i = 0; i < 100; i++) writeFileSync(join(root.path, String(i)), '');
  assert.equal((await diskUsage(root.path)).inodes, 101);
  assert.equal((await diskUsage(root.path, 0)).inodes, 1);
});

test('diskUsage counts as du does', async () => {
  using root = scratch();
  mkdirSync(join(root.path, 'a/b'), { recursive: true });
  writeFileSync(join(root.path, 'a/file'), Buffer.alloc(100_000, 'x'));
  for (let i = 0; i < 600; i++) {
    writeFileSync(join(root.path, `a/b/${i}`), 'x');
    linkSync(join(root.path, `a/b/${i}`), join(root.path, `a/${i}`));
  }
  symlinkSync('/', join(root.path, 'a/b/root'));
  const du = (...options: string[]) =>
    Number(execFileSync('/usr/bin/du', [...options, root.path], { encoding: 'utf8' }).split('\t')[0]);
  assert.deepEqual(await diskUsage(root.path), { bytes: du('-s', '-B1'), inodes: du('-s', '--inodes') });
  rmSync(join(root.path, 'a/file'));
  await assert.rejects(diskUsage(join(root.path, 'none')), { code: 'ENOENT' });
});

test('removeTree needs few descriptors, however deep a tree is', () => {
  using root = scratch();
  const deep = join(root.path, 'deep');
  mkdirSync(join(deep, 'd/'.repeat(300)), { recursive: true });
  const files = JSON.stringify(join(import.meta.dirname, '../../../src/sys/files.ts'));
  const remove = `import { removeTree } from ${files}; await removeTree(${JSON.stringify(deep)});`;
  const argv = ['--nofile=150', process.execPath, '--input-type=module-typescript', '--eval', remove];
  execFileSync('/usr/bin/prlimit', argv, { stdio: 'inherit' });
  assert.equal(existsSync(deep), false);
});
