// What is taken for a shim, by its process alone, and its end.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isShimOf, killShim } from '../../src/shim/index.ts';
import { stateOf } from '../harness/hung.ts';
import { ownHost } from '../harness/own-host.ts';

await ownHost();

const folder = mkdtempSync(join(tmpdir(), 'berth-kill-'));
after(() => rmSync(folder, { recursive: true }));

/** A shell that has the name of a shim and, as its argument, a pod's folder: a script that waits. */
async function impersonate(name: string): Promise<{ pod: string; pid: number }> {
  const [program, pod] = [join(folder, 'berth-shim'), join(folder, name)];
  copyFileSync('/bin/sh', program);
  writeFileSync(pod, 'echo up; read forever');
  const script = '"$0" "$1" <&3 & echo $!';
  const parent = spawn('/bin/sh', ['-c', script, program, pod], { stdio: ['ignore', 'pipe', 'inherit', 'pipe'] });
  const text: string[] = [];
  for await (const chunk of parent.stdout!) {
    text.push(`${chunk}`);
    if (/up/.test(text.join('')) && /\d+/.test(text.join(''))) break;
  }
  return { pod, pid: Number(/\d+/.exec(text.join(''))![0]) };
}

test('a shim is known by its name and its folder, and has ended when it was killed', { timeout: 10_000 }, async () => {
  const { pod, pid } = await impersonate('pod');
  assert.equal(isShimOf(pod, `${pid}`), true);
  assert.equal(isShimOf(join(folder, 'other'), `${pid}`), false);
  await killShim(join(folder, 'other'));
  assert.equal(stateOf(pid), 'S');
  await killShim(pod);
  assert.ok(['Z', null].includes(stateOf(pid)), `${stateOf(pid)}`);
  await killShim(pod); // there is none any more
});

test('what is no shim, or gone, is none', async () => {
  const sleeper = spawn('/bin/sleep', ['60']);
  assert.equal(isShimOf('60', `${sleeper.pid}`), false);
  sleeper.kill('SIGKILL');
  await once(sleeper, 'close');
  assert.equal(isShimOf('60', `${sleeper.pid}`), false);
});
