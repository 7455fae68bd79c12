// What is taken for a shim, by its process alone, and its end.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isShimOf, killShim } from '../../src/shim/index.ts';
import { stateOf } from '../harness/hung.ts';
import { ownHost } from '../harness/own-host.ts';

await ownHost();

const folder = mkdtempSync(join(tmpdir(), 'berth-kill-'));
after(() => rmSync(folder, { recursive: true }));

/**
 * A shell that has the name of a shim and, as its argument, a pod's folder: a script that waits. `through` is a command that
 * runs it otherwise.
 */
async function impersonate(name: string, through: readonly string[] = []): Promise<{ pod: string; pid: number }> {
  const place = mkdtempSync(join(folder, 'place-'));
  const [program, pod] = [join(place, 'berth-shim'), join(place, name)];
  copyFileSync('/bin/sh', program);
  for (const path of [folder, place, program]) chmodSync(path, 0o755); // for others too
  writeFileSync(pod, 'echo up; read forever', { mode: 0o644 });
  const script = '"$@" <&3 & echo $!';
  const parent = spawn('/bin/sh', ['-c', script, 'sh', ...through, program, pod], {
    stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
  });
  const text: string[] = [];
  for await (const chunk of parent.stdout!) {
    text.push(`${chunk}`);
    if (/up/.test(text.join('')) && /\d+/.test(text.join(''))) break;
  }
  return { pod, pid: Number(/\d+/.exec(text.join(''))![0]) };
}

/** Whether the process is over: `killShim` waits for that, so one that it meant has ended when it answers. */
const hasEnded = (pid: number): boolean => ['Z', null].includes(stateOf(pid));

test('a shim is known by its name and its folder, and has ended when it was killed', { timeout: 10_000 }, async () => {
  const { pod, pid } = await impersonate('pod');
  assert.equal(isShimOf(pod, `${pid}`), true);
  assert.equal(isShimOf(join(folder, 'other'), `${pid}`), false);
  await killShim(join(folder, 'other'));
  assert.equal(hasEnded(pid), false);
  await killShim(pod);
  assert.equal(hasEnded(pid), true);
  await killShim(pod); // there is none any more
});

const others = {
  "a host's user": ['/usr/bin/setpriv', '--reuid', '65534', '--clear-groups'],
  'mounts of its own': ['/usr/bin/unshare', '--mount'],
};
for (const [what, through] of Object.entries(others)) {
  test(`with ${what} a process may call itself a shim, and is none`, { timeout: 10_000 }, async () => {
    const { pod, pid } = await impersonate('pod', through);
    const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    assert.deepEqual([argv[1], isShimOf(pod, `${pid}`)], [pod, false]);
    await killShim(pod);
    assert.equal(hasEnded(pid), false);
    process.kill(pid, 'SIGKILL');
  });
}

test('what is no shim, or gone, is none', async () => {
  const sleeper = spawn('/bin/sleep', ['60']);
  assert.equal(isShimOf('60', `${sleeper.pid}`), false);
  sleeper.kill('SIGKILL');
  await once(sleeper, 'close');
  assert.equal(isShimOf('60', `${sleeper.pid}`), false);
});
