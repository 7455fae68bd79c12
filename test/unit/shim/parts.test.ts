// Parts of the shim by themselves, built with sanitizers, with a clock of their own: native/shim/test/parts.c.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

const native = join(import.meta.dirname, '../../../native');
const program = join(native, 'build/shim-parts');
execFileSync('make', ['-s', '-C', native, 'build/shim-parts'], { stdio: 'inherit' });

const folder = mkdtempSync(join(tmpdir(), 'shim-parts-'));
after(() => rmSync(folder, { recursive: true }));

for (const name of execFileSync(program, { encoding: 'utf8' }).trimEnd().split('\n')) {
  test(name, { timeout: 60_000 }, () => {
    const cwd = mkdtempSync(join(folder, 'part-'));
    const env = { ASAN_OPTIONS: 'detect_leaks=0' }; // it ends in the middle
    const { status, stdout, stderr } = spawnSync(program, [name], { cwd, env, encoding: 'utf8', timeout: 30_000 });
    assert.deepEqual([status, stdout, stderr], [0, '', '']);
  });
}
