// The dates in logs, which the shim reckons itself.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

const native = join(import.meta.dirname, '../../../native');

test('every day from 1970 to 2106 has its date', () => {
  execFileSync('make', ['-s', '-C', native, 'golden'], { stdio: 'inherit' });
  const days = 50_000;
  const printed = execFileSync(join(native, 'build/shim-dates'), [`${days}`], { encoding: 'utf8' })
    .trimEnd()
    .split('\n');
  const expected = Array.from({ length: days }, (_, day) => new Date(day * 86_400_000).toISOString().slice(0, 10));
  assert.deepEqual(printed, expected);
});
