// What is packaged for, and what of this machine that takes: itself, or another one that scripts/cross has gathered.
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

export type Target = {
  /** As Node calls it: `arm64`. */
  readonly arch: string;
  /** As Debian calls it. */
  readonly architecture: string;
  /** Its Node, and what runs that here: the words before it, none where it is this machine's own. */
  readonly node: string;
  readonly runner: readonly string[];
  /** The folder of its C. */
  readonly native: string;
  readonly strip: string;
};

const debianNames: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** This machine. */
export const ownTarget: Target = {
  arch: process.arch,
  architecture: debianNames[process.arch] ?? process.arch,
  node: join(root, `node_modules/node-linux-${process.arch}/bin/node`),
  runner: [],
  native: join(root, 'native/build'),
  strip: '/usr/bin/strip',
};

/** By Debian's cross compiler, as `scripts/cross` left it, and an emulator of its processor. */
function crossTarget(): Target {
  const gathered = join(root, 'build/cross/arm64');
  return {
    arch: 'arm64',
    architecture: 'arm64',
    node: join(gathered, 'node/bin/node'),
    runner: ['/usr/bin/qemu-aarch64-static', '-L', join(gathered, 'root')],
    native: join(gathered, 'native'),
    strip: '/usr/bin/aarch64-linux-gnu-strip',
  };
}

/** Those that can be packaged for here, by Debian's names. Null: what would be needed is not there, or never is. */
export function targetNamed(architecture: string): Target | null {
  if (architecture === ownTarget.architecture) return ownTarget;
  const cross = crossTarget();
  return architecture === cross.architecture && existsSync(join(cross.native, 'addon.node')) ? cross : null;
}
