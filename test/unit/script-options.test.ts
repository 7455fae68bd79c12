// The scripts say what they take, and what they do not take they refuse in one line.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { ownTarget } from '../../scripts/package-parts/target.ts';
import { minors } from '../kubernetes/release.ts';
import { refuseLinksOut } from '../vm/machine.ts';

const root = resolve(import.meta.dirname, '../..');
const run = (argv: readonly string[]) => spawnSync(argv[0]!, argv.slice(1), { cwd: root, encoding: 'utf8' });

describe('--help, to everybody and before anything is installed', () => {
  for (const name of ['bench', 'cluster', 'cross', 'prepare', 'sweep', 'test', 'up', 'vm-tests']) {
    test(name, () => {
      const { status, stdout, stderr } = run([`scripts/${name}`, '--help']);
      assert.deepEqual([status, stderr], [0, '']);
      assert.match(stdout, new RegExp(`^\\s*scripts/${name} |prepare run`, 'm'));
    });
  }
});

describe('what is not taken', () => {
  const refused: readonly [readonly string[], string][] = [
    [['scripts/up', '--bogus'], 'scripts/up: does not take --bogus: scripts/up [--config FILE] [--down]'],
    [['scripts/cross', 'x'], 'scripts/cross: does not take x: nothing'],
    [['scripts/format-c', 'x'], 'scripts/format-c: does not take x: nothing, or --fix'],
    [
      [process.execPath, 'scripts/run-tests.ts', '--bogus'],
      "Unknown option '--bogus': scripts/test --help says what it takes",
    ],
    [
      [process.execPath, 'scripts/run-tests.ts', '--concurrency', '0'],
      '--concurrency 0: give a whole number, at least 1',
    ],
    [
      [process.execPath, 'scripts/package.ts', '--arch', 'riscv64'],
      `--arch riscv64: this machine packages for ${ownTarget.architecture}, and after scripts/cross for arm64`,
    ],
    [[process.execPath, 'scripts/conformance.ts', '--runtime', 'x'], '--runtime x: give crun, runc, containerd'],
    ...['node-suite.ts', 'cluster-suite.ts', 'cluster-parts/cluster.ts'].map((name): [readonly string[], string] => [
      [process.execPath, `scripts/${name}`, ...(name.includes('/') ? ['up'] : []), '--kubernetes', '1.4'],
      `--kubernetes 1.4: give ${minors.join(', ')}`,
    ]),
  ];
  for (const [argv, line] of refused) {
    test(argv.slice(-2).join(' '), () => {
      const { status, stdout, stderr } = run(argv);
      assert.deepEqual([stdout, stderr], ['', `${line}\n`]);
      assert.ok(status === 1 || status === 2);
    });
  }
});

test('a machine is given no checkout whose packages are elsewhere', (t) => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'berth-checkout-')));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'node_modules'));
  refuseLinksOut(folder);
  mkdirSync(join(folder, '.cache'));
  symlinkSync('/usr', join(folder, '.cache/go'));
  assert.throws(() => refuseLinksOut(folder), /\.cache\/go leads to \/usr, which the machine does not see/);
});
