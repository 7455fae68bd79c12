import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');

/**
 * Makes in `folder` what is shipped: the bundle, the layer worker and three native files. Returns the main program. What
 * was there is replaced by renaming: an earlier build may be running.
 */
export function makeBundle(folder: string): string {
  const fresh = join(folder, '.new');
  rmSync(fresh, { recursive: true, force: true }); // of a build that was cut off
  mkdirSync(fresh, { recursive: true });
  try {
    execFileSync('npm', ['run', '-s', 'bundle', '--', `--outdir=${fresh}`], { cwd: root, stdio: 'pipe' });
    for (const name of ['addon.node', 'berth-shim', 'berth-look'])
      copyFileSync(join(root, 'native/build', name), join(fresh, name));
    for (const name of readdirSync(fresh)) renameSync(join(fresh, name), join(folder, name));
  } finally {
    rmSync(fresh, { recursive: true });
  }
  return join(folder, 'main.mjs');
}
