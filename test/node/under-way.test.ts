// What the daemon says of a call that hangs: at a signal, which harms nothing, and as `berth bundle` asks.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import type { CallUnderWay } from '../../src/base/trace.ts';
import { Hung } from '../harness/hung.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, TestPod, until } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

const operating = readFileSync(resolve(import.meta.dirname, '../../docs/operating.md'), 'utf8');
/** The example of the paper, of another log. */
const example = (log: string): string =>
  /^ {4}sudo (grep '"msg":"Under way".*)$/m.exec(operating)![1]!.replace(/\S+\.log/, log);

suite('what is under way', { settings: { timeouts: { host_path: 60 } } }, (bench) => {
  test('a signal has a hung call told with what it waits for, and its path', async () => {
    const { daemon, image } = bench;
    const path = join(tmpdir(), 'hung');
    await using hung = await Hung.at(path);
    const pod = await TestPod.run(daemon, 'waits', hostNetwork);
    const mounts = [{ hostPath: `${path}/sub`, containerPath: '/x' }];
    const creation = pod.create('c', image.busybox, { mounts });
    creation.catch(() => {}); // it is looked at below
    const looking = `look: Looking at ${path}/sub`;
    const call = await until('the look', async () => {
      const { calls } = JSON.parse((await daemon.admin.underWay({})).json) as { calls: CallUnderWay[] };
      return calls.find(({ doing }) => doing.some(({ name }) => name === looking));
    });
    assert.equal(call.call, 'CreateContainer');
    assert.equal(call.pod, pod.id);
    assert.ok(
      call.doing.some(({ name }) => name === 'look: host paths of mounts'),
      'its step is told, too',
    );

    process.kill(daemon.pid, 'SIGUSR2');
    const line = await until('the line of the log', async () => daemon.logged.find(({ msg }) => msg === 'Under way'));
    assert.equal(line.call, 'CreateContainer');
    assert.ok((line.ms as number) >= call.ms);
    const all = daemon.logged.find(({ msg }) => msg === 'What is under way');
    assert.equal(all?.calls, 1);
    const log = join(tmpdir(), 'berth.log');
    writeFileSync(log, daemon.logged.map((each) => `${JSON.stringify(each)}\n`).join(''));
    assert.match(
      execFileSync('/bin/sh', ['-c', example(log)], { encoding: 'utf8' }),
      new RegExp(`^\\d+ {2}CreateContainer .*${looking}(?:  |$)`, 'm'),
    );

    await hung.answer();
    await assert.rejects(creation, /hung\/sub/);
    assert.deepEqual(JSON.parse((await daemon.admin.underWay({})).json).calls, []);
    assert.equal((await pod.status()).id, pod.id, 'the daemon goes on');
  });
});
