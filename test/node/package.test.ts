// What is handed out: the same bytes from two folders, and installed, upgraded and purged in a root of the test's own.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { program } from '../images/run.ts';

await ownHost();

const checkout = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'berth-package-'));
const sources = ['src', 'scripts', 'native', 'proto', 'packaging', 'package.json', 'package-lock.json', 'LICENSE'];

/** A package made in a copy of the checkout that lies elsewhere, in another environment. Returns its SHA256SUMS. */
async function packageIn(place: string, env: Record<string, string>, umask: string): Promise<string> {
  for (const name of [...sources, 'CHANGELOG.md'])
    cpSync(join(checkout, name), join(place, name), {
      recursive: true,
      filter: (path) => path !== join(checkout, 'native/build'),
    });
  symlinkSync(join(checkout, 'node_modules'), join(place, 'node_modules'));
  const script = `umask ${umask}; make -s -C native && exec "$0" scripts/package.ts`;
  const child = spawn('/bin/sh', ['-c', script, process.execPath], {
    cwd: place,
    env: { PATH: process.env.PATH!, SOURCE_DATE_EPOCH: '1700000000', ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = await once(child, 'exit');
  assert.equal(code, 0, `a package is made in ${place}`);
  return readFileSync(join(place, 'build/SHA256SUMS'), 'utf8');
}

const one = join(folder, 'one');
const two = join(folder, 'deeper/and/two');
let sums: string[] = [];
before(async () => {
  sums = await Promise.all([
    packageIn(one, { TZ: 'UTC', LC_ALL: 'C' }, '022'),
    packageIn(two, { TZ: 'Asia/Tokyo', LC_ALL: 'C.UTF-8' }, '077'),
  ]);
});
after(() => rmSync(folder, { recursive: true, force: true }));

const debOf = (place: string): string => join(place, 'build', /\S+\.deb/.exec(sums[0]!)![0]);

test('two folders, umasks and time zones give the same bytes', () => {
  assert.match(sums[0]!, /\.deb\n/);
  assert.match(sums[0]!, /\.tar\.gz\n/);
  assert.match(sums[0]!, /\.cdx\.json\n/);
  assert.equal(sums[0], sums[1]);
  execFileSync('/usr/bin/sha256sum', ['--check', '--quiet', 'SHA256SUMS'], { cwd: join(one, 'build') });
});

test('all of it is root’s, writable by root alone, and as old as it was told', () => {
  const lines = execFileSync('/usr/bin/dpkg-deb', ['-c', debOf(one)], { encoding: 'utf8', env: { TZ: 'UTC' } })
    .trim()
    .split('\n');
  const wrong = lines.filter((line) => !/^[d-]rw[x-]r-[x-]r-[x-] root\/root +\d+ 2023-11-14 22:13 /.test(line));
  assert.deepEqual(wrong, []);
  const unpacked = join(folder, 'unpacked');
  execFileSync('/usr/bin/dpkg-deb', ['-x', debOf(one), unpacked]);
  const tarball = basename(/\S+\.tar\.gz/.exec(sums[0]!)![0]);
  const fromTar = execFileSync('/usr/bin/tar', ['-tf', join(one, 'build', tarball)], { encoding: 'utf8' });
  const inDeb = lines.map((line) => line.slice(line.indexOf('./')));
  assert.deepEqual(fromTar.trim().split('\n').sort(), inDeb.sort(), 'the tarball has the same files');
});

test('lintian has nothing to say of it, beside what packaging/lintian/overrides gives reasons for', () => {
  const tree = join(folder, 'light');
  execFileSync('/usr/bin/dpkg-deb', ['--raw-extract', debOf(one), tree]);
  // Node's 130 MB take it twenty seconds, and are not ours to change.
  const node = 'usr/lib/berth/node';
  writeFileSync(join(tree, node), '#!/bin/sh\n');
  const sums = join(tree, 'DEBIAN/md5sums');
  const [sum = ''] = execFileSync('/usr/bin/md5sum', [join(tree, node)], { encoding: 'utf8' }).split(' ');
  writeFileSync(sums, readFileSync(sums, 'utf8').replace(new RegExp(`^.{32}(?=  ${node}$)`, 'm'), sum));
  const deb = join(folder, 'light.deb');
  execFileSync('/usr/bin/dpkg-deb', ['--root-owner-group', '-Zzstd', '-z1', '--build', tree, deb]);
  const { status, stdout, stderr } = spawnSync(
    program('lintian', 'lintian'),
    ['--allow-root', '--tag-display-limit', '0', '--fail-on', 'error,warning', deb],
    { encoding: 'utf8', env: { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8', HOME: folder } },
  );
  assert.deepEqual({ status, stdout }, { status: 0, stdout: '' }, stderr);
});

test('no path of the machine that made it is inside', () => {
  const library = join(folder, 'unpacked/usr/lib/berth');
  for (const name of [
    'berth.cjs',
    'berth.v8',
    'layer-worker.cjs',
    'addon.node',
    'berth-shim',
    'berth-look',
    'berth-environment',
  ]) {
    const text = readFileSync(join(library, name), 'latin1');
    for (const path of [folder, checkout]) assert.ok(!text.includes(path), `${name} names ${path}`);
  }
});

test('the daemon serves out of what was unpacked', async () => {
  const daemon = new TestDaemon({ main: join(folder, 'unpacked/usr/lib/berth/main.cjs') });
  await daemon.start();
  try {
    assert.equal((await daemon.runtime.version({})).runtimeName, 'berth');
  } finally {
    await daemon.dispose();
  }
});

/** A root that is the host's with all that is written kept apart, on which systemd seems to run. */
class Root {
  readonly path = mkdtempSync(join(folder, 'root-'));
  readonly #disk = mkdtempSync(join(folder, 'disk-'));

  constructor() {
    mount('-t', 'tmpfs', 'tmpfs', this.#disk);
    for (const name of ['upper', 'work']) mkdirSync(join(this.#disk, name));
    const options = `lowerdir=/,upperdir=${join(this.#disk, 'upper')},workdir=${join(this.#disk, 'work')}`;
    mount('-t', 'overlay', '-o', options, 'overlay', this.path);
    mount('-t', 'proc', 'proc', join(this.path, 'proc'));
    mount('-t', 'tmpfs', 'tmpfs', join(this.path, 'run'));
    mount('-t', 'tmpfs', 'tmpfs', join(this.path, 'tmp'));
    mount('--bind', '/dev', join(this.path, 'dev'));
    mkdirSync(join(this.path, 'run/systemd/system'), { recursive: true });
    const fake = join(this.path, 'usr/local/sbin/systemctl');
    const script = `#!/bin/sh
if [ "$1" = is-enabled ]; then cat /run/is-enabled; exit; fi
echo "$@" >>/run/systemctl.log
[ ! -e "/run/fails-$1" ]
`;
    writeFileSync(fake, script, { mode: 0o755 });
    cpSync(debOf(one), join(this.path, 'run/berth.deb'));
    this.unitIs('enabled');
  }

  run(...argv: string[]) {
    const PATH = '/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin';
    const env = { PATH, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
    const { status, stdout, stderr } = spawnSync('/usr/sbin/chroot', [this.path, ...argv], { encoding: 'utf8', env });
    return { status, stdout, stderr };
  }

  dpkg(...args: string[]) {
    return this.run('/usr/bin/dpkg', '--force-unsafe-io', ...args);
  }

  /** As `systemctl is-enabled` says it. */
  unitIs(state: string): void {
    writeFileSync(join(this.path, 'run/is-enabled'), `${state}\n`);
  }

  /** What systemd was told since the last time. */
  asked(): string[] {
    const file = join(this.path, 'run/systemctl.log');
    const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
    rmSync(file, { force: true });
    return lines;
  }

  has(path: string): boolean {
    return existsSync(join(this.path, path));
  }

  [Symbol.dispose](): void {
    for (const path of [this.path, this.#disk]) spawnSync('/usr/bin/umount', ['-R', path]);
  }
}

const mount = (...args: string[]) => execFileSync('/usr/bin/mount', args);

describe('dpkg', () => {
  test('installs, upgrades with a restart of the daemon alone, removes and purges it, with systemd and without', () => {
    using root = new Root();
    const installed = root.dpkg('--install', '/run/berth.deb');
    assert.equal(installed.status, 0, installed.stderr);
    assert.deepEqual(root.asked(), ['daemon-reload', 'enable berth.service', 'start berth.service']);
    assert.match(root.run('/usr/bin/berth', 'version').stdout, /^berth \d/);
    assert.match(root.run('/usr/bin/berth', 'config').stdout, /^data_dir = "\/var\/lib\/berth"$/m);
    assert.equal(root.dpkg('--verify', 'berth').stdout, '');

    const again = root.dpkg('--install', '/run/berth.deb');
    assert.equal(again.status, 0, again.stderr);
    assert.deepEqual(root.asked(), ['daemon-reload', 'try-restart berth.service']);

    rmSync(join(root.path, 'run/systemd'), { recursive: true });
    for (const [name, ...args] of [
      ['postinst', 'configure', ''],
      ['prerm', 'remove'],
      ['postrm', 'remove'],
    ])
      assert.equal(root.run('/bin/sh', `/var/lib/dpkg/info/berth.${name}`, ...args).status, 0);
    const forTheFirstBoot = ['enable berth.service', 'disable berth.service'];
    assert.deepEqual(root.asked(), forTheFirstBoot, 'where no systemd runs, as in an image that is built');
    mkdirSync(join(root.path, 'run/systemd/system'), { recursive: true });

    const pods = join(root.path, 'run/berth/pods/x');
    const records = join(root.path, 'var/lib/berth/v1/pods');
    for (const made of [pods, records]) mkdirSync(made, { recursive: true });
    writeFileSync(join(records, 'x.json'), '{}');
    const removed = root.dpkg('--remove', 'berth');
    assert.equal(removed.status, 0, removed.stderr);
    assert.deepEqual(root.asked(), ['stop berth.service', 'disable berth.service', 'daemon-reload']);
    assert.ok(root.has('var/lib/berth/v1/pods/x.json') && root.has('etc/berth/config.toml'), 'data stays');
    assert.ok(!root.has('usr/lib/berth'));

    const others = join(folder, 'of-others');
    mkdirSync(others);
    writeFileSync(join(others, 'file'), '');
    mount('--bind', others, pods);
    const refused = root.dpkg('--purge', 'berth');
    assert.notEqual(refused.status, 0, 'pods are there');
    assert.match(refused.stderr, /pods are still there/);
    assert.ok(existsSync(join(others, 'file')) && root.has('var/lib/berth/v1/pods/x.json'));
    execFileSync('/usr/bin/umount', [pods]);
    const purged = root.dpkg('--purge', 'berth');
    assert.equal(purged.status, 0, purged.stderr);
    for (const gone of ['var/lib/berth', 'run/berth', 'etc/berth']) assert.ok(!root.has(gone), gone);
  });

  test('a wrong configuration, or a daemon that does not start, is told of and leaves nothing half done', () => {
    using root = new Root();
    const installed = () => {
      const { status, stderr } = root.dpkg('--install', '/run/berth.deb');
      assert.equal(status, 0, stderr);
      assert.match(root.run('/usr/bin/dpkg', '--status', 'berth').stdout, /^Status: install ok installed$/m);
      return { asked: root.asked(), stderr };
    };
    const config = join(root.path, 'etc/berth/config.toml');
    installed();
    const usual = readFileSync(config, 'utf8');
    writeFileSync(config, `log_levle = "debug"\n${usual}`);
    const wrong = installed();
    assert.deepEqual(wrong.asked, ['daemon-reload'], 'the daemon of before is left alone');
    assert.match(wrong.stderr, /config\.toml: log_levle is unknown.*did you mean log_level/i);
    assert.match(wrong.stderr, /one that runs goes on.*\n {2}systemctl restart berth$/m);

    writeFileSync(config, `log_level = "debug"\n${usual}`);
    assert.deepEqual(installed().asked, ['daemon-reload', 'try-restart berth.service'], 'corrected');
    writeFileSync(join(root.path, 'run/fails-try-restart'), '');
    const failed = installed();
    assert.deepEqual(failed.asked, ['daemon-reload', 'try-restart berth.service']);
    assert.match(failed.stderr, /the daemon does not start.*\n {2}journalctl -u berth/);

    assert.equal(root.dpkg('--remove', 'berth').status, 0);
    root.asked();
    assert.deepEqual(installed().asked, ['daemon-reload', 'enable berth.service', 'start berth.service'], 'it is back');
    assert.deepEqual(installed().asked.at(-1), 'try-restart berth.service');

    root.unitIs('masked');
    writeFileSync(join(root.path, 'run/fails-enable'), ''); // as systemd does it then
    const masked = installed();
    assert.deepEqual(masked.asked, ['daemon-reload'], 'a daemon that runs is left alone');
    assert.match(masked.stderr, /its unit is masked and stays so.*\n {2}systemctl unmask berth/);
    assert.equal(root.dpkg('--remove', 'berth').status, 0);
    assert.deepEqual(installed().asked.at(-1), 'daemon-reload');
  });
});
