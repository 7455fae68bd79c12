// The whole life of an installed Berth under systemd, with pods that go on: only in the machine of scripts/vm-tests, which is
// the test's own.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { dirname } from 'node:path';
import { after, describe, test } from 'node:test';
import * as admin from '../../src/api/berth/v1/admin.ts';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { connectTo, type Rpc } from '../../src/commands/rpc.ts';
import { inMachine, ownHost } from '../harness/own-host.ts';
import { until } from '../harness/pods.ts';
import { laterVersion, laterWords, packagedImage, packages } from '../vm/packages.ts';

await ownHost();

const socket = '/run/berth/berth.sock';
const podCount = 10;
const config = '/etc/berth/config.toml';
/** Of one daemon, which will be made to stand still: the others may be as late as an emulated processor makes them. */
const impatience = '/run/systemd/system/berth.service.d/test.conf';
/** As an operator edits the package's configuration, in which every setting is a comment. */
function set(line: string): void {
  const key = line.split(' ')[0];
  writeFileSync(config, readFileSync(config, 'utf8').replace(new RegExp(`^#${key} = .*$`, 'm'), line));
}

function run(...argv: string[]): string {
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
  const { status, stdout, stderr } = spawnSync(argv[0]!, argv.slice(1), { encoding: 'utf8', env, timeout: 300_000 });
  assert.equal(status, 0, `${argv.join(' ')}: ${stdout}${stderr}`);
  return `${stdout}${stderr}`;
}
const dpkg = (...args: string[]) => run('dpkg', '--force-unsafe-io', ...args); // no power fails here
const debOf = (folder: string): string => globSync(`${folder}/*.deb`)[0]!;
const property = (name: string): string => run('systemctl', 'show', '--value', `--property=${name}`, 'berth').trim();

let runtime: Rpc<cri.RuntimeServiceClient>;
const connect = () => {
  runtime?.close();
  runtime = connectTo(cri.RuntimeServiceClient, cri, socket, 300_000);
};

/** What no upgrade, restart or end of the daemon may change: the processes, when they began, what CRI tells of them. */
async function running(): Promise<Record<string, unknown>> {
  const { items } = await runtime.listPodSandbox({});
  const { containers } = await runtime.listContainers({});
  const startOf = (info: string | undefined) => {
    const { pid } = JSON.parse(info!);
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return { pid, ticks: stat.slice(stat.lastIndexOf(')')).split(' ')[20] };
  };
  const pods = items.map(async ({ id, state, createdAt }) => {
    const { info } = await runtime.podSandboxStatus({ podSandboxId: id, verbose: true });
    return [id, { state, createdAt, ...startOf(info.info) }] as const;
  });
  const all = containers.map(async ({ id, metadata, state, createdAt }) => {
    const { status, info } = await runtime.containerStatus({ containerId: id, verbose: true });
    const process = startOf(info.info);
    return [id, { attempt: metadata?.attempt, state, createdAt, startedAt: status!.startedAt, ...process }] as const;
  });
  return Object.fromEntries(await Promise.all([...pods, ...all]));
}

async function runPod(name: string, more: object): Promise<void> {
  const config = {
    metadata: { name, uid: name, namespace: 'life', attempt: 0 },
    logDirectory: `/var/log/pods/${name}`,
  };
  const sandboxConfig = { ...config, ...more };
  const { podSandboxId } = await runtime.runPodSandbox({ config: sandboxConfig });
  const { containerId } = await runtime.createContainer({
    podSandboxId,
    sandboxConfig,
    config: {
      metadata: { name: 'c', attempt: 0 },
      image: { image: packagedImage },
      command: ['sleep', '100000'],
      logPath: 'c.log',
    },
  });
  await runtime.startContainer({ containerId });
}
const hostNetwork = { linux: { securityContext: { namespaceOptions: { network: 2 } } } };

const network = {
  cniVersion: '1.0.0',
  name: 'life',
  plugins: [
    {
      type: 'bridge',
      bridge: 'life0',
      isGateway: true,
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.88.0.0/24' }]] },
    },
  ],
};

