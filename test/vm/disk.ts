// The disk of the machine that machine.ts boots: Debian with what the tests need.
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../images/paths.ts';
import { program, run } from '../images/run.ts';

const files = join(import.meta.dirname, 'root');
const packages = [
  ...['systemd', 'systemd-sysv', 'dbus', 'udev', 'kmod', 'linux-image-amd64', 'initramfs-tools', 'zstd', 'e2fsprogs'],
  ...['crun', 'runc', 'containernetworking-plugins', 'iptables', 'conntrack', 'iproute2', 'docker-registry'],
  ...['etcd-server', 'ipset', 'netbase', 'nftables'], // kube-proxy's
  ...['apparmor', 'attr', 'libatomic1', 'libcap2-bin', 'libisal2', 'procps', 'psmisc', 'strace', 'sudo', 'util-linux'],
];
const diskSize = '6G';

/** Debian's sources as this host has them: its mirror is the one that can be reached. */
function sources(): string[] {
  const folder = '/etc/apt/sources.list.d';
  const all = [
    '/etc/apt/sources.list',
    ...readdirSync(folder)
      .sort()
      .map((name) => join(folder, name)),
  ];
  const found = all.filter(
    (path) => /\.(list|sources)$/.test(path) && existsSync(path) && /^[^#]*bookworm/m.test(readFileSync(path, 'utf8')),
  );
  return found.length > 0 ? [found[0]!] : ['http://deb.debian.org/debian'];
}

/** The folder with disk, kernel and initrd, made on first use (three minutes) and again when what it is made of changes. */
export async function ensureMachine(): Promise<string> {
  const hash = createHash('sha256')
    .update(packages.join())
    .update(readFileSync(import.meta.filename));
  for (const name of readdirSync(files, { recursive: true, encoding: 'utf8' }).sort()) {
    const path = join(files, name);
    hash.update(name);
    if (
      readdirSync(join(path, '..'), { withFileTypes: true }).some(
        (entry) => entry.isFile() && path.endsWith(entry.name),
      )
    )
      hash.update(readFileSync(path));
  }
  const cache = cacheFolder('vm');
  const folder = join(cache, hash.digest('hex').slice(0, 16));
  if (existsSync(folder)) return folder;
  for (const old of readdirSync(cache)) rmSync(join(cache, old), { recursive: true, force: true });
  const stage = mkdtempSync(join(cacheFolder('work'), 'vm-'));
  try {
    await build(stage);
    renameSync(stage, folder);
    return folder;
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

async function build(stage: string): Promise<void> {
  const root = join(stage, 'root');
  const hooks = [
    `--essential-hook=copy-in ${join(files, 'etc')} ${join(files, 'usr')} /`,
    '--customize-hook=chroot "$1" chown -R root:root /etc/systemd/system/test-run.service /usr/local/sbin',
    '--customize-hook=chroot "$1" systemctl enable test-run.service',
    '--customize-hook=chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-timesyncd.service docker-registry.service etcd.service getty.target',
    '--customize-hook=echo machine >"$1/etc/hostname"; echo "127.0.0.1 localhost machine" >"$1/etc/hosts"',
  ];
  const minimal = ['path-exclude=/usr/share/doc/*', 'path-exclude=/usr/share/man/*'].map((text) => `--dpkgopt=${text}`);
  const args = ['--variant=apt', `--include=${packages.join(',')}`, '--aptopt=APT::Install-Recommends "false"'];
  await run(program('mmdebstrap', 'mmdebstrap'), [...args, ...minimal, ...hooks, 'bookworm', root, ...sources()], {
    timeoutMs: 900_000,
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' },
  });
  const boot = (kind: string) => readdirSync(join(root, 'boot')).find((name) => name.startsWith(kind))!;
  for (const kind of ['vmlinuz', 'initrd.img']) renameSync(join(root, 'boot', boot(`${kind}-`)), join(stage, kind));
  await run(program('mkfs.ext4', 'e2fsprogs'), ['-q', '-F', '-d', root, join(stage, 'disk'), diskSize], {
    timeoutMs: 300_000,
  });
  rmSync(root, { recursive: true });
}
