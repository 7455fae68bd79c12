// The Debian package of an installed tree.
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, globSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { maintainer } from './debian-changelog.ts';
import { configFile, write } from './tree.ts';

const newest = (versions: readonly string[]): string =>
  versions.reduce((a, b) => (a.localeCompare(b, 'en', { numeric: true }) < 0 ? b : a));

/** The oldest C library that has all that these programs want of it, by the versions of symbols that stand in them. */
function neededLibc(programs: readonly string[]): string {
  const versions = programs.flatMap((file) =>
    [...readFileSync(file, 'latin1').matchAll(/\0GLIBC_(\d+\.\d+)(?=[.\0])/g)].map(([, version = '']) => version),
  );
  return newest(versions);
}

function control(tree: string, files: readonly string[], { version, architecture }: Named): string {
  const libc = neededLibc(['node', 'addon.node'].map((name) => join(tree, 'usr/lib/berth', name)));
  const kib = Math.ceil(files.reduce((sum, file) => sum + statSync(join(tree, file)).size, 0) / 1024);
  return `Package: berth
Version: ${version}
Architecture: ${architecture}
Maintainer: ${maintainer}
Installed-Size: ${kib}
Depends: libc6 (>= ${libc}), libisal2, libstdc++6, libatomic1, crun | runc
Recommends: containernetworking-plugins, iptables, conntrack
Section: admin
Priority: optional
Description: CRI container runtime for Kubernetes nodes
 Berth pulls OCI images, makes pods, calls CNI plugins, runs containers with
 crun or runc, writes their logs and reports their state. kubelet drives it
 over a unix socket. Its daemon may be restarted and upgraded while pods run.
`;
}

type Named = { readonly version: string; readonly architecture: string };

/** Writes `deb`: `tree` with what Debian wants beside it. Modes and times are said, not found. */
export function makeDeb(root: string, tree: string, deb: string, named: Named, epoch: number): void {
  const files = globSync('**', { cwd: tree, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(tree.length + 1))
    .sort();
  const sums = execFileSync('/usr/bin/md5sum', files, { cwd: tree });
  const meta = join(tree, 'DEBIAN');
  mkdirSync(meta);
  chmodSync(meta, 0o755);
  write(join(meta, 'control'), control(tree, files, named), 0o644);
  write(join(meta, 'md5sums'), sums, 0o644);
  write(join(meta, 'conffiles'), `/${configFile}\n`, 0o644);
  for (const name of ['postinst', 'prerm', 'postrm']) {
    copyFileSync(join(root, 'packaging/deb', name), join(meta, name));
    chmodSync(join(meta, name), 0o755);
  }
  const options = ['--root-owner-group', '--threads-max=1', '-Zzstd', '-z6', '--build'];
  execFileSync('/usr/bin/dpkg-deb', [...options, tree, deb], {
    env: { ...process.env, SOURCE_DATE_EPOCH: String(epoch) },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}
