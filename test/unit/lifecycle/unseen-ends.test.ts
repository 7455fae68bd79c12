// Ends that no shim tells of. The processes are real, and so is what the kernel says of them.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Deps } from '../../../src/lifecycle/deps.ts';
import { watchUnseenEnds } from '../../../src/lifecycle/unseen-ends.ts';
import { containerAfter, type Exit } from '../../../src/model/container.ts';
import { unreapedEnd } from '../../../src/sys/ended.ts';
import { containerId, containerIn, daemonWith, podId } from './fakes.ts';

const parents: ChildProcess[] = [];
after(() => {
  for (const { pid } of parents) process.kill(-pid!, 'SIGKILL');
});

/** A process whose parent asks after none of its children, as a shim that is stopped. */
async function unasked(script: string): Promise<number> {
  const parent = spawn('/bin/sh', ['-c', `${script} & echo $!; exec sleep 1000`], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  parents.push(parent);
  const [line] = await once(createInterface({ input: parent.stdout! }), 'line');
  return Number(line);
}

const endOf = ({ containers }: Pick<Deps, 'containers'>): Promise<Exit> =>
  new Promise((resolve) => {
    containers.listen((now) => now?.state.phase === 'exited' && resolve(now.state.exit));
  });
const watching = async (pid: number) => {
  const world = await daemonWith({ containers: [containerIn({ phase: 'running', pid, startedAt: 1 })] });
  const ended = endOf(world.deps);
  watchUnseenEnds(world.deps);
  return { ...world, ended };
};
/** Descriptors of processes that this one has. */
const watched = (): number =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return /pidfd/.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false; // that of the folder
    }
  }).length;

const ends: Record<string, [script: string, signal: NodeJS.Signals | null, code: number]> = {
  'a process that ends by itself': ['sh -c "sleep 0.1; exit 7"', null, 7],
  'one that is killed': ['sleep 1000', 'SIGKILL', 137],
  'one that has ended before it is watched': ['sleep 0.1', null, 0],
};
for (const [what, [script, signal, code]] of Object.entries(ends)) {
  test(`${what}, of whom nobody asks`, async () => {
    const pid = await unasked(script);
    if (script === 'sleep 0.1') while (unreapedEnd(pid) === null) await new Promise(setImmediate);
    const { ended, said } = await watching(pid);
    const began = performance.now();
    if (signal) process.kill(pid, signal);
    const exit = await ended;
    assert.ok(performance.now() - began < 1000, 'it is to be known within a second');
    assert.deepEqual([exit.code, exit.message], [code, 'its shim did not see it end']);
    assert.ok(said.includes('shim killSilent'));
    assert.equal(watched(), 0);
  });
}

/** No pid is as high, here. */
const reaped = 2 ** 22 - 1;

test('one whose shim has reaped it and hangs then: the shim is killed, and nobody knows how it ended', async () => {
  const world = await daemonWith({ containers: [containerIn({ phase: 'running', pid: reaped, startedAt: 1 })] });
  Object.assign(world.shims, { killSilent: async () => true });
  const ended = endOf(world.deps);
  watchUnseenEnds(world.deps);
  assert.equal((await ended).reason, 'ContainerStatusUnknown');
});

test('a shim that answers is believed, and one that is asked by who mends its pod is not asked again', async () => {
  for (const isMended of [false, true]) {
    const { deps, shims, said } = await daemonWith({
      containers: [containerIn({ phase: 'running', pid: reaped, startedAt: 1 })],
    });
    const asked = Promise.withResolvers<string>();
    const killSilent = async () => {
      asked.resolve('asked');
      return false;
    };
    Object.assign(shims, { killSilent });
    if (isMended) deps.mending.track(podId, new Promise(() => {}));
    watchUnseenEnds(deps);
    const first = await Promise.race([asked.promise, delay(700, 'left alone')]);
    assert.equal(first, isMended ? 'left alone' : 'asked');
    assert.deepEqual([deps.containers.get(containerId)!.state.phase, said], ['running', []]);
  }
});

test('nothing wakes the daemon while nobody ends, and what ended is watched no longer', async (t) => {
  const pid = await unasked('sleep 1000');
  const timers = [t.mock.method(globalThis, 'setInterval'), t.mock.method(globalThis, 'setTimeout')];
  const { deps } = await watching(pid);
  await new Promise(setImmediate);
  assert.deepEqual([timers.map(({ mock }) => mock.callCount()), watched()], [[0, 0], 1]);
  const exit = { code: 0, reason: 'Completed', message: '', at: 1 } as const;
  await deps.containers.settle(containerAfter(deps.containers.get(containerId)!, { type: 'ended', exit }));
  assert.equal(watched(), 0);
});
