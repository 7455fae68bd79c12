// What the machine installs: this checkout's package, and one of a higher version, as a later release would be.
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { makeImage } from '../images/image.ts';
import { writeLayout } from '../images/layout.ts';
import { cacheFolder } from '../images/paths.ts';
import { busyboxLayer } from '../images/roots.ts';
import { run } from '../images/run.ts';

const root = resolve(import.meta.dirname, '../..');
const sources = ['src', 'scripts', 'native', 'proto', 'packaging', 'package.json', 'package-lock.json', 'LICENSE'];
/** Where the program says its version, and what its settings mean: the later one's configuration file is another. */
const versionFile = 'src/cri/runtime-service.ts';
const settingsFile = 'src/base/settings-table.ts';

/** Where the machine finds them, over the checkout that it shares: two folders with a .deb each, and an image. */
export const packages = {
  now: () => cacheFolder('packages', 'now'),
  later: () => cacheFolder('packages', 'later'),
  image: () => join(cacheFolder('packages'), 'busybox.tar'),
};
export const laterVersion = '99.0.0';
/** Of its configuration file alone. */
export const laterWords = 'The CRI socket, as a later version says.';
export const packagedImage = 'example.org/busybox:1';

/** Makes this checkout's. */
export const ensurePackage = (): Promise<void> => packageOf(root, packages.now());

/** Makes both, and the image: the machine has no network. */
export async function ensurePackages(): Promise<void> {
  const image = makeImage(['busybox:1'], [await busyboxLayer()], { Env: ['PATH=/bin'] });
  await writeLayout(packages.image(), 'example.org', [image]);
  const copy = mkdtempSync(join(cacheFolder('work'), 'later-'));
  try {
    for (const name of [...sources, 'CHANGELOG.md']) cpSync(join(root, name), join(copy, name), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    change(join(copy, versionFile), /(berthVersion: string = ')[^']+/, `$1${laterVersion}`);
    change(join(copy, settingsFile), "'The CRI socket.'", `'${laterWords}'`);
    await Promise.all([ensurePackage(), packageOf(copy, packages.later())]);
  } finally {
    rmSync(copy, { recursive: true });
  }
}

function change(file: string, from: string | RegExp, to: string): void {
  const source = readFileSync(file, 'utf8');
  const changed = source.replace(from, to);
  if (changed === source) throw new Error(`${file} has no ${from}`);
  writeFileSync(file, changed);
}

/** But for Node, a link to the checkout's: to unpack its 130 MB three times would take the machine two minutes. */
async function packageOf(checkout: string, out: string): Promise<void> {
  rmSync(out, { recursive: true });
  const env = { PATH: process.env.PATH!, SOURCE_DATE_EPOCH: '1700000000' };
  await run(process.execPath, ['scripts/package.ts', '--out', out], { cwd: checkout, env });
  const deb = globSync(join(out, '*.deb'))[0]!;
  const tree = join(out, 'tree');
  await run('/usr/bin/dpkg-deb', ['--raw-extract', deb, tree]);
  const node = join(tree, 'usr/lib/berth/node');
  rmSync(node);
  symlinkSync(join('/checkout', relative(root, process.execPath)), node);
  await run('/usr/bin/dpkg-deb', ['--root-owner-group', '-Znone', '--build', tree, deb]);
  rmSync(tree, { recursive: true });
}
