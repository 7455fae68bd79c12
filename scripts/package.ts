// Makes what is handed out: npm run package [-- --out FOLDER] [--arch arm64, once scripts/cross was there]. A .deb and a tarball of the same files, a bill of what is
// inside (CycloneDX) and SHA256SUMS, by default in build/. The same source gives the same bytes, wherever it lies; their time is
// SOURCE_DATE_EPOCH or, without it, that of the last commit.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { berthVersion } from '../src/cri/runtime-service.ts';
import { optionsOf, refuse } from './options.ts';
import { billOfMaterials } from './package-parts/bill.ts';
import { makeDeb } from './package-parts/debian.ts';
import { ownTarget, targetNamed } from './package-parts/target.ts';
import { installTree } from './package-parts/tree.ts';

const root = resolve(import.meta.dirname, '..');
const { values } = optionsOf('the head of scripts/package.ts', {
  options: {
    out: { type: 'string', default: join(root, 'build') },
    arch: { type: 'string', default: ownTarget.architecture },
  },
});
const out = resolve(values.out);
const target =
  targetNamed(values.arch) ??
  refuse(
    `--arch ${values.arch}: this machine packages for ${ownTarget.architecture}, and after scripts/cross for arm64`,
  );
const { architecture } = target;

function sourceEpoch(): number {
  const text = process.env.SOURCE_DATE_EPOCH ?? lastCommit();
  if (/^\d{1,10}$/.test(text)) return Number(text);
  return refuse(
    `SOURCE_DATE_EPOCH = ${JSON.stringify(text)}: give seconds since 1970, as git log -1 --format=%ct says`,
  );
}

function lastCommit(): string {
  try {
    return execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' }).trim();
  } catch {
    return refuse('This is no checkout with a history: set SOURCE_DATE_EPOCH to the time of its source');
  }
}

function makeTarball(tree: string, file: string, epoch: number): void {
  const same = ['--sort=name', `--mtime=@${epoch}`, '--owner=0', '--group=0', '--numeric-owner', '--format=gnu'];
  const program = ['--use-compress-program=gzip -n -3'];
  execFileSync('/usr/bin/tar', [...same, ...program, '-C', tree, '-cf', file, '.'], { stdio: 'inherit' });
}

const epoch = sourceEpoch();
mkdirSync(out, { recursive: true });
const tree = mkdtempSync(join(out, '.tree-'));
try {
  const names = {
    tarball: `berth-${berthVersion}-linux-${architecture}.tar.gz`,
    bill: `berth-${berthVersion}-${architecture}.cdx.json`,
    deb: `berth_${berthVersion}_${architecture}.deb`,
  };
  installTree(root, tree, epoch, target);
  makeTarball(tree, join(out, names.tarball), epoch);
  writeFileSync(join(out, names.bill), billOfMaterials(root, berthVersion, epoch, target));
  makeDeb(root, tree, join(out, names.deb), { version: berthVersion, architecture }, epoch);
  const made = Object.values(names).sort();
  const sums = execFileSync('/usr/bin/sha256sum', made, { cwd: out, encoding: 'utf8' });
  writeFileSync(join(out, 'SHA256SUMS'), sums);
  process.stdout.write(sums);
} finally {
  rmSync(tree, { recursive: true });
}
