// The shim's tests once more, on the build with sanitizers; a finding of theirs stands in shim.log and fails the test.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';

await ownHost();

const native = join(import.meta.dirname, '../../native');

test('with sanitizers', (t) => {
  execFileSync('/usr/bin/make', ['-s', '-C', native, 'asan'], { stdio: 'inherit' });
  const folder = mkdtempSync(join(tmpdir(), 'shim-asan-'));
  t.after(() => rmSync(folder, { recursive: true }));
  symlinkSync(join(native, 'build/berth-shim-asan'), join(folder, 'berth-shim'));
  const files = ['run', 'sandbox', 'start', 'exec', 'logs'].map((name) =>
    join(import.meta.dirname, `shim-${name}.test.ts`),
  );
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const args = ['--test', '--test-concurrency=1', '--test-reporter=dot', ...files];
  execFileSync(process.execPath, args, {
    env: { ...env, BERTH_NATIVE: folder, BERTH_SANITIZED: '1' },
    stdio: 'inherit',
  });
});