/** Looked at by itself, as each process more costs the machine time. */
async function answers(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = dial(path, () => resolve(true)).on('error', () => resolve(false));
  using _ = { [Symbol.dispose]: () => probe.destroy() };
  return await promise;
}

/** Processes whose program or first words are Berth's. */
const ofBerth = (): string[] =>
  readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && existsSync(`/proc/${pid}/cmdline`))
    .map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' '))
    .filter((line) => /^\S*berth/.test(line));

describe('installed, upgraded and purged', { skip: !inMachine && 'it installs a package: scripts/vm-tests' }, () => {
  after(() => runtime?.close());
  let before: Record<string, unknown>;
  let mounts = '';

  test('the package installs, the unit is without a remark, the daemon serves', async (t) => {
    mounts = readFileSync('/proc/self/mountinfo', 'utf8');
    mkdirSync(dirname(impatience), { recursive: true });
    dpkg('--install', debOf(packages.now()));
    assert.equal(property('ActiveState'), 'active');
    assert.equal(run('systemctl', 'is-enabled', 'berth').trim(), 'enabled');
    assert.equal(run('systemd-analyze', 'verify', 'berth.service'), '');
    for (const line of run('systemd-analyze', 'security', '--no-pager', 'berth.service').trim().split('\n').slice(-1))
      t.diagnostic(line);
    connect();
    assert.equal((await runtime.version({})).runtimeName, 'berth');
  });

  test('ten pods run', async () => {
    mkdirSync('/etc/cni/net.d', { recursive: true });
    writeFileSync('/etc/cni/net.d/10-life.conflist', JSON.stringify(network));
    const client = connectTo(admin.AdminClient, admin, socket, 300_000);
    await client.loadImages({ path: packages.image() });
    client.close();
    for (let i = 0; i < podCount; i++) await runPod(`pod${i}`, i === 0 ? {} : hostNetwork);
    before = await running();
    assert.equal(Object.keys(before).length, 2 * podCount);
  });

  test('an upgrade and a downgrade restart the daemon alone, and keep what the operator wrote, as dpkg asks', async () => {
    set('log_level = "debug"');
    for (const [folder, version] of [
      [packages.later(), laterVersion],
      [packages.now(), /_([^_]+)_/.exec(debOf(packages.now()))![1]!],
    ] as const) {
      const daemon = property('MainPID');
      if (folder === packages.now()) writeFileSync(impatience, '[Service]\nWatchdogSec=20\n');
      assert.match(dpkg('--force-confold', '--install', debOf(folder)), /Using current old file as you requested/);
      assert.notEqual(property('MainPID'), daemon);
      connect();
      assert.equal((await runtime.version({})).runtimeVersion, version);
      assert.deepEqual(await running(), before);
      assert.match(readFileSync(config, 'utf8'), /^log_level = "debug"$/m);
      assert.equal(readFileSync(`${config}.dpkg-dist`, 'utf8').includes(laterWords), folder === packages.later());
    }
  });

  /** Installs this version again: what it said, and whether the daemon is another. Pods are as they were. */
  async function again(): Promise<{ said: string; restarted: boolean }> {
    const daemon = property('MainPID');
    const said = dpkg('--force-confold', '--install', debOf(packages.now()));
    connect();
    if (property('ActiveState') === 'active') assert.deepEqual(await running(), before);
    return { said, restarted: property('MainPID') !== daemon };
  }
  const enabled = (): string => spawnSync('systemctl', ['is-enabled', 'berth'], { encoding: 'utf8' }).stdout.trim();

  test('the same version once more is an upgrade, of a unit that is disabled as well, which stays so', async () => {
    run('systemctl', 'disable', 'berth');
    assert.deepEqual([(await again()).restarted, enabled()], [true, 'disabled']);
    run('systemctl', 'stop', 'berth');
    assert.deepEqual([(await again()).restarted, enabled(), property('ActiveState')], [false, 'disabled', 'inactive']);
    run('systemctl', 'enable', '--now', 'berth');
    connect();
    assert.deepEqual(await running(), before);
  });

  test('a configuration that it does not take is told of, and the daemon of before goes on', async () => {
    const usual = readFileSync(config, 'utf8');
    writeFileSync(config, usual.replace('log_level = "debug"', 'log_level = "loud"'));
    const { said, restarted } = await again();
    assert.match(said, /config\.toml: log_level = "loud" must be debug or info/);
    assert.match(said, /the daemon is not started anew; one that runs goes on.*\n {2}systemctl restart berth/);
    assert.equal(restarted, false);
    writeFileSync(config, usual);
  });

  test('a unit that is masked stays so, and the package is whole', async () => {
    run('systemctl', 'stop', 'berth'); // of one that is masked while it runs systemd takes no notification
    run('systemctl', 'mask', 'berth');
    const { said } = await again();
    assert.match(said, /its unit is masked and stays so.*\n {2}systemctl unmask berth && systemctl enable berth/);
    assert.deepEqual([property('ActiveState'), enabled()], ['inactive', 'masked']);
    assert.match(run('dpkg', '--status', 'berth'), /^Status: install ok installed$/m);
    run('systemctl', 'unmask', 'berth');
    run('systemctl', 'enable', '--now', 'berth');
    connect();
    assert.deepEqual(await running(), before);
  });

  test('removed, it leaves the pods and what the operator wrote; installed again, it has them', async () => {
    dpkg('--remove', 'berth');
    assert.equal(property('ActiveState'), 'inactive');
    assert.match(readFileSync(config, 'utf8'), /^log_level = "debug"$/m);
    assert.equal((await again()).restarted, true);
    assert.deepEqual([property('ActiveState'), enabled()], ['active', 'enabled']);
    assert.deepEqual(await running(), before);
  });

  test('a daemon that stands still is started anew by systemd, the pods go on', async () => {
    const daemon = property('MainPID');
    process.kill(Number(daemon), 'SIGSTOP');
    rmSync(impatience);
    run('systemctl', 'daemon-reload'); // for the next one
    await until('the end of the daemon', async () => !existsSync(`/proc/${daemon}`));
    await until('another one serves', () => answers(socket));
    assert.match(run('journalctl', '-u', 'berth', '--no-pager'), /Watchdog timeout/);
    connect();
    assert.deepEqual(await running(), before);
  });

  test('a reload puts a setting in force', async () => {
    const daemon = property('MainPID');
    set('runtime_name = "containerd"');
    run('systemctl', 'reload', 'berth');
    assert.equal((await runtime.version({})).runtimeName, 'containerd');
    assert.equal(property('MainPID'), daemon);
  });

  test('a purge leaves nothing', async () => {
    const { items } = await runtime.listPodSandbox({});
    await Promise.all(items.map(({ id }) => runtime.removePodSandbox({ podSandboxId: id })));
    dpkg('--purge', 'berth');
    const gone = [
      ...['/run/berth', '/var/lib/berth', '/etc/berth', '/usr/lib/berth', '/usr/bin/berth', '/var/log/berth.log'],
      ...['/usr/lib/systemd/system/berth.service', '/etc/systemd/system/multi-user.target.wants/berth.service'],
    ];
    assert.deepEqual(
      gone.filter((path) => existsSync(path)),
      [],
    );
    assert.deepEqual(ofBerth(), []);
    assert.deepEqual(globSync('/sys/fs/cgroup/**/*berth*/'), []);
    // The folder of network namespaces is everybody's, and a mount from its first use on, as ip-netns(8) leaves it.
    const added = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => !mounts.includes(line) && !line.includes(' /run/netns '));
    assert.deepEqual(added, []);
    assert.deepEqual(existsSync('/var/run/netns') ? readdirSync('/var/run/netns') : [], []);
    assert.equal(spawnSync('/usr/bin/dpkg-query', ['-W', 'berth']).status, 1);
  });
});
