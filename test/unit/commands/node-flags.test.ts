import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { nodeFlags } from '../../../src/commands/node-flags.ts';

const ask = (flags: readonly string[]): unknown => {
  const script = `const words = () => { try { return new Function('return 1')(); } catch { return 'refused'; } };
    console.log(JSON.stringify({ prototype: '__proto__' in {}, words: words() }))`;
  return JSON.parse(execFileSync(process.execPath, [...flags, '-e', script], { encoding: 'utf8' }));
};

test('as the daemon is started, no name reaches a prototype and no text becomes code', () => {
  assert.deepEqual(ask([]), { prototype: true, words: 1 });
  assert.deepEqual(ask(nodeFlags), { prototype: false, words: 'refused' });
});
