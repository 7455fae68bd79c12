// An interrupted test run costs the next one nothing: what it left frozen is ended by the host that is made next. And what
// others mount and remove outside is no leak inside.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cgroupV2 } from '../harness/cgroups.ts';
import { hostName, ownHost } from '../harness/own-host.ts';
import { until } from '../harness/pods.ts';
import { cacheFolder } from '../images/paths.ts';

await ownHost();

const [tree, file, frozen] = cgroupV2
  ? ['/sys/fs/cgroup', 'cgroup.freeze', '1']
  : ['/sys/fs/cgroup/freezer', 'freezer.state', 'FROZEN'];
const thawed = cgroupV2 ? '0' : 'THAWED';
const script = join(import.meta.dirname, '../harness/own-host.sh');

/** A process that is frozen in a cgroup below `name`, as a container of that host would be. */
async function freezeOne(name: string): Promise<{ child: ChildProcess; folder: string; undo: () => Promise<void> }> {
  const folder = join(tree, name);
  const below = join(folder, 'pod');
  mkdirSync(below, { recursive: true });
  const child = spawn('/bin/sleep', ['1000']);
  writeFileSync(join(below, 'cgroup.procs'), `${child.pid}`);
  writeFileSync(join(below, file), frozen);
  await until('it is frozen', async () => cgroupV2 || readFileSync(join(below, file), 'utf8') === 'FROZEN\n');
  const undo = async () => {
    if (!existsSync(below)) return;
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    writeFileSync(join(below, file), thawed);
    await exit;
    for (const each of [below, folder]) rmdirSync(each);
  };
  return { child, folder, undo };
}

/** Makes a host, and ends it at once. */
function makeHost(): string {
  const { BERTH_OWN_HOST: _, NODE_TEST_CONTEXT: __, ...env } = process.env;
  return execFileSync('/bin/bash', ['-c', `bash ${script} true 2>&1`], { env, encoding: 'utf8' });
}

test('frozen processes of a host or a program that is gone are ended, and their cgroups with them', async () => {
  const gone = spawn('/bin/true');
  await once(gone, 'exit');
  for (const name of [`bt${gone.pid}x0`, `btp${gone.pid}x0`]) {
    const left = await freezeOne(name);
    const ended = once(left.child, 'exit');
    try {
      assert.match(makeHost(), new RegExp(`interrupted run left in ${left.folder}\n`));
      assert.deepEqual(await ended, [null, 'SIGKILL']);
      assert.equal(existsSync(left.folder), false);
    } finally {
      await left.undo();
    }
  }
});

test('those of a host or a program that lives are left alone, and what no test host is named after', async () => {
  const lives = spawn('/bin/bash', ['-c', 'echo; read', script]);
  await once(lives.stdout, 'data');
  const names = [`bt${lives.pid}x0`, `btp${process.pid}x0`, `bt${hostName}y-other`, `bot${hostName}x0`];
  const all = await Promise.all(names.map(freezeOne));
  try {
    assert.doesNotMatch(makeHost(), /interrupted/);
    for (const { child } of all) assert.equal(child.exitCode ?? child.signalCode, null);
  } finally {
    for (const { undo } of all) await undo();
    lives.kill('SIGKILL');
  }
});

/** Looks at its mounts, says so, waits for the end of its input, runs a command, and looks again. */
const looksTwice = `
  import { execFileSync } from 'node:child_process';
  import { readFileSync, writeSync } from 'node:fs';
  const { assertNoLeak, mountLines } = await import(process.argv[1]);
  const before = { mounts: mountLines() };
  writeSync(1, 'looked');
  readFileSync(0);
  execFileSync('/bin/sh', ['-c', process.argv[2]]);
  assertNoLeak(before, { mounts: mountLines() });
  process.exit(0);`;

test('a mount of others that goes with its directory is not missed; one that goes alone is', async () => {
  const point = mkdtempSync(join(cacheFolder('own-host'), 'disk-'));
  const { BERTH_OWN_HOST: _, NODE_TEST_CONTEXT: __, ...env } = process.env;
  const check = join(import.meta.dirname, '../harness/leak-check.ts');
  execFileSync('/bin/mount', ['-t', 'tmpfs', 'disk', point]);
  /** The exit code of a look on a new host. */
  const looked = async (command: string, outside: () => void) => {
    const program = [process.execPath, '--input-type=module', '-e', looksTwice, check, command];
    const child = spawn('/bin/bash', [script, ...program], { env, stdio: ['pipe', 'pipe', 'ignore'] });
    const exit = once(child, 'exit');
    await once(child.stdout, 'data');
    outside();
    child.stdin.end();
    return (await exit)[0];
  };
  assert.equal(await looked(`umount ${point}`, () => {}), 1);
  const remove = () => {
    execFileSync('/bin/umount', [point]);
    rmdirSync(point);
  };
  assert.equal(await looked('true', remove), 0);
});
