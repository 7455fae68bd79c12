// Fails when a generated file differs from what its source gives: src/api from proto/, protocol.h from proto/shim.ts, the
// reference in docs/operating.md from the settings and the commands.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const made = mkdtempSync(join(tmpdir(), 'berth-generated-'));
try {
  cpSync(join(root, 'proto'), join(made, 'proto'), { recursive: true });
  cpSync(join(root, 'node_modules/.bin'), join(made, 'node_modules/.bin'), {
    recursive: true,
    verbatimSymlinks: false,
  });
  execFileSync(join(root, 'node_modules/.bin/buf'), ['generate'], { cwd: join(made, 'proto'), stdio: 'inherit' });
  execFileSync('/usr/bin/diff', ['-r', join(made, 'src/api'), join(root, 'src/api')], { stdio: 'inherit' });
  execFileSync(process.execPath, [join(root, 'scripts/gen-shim-header.ts'), '--check'], { stdio: 'inherit' });
  execFileSync(process.execPath, [join(root, 'scripts/gen-docs.ts'), '--check'], { stdio: 'inherit' });
} catch {
  console.error('generated files are out of sync: npm run generate');
  process.exitCode = 1;
} finally {
  rmSync(made, { recursive: true, force: true });
}
