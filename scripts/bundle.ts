import { execFileSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');

/** Makes in `folder` what is shipped: the bundle, the layer worker and three native files. Returns the main program. */
export function makeBundle(folder: string): string {
  execFileSync('npm', ['run', '-s', 'bundle', '--', `--outdir=${folder}`], { cwd: root, stdio: 'pipe' });
  for (const name of ['addon.node', 'berth-shim', 'berth-look'])
    copyFileSync(join(root, 'native/build', name), join(folder, name));
  return join(folder, 'main.mjs');
}
