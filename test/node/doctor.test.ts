// berth doctor on a host: with a daemon and without, and with what a crash might have left.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import type { Finding } from '../../src/commands/doctor-checks.ts';
import { cgroupFolders } from '../../src/sys/cgroups.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';

await ownHost();

const main = resolve(import.meta.dirname, '../../src/main.ts');
const daemon = new TestDaemon({});
before(() => daemon.start());
after(() => daemon.dispose());

function doctor(): { status: number | null; found: (check: string) => Finding[] } {
  const argv = [main, 'doctor', '--json', '--config', daemon.configFile];
  const { status, stdout } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
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
