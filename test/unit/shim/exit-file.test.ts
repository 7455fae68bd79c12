import assert from 'node:assert/strict';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isFault } from '../../../src/base/fault.ts';
import { readExitFile } from '../../../src/shim/index.ts';

const good = '{"v":1,"key":"c1","pid":42,"code":137,"signal":9,"oomKilled":true,"at":"1795408462.000000512"}\n';

describe('readExitFile', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'exit-file-'));
  });
  after(() => rm(folder, { recursive: true }));

  test('none', async () => assert.equal(await readExitFile(join(folder, 'none')), null));
  test('a record', async () => {
    await writeFile(join(folder, 'good'), good);
    assert.deepEqual(await readExitFile(join(folder, 'good')), {
      key: 'c1',
      pid: 42,
      code: 137,
      signal: 9,
      oomKilled: true,
      at: 1795408462000 + 512 / 1e6,
    });
  });
  test('a symbolic link is not followed', async () => {
    await writeFile(join(folder, 'target'), good);
    await symlink('target', join(folder, 'link'));
    await assert.rejects(readExitFile(join(folder, 'link')), { code: 'ELOOP' });
  });
  const bad: { name: string; text: string }[] = [
    { name: 'empty', text: '' },
    { name: 'half', text: good.slice(0, 40) },
    { name: 'another version', text: good.replace('"v":1', '"v":2') },
    { name: 'a number for the time', text: good.replace(/"1795[^"]+"/, '1795408462.5') },
    { name: 'null', text: 'null' },
    { name: 'no code', text: good.replace('"code":137,', '') },
  ];
  for (const { name, text } of bad) {
    test(`${name} is DataLoss`, async () => {
      await writeFile(join(folder, 'bad'), text);
      await assert.rejects(readExitFile(join(folder, 'bad')), (error) => isFault(error, 'DataLoss'));
    });
  }
});
