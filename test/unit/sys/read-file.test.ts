import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readBytes, readEnd, readText } from '../../../src/sys/read-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-read-'));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'file');

test('a file is read whole up to the bound, and refused above it', async () => {
  for (const size of [0, 1, 1000, 70_000, 200_000]) {
    const data = Buffer.alloc(size, 'abcdefg');
    writeFileSync(file, data);
    assert.deepEqual(await readBytes(file, size), data);
    assert.deepEqual(await readBytes(file, size + 1), data);
    if (size > 0) await assert.rejects(readBytes(file, size - 1), { kind: 'ResourceExhausted' });
  }
});

test('a file that says nothing of its size is read whole', async () => {
  assert.match(await readText('/proc/self/status', 1 << 20), /^Name:.*nonvoluntary_ctxt_switches:\s\d+\n$/s);
  await assert.rejects(readText('/proc/self/status', 100), { kind: 'ResourceExhausted' });
});

test('of a huge file the end costs no more than the end', async () => {
  writeFileSync(file, '');
  truncateSync(file, 2 ** 33);
  writeFileSync(file, 'the end', { flag: 'a' });
  assert.equal((await readEnd(file, 7)).toString(), 'the end');
  assert.equal((await readEnd(file, 1000)).length, 1000);
  writeFileSync(file, 'short');
  assert.equal((await readEnd(file, 1000)).toString(), 'short');
});

test('what is no file is refused at once', { timeout: 5000 }, async () => {
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  for (const path of [pipe, folder, '/dev/zero']) {
    await assert.rejects(readBytes(path, 10), { kind: 'FailedPrecondition' });
    await assert.rejects(readEnd(path, 10), { kind: 'FailedPrecondition' });
  }
  await assert.rejects(readBytes(join(folder, 'none'), 10), { code: 'ENOENT' });
});
