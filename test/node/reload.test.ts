// The configuration is read anew while pods run: what that changes, what it says of the rest, and what a wrong file does.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { TestPod, until } from '../harness/pods.ts';
import { endTestRegistry, pullTestImages } from '../harness/suite.ts';

await ownHost();

const main = resolve(import.meta.dirname, '../../src/main.ts');
let daemon: TestDaemon;
let busybox: string;
let usual: string;
before(async () => {
  daemon = new TestDaemon({});
  await daemon.start();
  ({ busybox } = await pullTestImages(daemon));
  usual = readFileSync(daemon.configFile, 'utf8');
});
after(async () => {
  await daemon.dispose();
  await endTestRegistry();
});

const berth = (...args: string[]): string =>
  execFileSync(process.execPath, [main, '--config', daemon.configFile, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
const operating = readFileSync(resolve(import.meta.dirname, '../../docs/operating.md'), 'utf8');
/** What the paper's command prints of settings, for this daemon. */
function differing(command: string): string[] {
  const script = `berth() { ${process.execPath} ${main} --config ${daemon.configFile} "$@"; }\ncd ${daemon.dir}\n${command}`;
  const { stdout } = spawnSync('/bin/sh', ['-c', script], { encoding: 'utf8' });
  return stdout.split('\n').filter((line) => /^[<>] \w/.test(line));
}
/** Top-level keys come before the first table. */
const configure = (lines: string) => writeFileSync(daemon.configFile, `${lines}\n${usual}`);
const softLimit = async (pod: TestPod, name: string) => {
  const id = await pod.sh(name, busybox, 'exec sleep 1000');
  const { stdout } = await daemon.runtime.execSync({
    containerId: id,
    cmd: ['/bin/sh', '-c', 'ulimit -Sn'],
    timeout: 10n,
  });
  return stdout.toString().trim();
};

test('new containers have what the new file says, and what waits for a start is named', async () => {
  const pod = await TestPod.run(daemon, 'reloaded');
  assert.equal(await softLimit(pod, 'before'), '1024');
  configure('soft_open_files = 512\nsystemd_scope_prefix = "berth"\nlog_level = "debug"');
  assert.equal(berth('reload'), 'In force: soft_open_files, log_level\nFrom the next start on: systemd_scope_prefix\n');
  assert.equal(await softLimit(pod, 'after'), '512');
  const inForce = berth('config', '--running');
  assert.match(inForce, /^soft_open_files = 512$/m);
  assert.match(inForce, /^systemd_scope_prefix = "cri-containerd"$/m, 'it waits for a start');
  const command = operating.match(/What differs: `(.*?)`/)![1]!.replaceAll('\\|', '|');
  assert.deepEqual(differing(command), [
    '< systemd_scope_prefix = "berth"',
    '> systemd_scope_prefix = "cri-containerd"',
  ]);
  await until('debug is logged', async () =>
    daemon.logged.some(({ msg, level }) => msg === 'ExecSync' && level === 20),
  );
  configure('');
  assert.match(berth('reload'), /^In force: soft_open_files, log_level\n$/);
  assert.equal(berth('reload'), 'Nothing is different\n');
  await pod.remove();
});

test('a daemon whose socket has changed in the file is found where it listens', async () => {
  writeFileSync(daemon.configFile, usual.replace(/^socket = .*$/m, `socket = "${daemon.runDir}/new.sock"`));
  const { stdout, stderr } = spawnSync(process.execPath, [main, 'reload', '--config', daemon.configFile], {
    encoding: 'utf8',
  });
  assert.equal(stdout, 'From the next start on: socket\n', stderr);
  assert.match(stderr, new RegExp(`^berth: the daemon listens at ${daemon.socket}; socket = ".*new.sock" counts from`));
  configure('');
  assert.equal(berth('reload'), 'Nothing is different\n');
});

test('a daemon whose socket was removed is told from one that does not run', async () => {
  renameSync(daemon.socket, `${daemon.socket}.away`);
  try {
    const says = new RegExp(
      `Berth runs \\(process ${daemon.pid}\\), but nobody listens at ${daemon.socket}: .*restart`,
    );
    assert.throws(() => berth('pulls'), says);
  } finally {
    renameSync(`${daemon.socket}.away`, daemon.socket);
  }
  assert.equal(berth('pulls'), 'No pull is under way\n');
});

test('a wrong file changes nothing, and the one who asked hears why', async () => {
  configure('soft_open_files = 100\nlog_levle = "debug"');
  assert.throws(() => berth('reload'), /log_levle is unknown.*did you mean log_level/i);
  process.kill(daemon.pid, 'SIGHUP');
  await until('it is told', async () =>
    daemon.logged.some(({ reason }) => /log_levle is unknown/.test(String(reason))),
  );
  const pod = await TestPod.run(daemon, 'unchanged');
  assert.equal(await softLimit(pod, 'c'), '1024');
  configure('soft_open_files = 256');
  process.kill(daemon.pid, 'SIGHUP');
  await until('it was read', async () =>
    daemon.logged.some(({ inForce }) => JSON.stringify(inForce) === '["soft_open_files"]'),
  );
  assert.equal(await softLimit(pod, 'd'), '256');
  await pod.remove();
});

test("OpenTelemetry's variables count where the file says nothing, also after a reload, and no secret of them is told", async () => {
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9', OTEL_EXPORTER_OTLP_HEADERS: 'key=s3cret' };
  const traced = new TestDaemon({ env, network: false });
  try {
    await traced.start();
    const endpoint = async () => /^endpoint = .*$/m.exec((await traced.admin.configuration({})).toml)?.[0];
    assert.equal(await endpoint(), 'endpoint = "http://127.0.0.1:9"');
    assert.deepEqual((await traced.admin.reload({})).inForce, []);
    assert.ok(traced.logged.some(({ problem }) => /HEADERS is not read/.test(String(problem))));
    assert.doesNotMatch(JSON.stringify(traced.logged), /s3cret/);
    const file = readFileSync(traced.configFile, 'utf8');
    writeFileSync(traced.configFile, `${file}\n[tracing]\nendpoint = ""\n`);
    assert.deepEqual((await traced.admin.reload({})).inForce, ['tracing.endpoint']);
    assert.equal(await endpoint(), 'endpoint = ""');
  } finally {
    await traced.dispose();
  }
});
