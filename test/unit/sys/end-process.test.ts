import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { nodeFlags } from '../../../src/commands/node-flags.ts';
import { nativePath } from '../../../src/sys/addon.ts';

const root = resolve(import.meta.dirname, '../../..');

/** Busy for some time, so that functions are being compiled behind it when it ends: one in two such processes never did. */
const busyUntilItsEnd = `
  const { endProcess } = require(${JSON.stringify(nativePath('addon.node'))});
  process.stdout.write('said');
  const kept = [], b = [{ x: 1 }, { x: 2 }, { x: 3 }];
  const functions = Array.from({ length: 300 }, (_, i) =>
    new Function('a', 'b', \`let s = 0; for (let j = 0; j < 200; j++) { s += a * \${i} + b[j % 7]?.x ?? 0; s ^= j; } return { x: s, y: [s, a] };\`));
  const until = performance.now() + Number(process.argv[1]);
  while (performance.now() < until) for (const f of functions) kept.push(f(3, b));
  endProcess(3);
`;
const flags = [...nodeFlags, '--optimize-for-size'];

test('a process ends with its code and all it said, while its functions are being compiled', () => {
  for (let ms = 0; ms < 160; ms += 10) {
    const { status, signal, stdout } = spawnSync(process.execPath, [...flags, '-e', busyUntilItsEnd, `${ms}`], {
      encoding: 'utf8',
      timeout: 20_000,
      killSignal: 'SIGKILL',
    });
    assert.deepEqual({ status, signal, stdout }, { status: 3, signal: null, stdout: 'said' }, `busy for ${ms} ms`);
  }
});

test('nothing that Berth ships, and no script that uses it, ends in the way that may not end', () => {
  const files = globSync(['src/**/*.ts', 'scripts/{up,sweep,bench-parts/*}.ts'], { cwd: root });
  assert.ok(files.length > 100);
  assert.deepEqual(
    files.filter((file) => /\bprocess\.(exit|reallyExit)\(/.test(readFileSync(join(root, file), 'utf8'))),
    [],
  );
});
