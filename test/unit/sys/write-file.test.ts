import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { isTemporary, makeDirectories, makeDirectory, replaceFile, writeNewFile } from '../../../src/sys/write-file.ts';

const root = mkdtempSync(join(tmpdir(), 'berth-write-'));
after(() => rmSync(root, { recursive: true }));
let folder = '';
let serial = 0;
beforeEach(() => {
  folder = join(root, `${serial++}`);
  mkdirSync(folder);
});
const modeOf = (path: string) => (statSync(path).mode & 0o7777).toString(8);

test('the modes are as given, whatever the umask', async (t) => {
  const umask = process.umask(0o077);
  t.after(() => process.umask(umask));
  await replaceFile(join(folder, 'a'), 'one', { mode: 0o644 });
  await writeNewFile(join(folder, 'b'), 'two', 0o644);
  await writeNewFile(join(folder, 'c'), 'three');
  await makeDirectory(join(folder, 'd'), 0o711);
  await makeDirectory(join(folder, 'd'), 0o755); // there already
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((name) => modeOf(join(folder, name))),
    ['644', '644', '600', '755'],
  );
});

test('a file is replaced as a whole, by many at once too', async () => {
  const path = join(folder, 'record.json');
  const texts = Array.from({ length: 40 }, (_, index) => `${index}`.repeat(10_000));
  await Promise.all(texts.map((text) => replaceFile(path, text, { sync: text.length % 3 === 0 })));
  assert.ok(texts.includes(readFileSync(path, 'utf8')));
  assert.deepEqual(readdirSync(folder), ['record.json']);
  await replaceFile(path, Buffer.from([0, 255, 10]).subarray(1));
  assert.deepEqual([...readFileSync(path)], [255, 10]);
  await replaceFile(path, '');
  assert.equal(readFileSync(path, 'utf8'), '');
});

test('a file written in place loses what it had', async () => {
  const path = join(folder, 'a');
  writeFileSync(path, 'long before');
  await writeNewFile(path, 'grüße');
  assert.equal(readFileSync(path, 'utf8'), 'grüße');
});

test('the bytes are those of the call, whatever the caller does with the buffer', async () => {
  const bytes = Buffer.from('before');
  const written = replaceFile(join(folder, 'a'), bytes);
  bytes.fill('x');
  await written;
  assert.equal(readFileSync(join(folder, 'a'), 'utf8'), 'before');
});

test('failures are errors as of node:fs, and leave nothing', async () => {
  const path = join(folder, 'no/such/file');
  await assert.rejects(replaceFile(path, 'x'), { code: 'ENOENT', path });
  await assert.rejects(writeNewFile(path, 'x'), { code: 'ENOENT', path });
  await assert.rejects(makeDirectory(path, 0o700), { code: 'ENOENT', path, syscall: 'mkdir' });
  mkdirSync(join(folder, 'taken'));
  await assert.rejects(replaceFile(join(folder, 'taken'), 'x'), { code: 'EISDIR' });
  symlinkSync('/etc/passwd', join(folder, 'link'));
  await assert.rejects(writeNewFile(join(folder, 'link'), 'x'), { code: 'ELOOP' });
  assert.deepEqual(readdirSync(folder).sort(), ['link', 'taken']);
  await assert.rejects(replaceFile('a\0b', 'x'), { code: 'EINVAL' });
});

test('what an interrupted replacement leaves is known by its name', () => {
  assert.equal(isTemporary('.a.json.12.0.tmp'), true);
  assert.equal(isTemporary('a.json'), false);
});

test('many directories are one piece of work: those that exist stay as they are', async () => {
  mkdirSync(join(folder, 'there'), { mode: 0o700 });
  await makeDirectories([join(folder, 'there'), join(folder, 'there/a'), join(folder, 'there/a/b')], 0o755);
  const mode = (name: string) => statSync(join(folder, name)).mode & 0o777;
  assert.deepEqual([mode('there'), mode('there/a'), mode('there/a/b')], [0o700, 0o755, 0o755]);
  await makeDirectories([], 0o755);
  const orphan = join(folder, 'nowhere/x');
  await assert.rejects(makeDirectories([join(folder, 'first'), orphan, join(folder, 'never')], 0o700), {
    code: 'ENOENT',
    path: orphan,
  });
  assert.deepEqual([existsSync(join(folder, 'first')), existsSync(join(folder, 'never'))], [true, false]);
});
