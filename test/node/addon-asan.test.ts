// The tests of the addon once more, on the build with sanitizers; a finding of theirs ends the process, and so the test.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';

await ownHost();

const tests = join(import.meta.dirname, '..');
const native = join(tests, '../native');
const files = [
  ...['files', 'decoder', 'log-output', 'places', 'names', 'write-file', 'tree-files'].map(
    (name) => `unit/sys/${name}`,
  ),
  'unit/shim/looker',
  ...['pull-unpack', 'pull-escape', 'pull-lower-files', 'snapshots'].map((name) => `node/${name}`),
  ...['security/walks', 'hostile/moving-trees'],
];

let folder = '';
before(() => {
  execFileSync('/usr/bin/make', ['-s', '-C', native, 'addon-asan', 'asan'], { stdio: 'inherit' });
  folder = mkdtempSync(join(tmpdir(), 'addon-asan-'));
  symlinkSync(join(native, 'build/addon-asan.node'), join(folder, 'addon.node'));
  symlinkSync(join(native, 'build/berth-shim'), join(folder, 'berth-shim'));
  symlinkSync(join(native, 'build/berth-look-asan'), join(folder, 'berth-look'));
});
after(() => rmSync(folder, { recursive: true }));

const library = (name: string) =>
  execFileSync('/usr/bin/cc', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();

/** Node has no sanitizers itself, so their library must be there first. What node leaves at its end is no leak of ours. */
function node(args: readonly string[]) {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  return spawnSync(process.execPath, args, {
    cwd: tests,
    env: {
      BERTH_FUZZ_SECONDS: '10',
      ...env,
      BERTH_NATIVE: folder,
      BERTH_SANITIZED: '1',
      LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`,
      ASAN_OPTIONS: 'detect_leaks=0:detect_stack_use_after_return=1',
      UBSAN_OPTIONS: 'print_stacktrace=1',
    },
    encoding: 'utf8',
  });
}

test('the addon under test is the one with sanitizers', () => {
  const script = `import { loadAddon } from '../src/sys/addon.ts'; import { readFileSync } from 'node:fs'; loadAddon();
    console.log(readFileSync('/proc/self/maps', 'utf8'));`;
  const { stdout, stderr } = node(['--input-type=module-typescript', '-e', script]);
  for (const name of ['libasan', 'libubsan', 'addon-asan.node']) assert.ok(stdout.includes(name), `${name}: ${stderr}`);
});

for (const file of files) {
  test(`with sanitizers: ${file}`, () => {
    // Without a process between, what a looker says in its last moment is on our standard error.
    const isolation = file.startsWith('unit/') ? 'none' : 'process';
    const options = ['--test-force-exit', '--test-reporter=dot', `--test-isolation=${isolation}`];
    const { status, stdout, stderr } = node(['--test', ...options, `${file}.test.ts`]);
    assert.equal(status, 0, `${stdout}\n${stderr}`);
    assert.doesNotMatch(stderr, /Sanitizer|runtime error/);
  });
}
