// A container may have any number of processes: what is done to each must not be done to all for each.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs, { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setOomScore } from '../../../src/sys/oom-score.ts';

const scoreOf = (pid: number) => Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'));

test('every process gets the score, and the list of them is read a few times, however many they are', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-oom-'));
  const sleepers = Array.from({ length: 40 }, () => spawn('/bin/sleep', ['600'], { stdio: 'ignore' }));
  t.after(() => {
    for (const sleeper of sleepers) sleeper.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });
  const pids = sleepers.map(({ pid }) => pid!);
  const list = join(folder, 'c', 'cgroup.procs');
  mkdirSync(join(folder, 'c'));
  writeFileSync(list, `${pids.join('\n')}\n`);
  const read = t.mock.method(fs, 'readFileSync');
  syncBuiltinESMExports();
  const tree = { mode: 'v2', hierarchies: [{ path: folder, version: 2, controllers: ['pids'] }] } as const;
  const score = Math.min(1000, scoreOf(pids[0]!) + 7);
  await setOomScore('/c', score, { tree });
  const lists = read.mock.calls.filter(({ arguments: [path] }) => path === list).length;
  read.mock.restore();
  syncBuiltinESMExports();
  assert.deepEqual(new Set(pids.map(scoreOf)), new Set([score]));
  assert.ok(lists <= 4, `${lists} times`);
});
