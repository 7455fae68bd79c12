// Trees that others made, however large, or on a disk that hangs: they take nobody's thread.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { diskUsage, removeTree } from '../../src/sys/files.ts';
import { copyTree } from '../../src/sys/places.ts';
import { replaceFile } from '../../src/sys/write-file.ts';
import { Hung } from '../harness/hung.ts';
import { ownHost } from '../harness/own-host.ts';

await ownHost();

const works = {
  removed: removeTree,
  measured: diskUsage,
  copied: (path: string) => copyTree(path, '/nowhere'),
};
for (const [what, work] of Object.entries(works)) {
  test(`files are read and written while eight trees are ${what} without end`, { timeout: 60_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-apart-'));
    {
      await using hung = await Hung.at(join(folder, 'hung'));
      const all = Promise.allSettled(Array.from({ length: 8 }, (_, nth) => work(join(hung.path, `tree-${nth}`))));
      await replaceFile(join(folder, 'record'), '{}');
      assert.equal(await readFile(join(folder, 'record'), 'utf8'), '{}');
      await hung.answer();
      assert.deepEqual(new Set((await all).map(({ status }) => status)), new Set(['rejected']));
    }
    rmSync(folder, { recursive: true });
  });
}
