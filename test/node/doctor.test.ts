// berth doctor on a host: with a daemon and without, and with what a crash might have left.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, type TestContext, test } from 'node:test';
import type { Finding } from '../../src/commands/doctor-checks.ts';
import { cgroupFolders } from '../../src/sys/cgroups.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { Hung } from '../harness/hung.ts';
import { ownHost } from '../harness/own-host.ts';
import { type Certificate, makeCertificate } from '../registry/certificate.ts';

await ownHost();

const main = resolve(import.meta.dirname, '../../src/main.ts');
const daemon = new TestDaemon({});
before(() => daemon.start());
after(() => daemon.dispose());

function doctor(as: { uid?: number; gid?: number } = {}): {
  status: number | null;
  found: (check: string) => Finding[];
} {
  const argv = [main, 'doctor', '--json', '--config', daemon.configFile];
  const { status, stdout } = spawnSync(process.execPath, argv, { encoding: 'utf8', ...as });
  const findings = JSON.parse(stdout) as Finding[];
  return { status, found: (check) => findings.filter((each) => each.check === check) };
}

const grades = (findings: readonly Finding[]) => findings.map(({ grade }) => grade);

test('a host with a daemon and a network is fit', () => {
  const { status, found } = doctor();
  assert.notEqual(status, 2);
  for (const check of [
    'kernel',
    'overlayfs',
    'file system',
    'networks',
    'leftovers',
    'records',
    'other runtimes',
    'daemon',
  ])
    assert.deepEqual(grades(found(check)), ['well'], check);
  assert.match(found('OCI runtimes').find(({ value }) => value.startsWith('crun'))!.value, /crun version \d/);
});

test('files and cgroups that no record names are found, and so are records that could not be read', () => {
  const lost = 'ab'.repeat(32);
  const pod = join(daemon.runDir, 'pods', lost);
  const [cgroup = ''] = cgroupFolders(`/${daemon.name}`).map((folder) => join(folder, lost));
  const quarantine = join(daemon.dataDir, 'v1/quarantine');
  for (const folder of [pod, cgroup, quarantine]) mkdirSync(folder, { recursive: true });
  writeFileSync(join(quarantine, 'x.json'), '{');
  try {
    const { found } = doctor();
    assert.deepEqual(
      found('leftovers').map(({ value }) => value),
      [pod, cgroup],
    );
    assert.deepEqual(
      found('records').map(({ value }) => value),
      [join(quarantine, 'x.json')],
    );
  } finally {
    rmdirSync(cgroup);
    for (const folder of [pod, quarantine]) rmSync(folder, { recursive: true });
  }
});

test('without a network it is unfit, without a daemon that is said', async () => {
  rmSync(daemon.cniDir, { recursive: true });
  await daemon.stop();
  const { status, found } = doctor();
  assert.equal(status, 2);
  assert.match(found('networks')[0]!.problem, /does not exist/);
  assert.match(found('daemon')[0]!.problem, /Berth is not running/);
  mkdirSync(daemon.cniDir);
  daemon.writeConflist();
  await daemon.start();
});

test('a path that hangs is told of in time, and nothing else is waited for', async (t) => {
  const usual = readFileSync(daemon.configFile, 'utf8');
  t.after(() => writeFileSync(daemon.configFile, usual));
  const at = join(daemon.dir, 'hung');
  await using _ = await Hung.at(at, { taking: true });
  writeFileSync(daemon.configFile, usual.replace(/^conf_dir = .*$/m, `conf_dir = "${at}/net.d"`));
  const { status, found } = doctor();
  const [silent, ...more] = found('paths');
  assert.deepEqual([status, silent?.value, silent?.grade, more], [2, `${at}/net.d`, 'unfit', []]);
  assert.match(silent!.problem, /does not answer in 5 s/);
  assert.match(silent!.todo, /findmnt --target/);
});

test('a path that hangs and is asked for by some pulls only is a warning beside the rest', async () => {
  const at = join(daemon.dir, 'certs.d');
  await using _ = await Hung.at(at, { taking: true });
  const { status, found } = doctor();
  const [silent, ...more] = found('paths');
  assert.deepEqual([silent?.value, silent?.grade, more], [at, 'warning', []]);
  assert.match(silent!.problem, /does not answer in 5 s; what asks for it fails/);
  assert.deepEqual([status, grades(found('kernel'))], [1, ['well']]);
});

test('a configuration that cannot be read is a finding, and so is who may not look', (t) => {
  const usual = readFileSync(daemon.configFile, 'utf8');
  t.after(() => writeFileSync(daemon.configFile, usual));
  writeFileSync(daemon.configFile, `sockt = "/x"\n${usual}`);
  const { status, found } = doctor();
  assert.equal(status, 2);
  assert.match(found('configuration')[0]!.problem, /sockt is unknown: did you mean socket\?/);
  writeFileSync(daemon.configFile, usual);
  const stranger = doctor({ uid: 65534, gid: 65534 });
  assert.deepEqual([stranger.status, stranger.found('who asks')[0]!.todo], [2, 'run it as root, with sudo']);
});

/** A registry that has no image at all, and wants this login, if any; over TLS with its own certificate. */
async function emptyRegistry(t: TestContext, login = '', secure?: Certificate): Promise<string> {
  const answer: RequestListener = ({ headers }, response) => {
    const may = login === '' || headers.authorization === `Basic ${btoa(login)}`;
    if (may)
      response.writeHead(404, { 'content-type': 'application/json' }).end('{"errors":[{"code":"NAME_UNKNOWN"}]}');
    else response.writeHead(401, { 'www-authenticate': 'Basic realm="here"' }).end();
  };
  const server = secure ? createSecureServer(secure, answer) : createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** What the doctor says of a registry. It runs beside this process, which is the registry. */
async function asked(host: string): Promise<Finding> {
  const argv = [main, 'doctor', '--json', '--registry', host, '--config', daemon.configFile];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  const findings = JSON.parse(await text(child.stdout)) as Finding[];
  return findings.find(({ check }) => check === 'registry')!;
}

test('a registry is reached, takes the login of the node, or is told why not', async (t) => {
  const [open, closed] = [await emptyRegistry(t), await emptyRegistry(t, 'node:secret')];
  assert.deepEqual([(await asked(open)).grade, (await asked(open)).problem], ['well', '']);
  const refused = await asked(closed);
  assert.deepEqual([refused.grade, /without credentials$/.test(refused.value)], ['warning', true], refused.problem);
  assert.match(refused.problem, /401|[Uu]nauthori[sz]ed|credentials/);

  const authFile = join(daemon.dir, 'auth.json');
  const usual = readFileSync(daemon.configFile, 'utf8');
  t.after(() => writeFileSync(daemon.configFile, usual));
  writeFileSync(daemon.configFile, usual.replace('[images]', `[images]\nauth_file = "${authFile}"`));
  const withLogin = (login: string) =>
    writeFileSync(authFile, JSON.stringify({ auths: { [closed]: { auth: btoa(login) } } }));
  withLogin('node:secret');
  assert.equal((await asked(closed)).grade, 'well');
  withLogin('node:wrong');
  assert.equal((await asked(closed)).grade, 'warning');

  const stranger = await emptyRegistry(t, '', makeCertificate());
  const folder = join(daemon.dir, 'certs.d/r.example');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'hosts.toml'), `server = "https://${stranger}"\n`);
  assert.match((await asked('r.example')).problem, /certificate/);
  assert.match((await asked('127.0.0.1:1')).problem, /ECONNREFUSED|refused|connect/);
});
