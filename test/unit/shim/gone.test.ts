import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { childGone } from '../../../src/shim/gone.ts';
import { stateOf } from '../../harness/hung.ts';

test('what has ended is gone, although nobody reaps it', { timeout: 10_000 }, async () => {
  const parent = spawn('/bin/sh', ['-c', 'true & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [text] = await once(parent.stdout, 'data');
  const pid = Number(`${text}`);
  await childGone(pid);
  assert.ok(['Z', null].includes(stateOf(pid)), `${stateOf(pid)}`);
  parent.kill('SIGKILL');
  await once(parent, 'close');
});

test('what was never there is gone', async () => {
  await childGone(2 ** 23);
});
