import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

const root = resolve(import.meta.dirname, '..');
/** They make a host of another kind: test/harness/own-host.ts says why. */
const exceptions = ['hostile/shim-fuzz.test.ts'];

test('every test file that needs root has a host of its own, before its first test', () => {
  const files = globSync('*/**/*.test.ts', { cwd: root }).filter((file) => !file.startsWith('unit/'));
  assert.ok(files.length > 70);
  const without = files.filter((file) => {
    const text = readFileSync(join(root, file), 'utf8');
    const at = text.search(/^await ownHost\(/m);
    // What is registered before it begins on the host of all, and stays there half done.
    return at < 0 || /^\s*(test|describe|suite|before|after|beforeEach|afterEach)\(/m.test(text.slice(0, at));
  });
  assert.deepEqual(without, exceptions);
});
