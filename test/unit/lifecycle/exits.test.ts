import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Fault } from '../../../src/base/fault.ts';
import {
  applyExit,
  endsWithin,
  exitFrom,
  exitOnFile,
  onExit,
  onLogLost,
  onShimLost,
  podDown,
  untilExited,
} from '../../../src/lifecycle/exits.ts';
import type { ContainerState } from '../../../src/model/container.ts';
import type { ContainerId } from '../../../src/model/ids.ts';
import { containerId, containerIn, daemonWith, exited, exitOf, podId, podIn, running } from './fakes.ts';

const otherId = 'd'.repeat(64) as ContainerId;
const withContainer = (state: ContainerState = running) => daemonWith({ containers: [containerIn(state)] });
type World = Awaited<ReturnType<typeof withContainer>>;
const stateOf = ({ deps }: World, id = containerId) => deps.containers.get(id)!.state;
const exit = { code: 1, reason: 'Error', message: '', at: 5 } as const;

const reasons = [
  { code: 0, oomKilled: false, reason: 'Completed' },
  { code: 0, oomKilled: true, reason: 'Completed' },
  { code: 137, oomKilled: true, reason: 'OOMKilled' },
  { code: 137, oomKilled: false, reason: 'Error' },
  { code: 1, oomKilled: false, reason: 'Error' },
];
for (const { code, oomKilled, reason } of reasons) {
  test(`exit ${code}${oomKilled ? ' by want of memory' : ''} is ${reason}`, () => {
    assert.deepEqual(exitFrom({ ...exitOf('c', code), oomKilled }), { code, reason, message: '', at: 5 });
  });
}

describe('the exit of a container', () => {
  test('is on record before what only a process needs is freed', async () => {
    const world = await withContainer();
    const phases: string[] = [];
    Object.assign(world.runtime, {
      knows: () => {
        phases.push(stateOf(world).phase);
        return false;
      },
    });
    await onExit(world.deps, exitOf(containerId, 7));
    assert.deepEqual(stateOf(world), {
      phase: 'exited',
      startedAt: 1,
      exit: { code: 7, reason: 'Error', message: '', at: 5 },
    });
    assert.deepEqual(phases, ['exited']);
  });

  for (const state of [
    { phase: 'creating' },
    { phase: 'created' },
    exited,
    { ...exited, phase: 'removing' },
  ] as ContainerState[]) {
    test(`of one that is ${state.phase} changes nothing`, async () => {
      const world = await withContainer(state);
      Object.assign(world.runtime, { knows: () => assert.fail('it is released') });
      await applyExit(world.deps, containerId, exit);
      assert.deepEqual(stateOf(world), state);
    });
  }

  test('of one that is gone is nothing', async () => {
    const world = await withContainer();
    await applyExit(world.deps, otherId, exit);
  });

  test('waits for who holds it: a start puts its process on record first', async () => {
    const world = await withContainer({ phase: 'created' });
    const start = await world.deps.locks.hold(containerId);
    const applied = applyExit(world.deps, containerId, exit);
    await world.deps.containers.put(containerIn(running));
    start[Symbol.dispose]();
    await applied;
    assert.equal(stateOf(world).phase, 'exited');
  });
});

describe('a shim that is lost', () => {
  const gone = { code: 255, reason: 'ContainerStatusUnknown' };
  const shown = (state: ContainerState) => 'exit' in state && { code: state.exit.code, reason: state.exit.reason };

  test('took its pod and what ran with it; what it wrote of an end is that end', async () => {
    const world = await daemonWith({ containers: [containerIn(running), containerIn(running, otherId)] });
    const text = `{"v":1,"key":"${otherId}","pid":7,"code":9,"signal":0,"oomKilled":false,"at":"5.000000000"}`;
    writeFileSync(world.deps.layout.exitFile(podId, otherId), text);
    await onShimLost(world.deps, podId);
    assert.deepEqual(shown(stateOf(world)), gone);
    assert.deepEqual(shown(stateOf(world, otherId)), { code: 9, reason: 'Error' });
    const pod = world.deps.pods.get(podId)!.state;
    assert.deepEqual(pod, { phase: 'notReady', released: false, reason: 'its shim is gone', network: null });
  });

  test('one container that cannot be released does not hide the end of the others', async () => {
    const world = await daemonWith({ containers: [containerIn(running), containerIn(running, otherId)] });
    Object.assign(world.runtime, {
      knows: (id: string) => {
        if (id === containerId) throw new Error('EIO: i/o error');
        return false;
      },
    });
    await onShimLost(world.deps, podId);
    assert.deepEqual([stateOf(world).phase, stateOf(world, otherId).phase], ['exited', 'exited']);
  });

  for (const [name, text] of [
    ['no file', null],
    ['half a file', '{"v":1,"key"'],
    ['a file of something else', '{"v":2}'],
  ] as const) {
    test(`${name}: nobody knows how it ended, and that is said`, async () => {
      const world = await withContainer();
      if (text !== null) writeFileSync(world.deps.layout.exitFile(podId, containerId), text);
      const found = await exitOnFile(world.deps, containerIn(running), 'its shim is gone');
      assert.deepEqual({ code: found.code, reason: found.reason }, gone);
      assert.equal(found.message, `its shim is gone${text === null ? '' : ', and its exit file cannot be read'}`);
    });
  }
});

test('a pod that is not ready does not go down again', async () => {
  const released = { phase: 'notReady', released: true, reason: 'stopped', network: null } as const;
  const { deps } = await daemonWith({ pods: [podIn(released)] });
  await podDown(deps, podId, 'its pause process is gone');
  assert.deepEqual(deps.pods.get(podId)!.state, released);
});

test('what a log lost is kept with its container, if that is there', async () => {
  const { deps } = await withContainer();
  const loss = { bytes: 50, lines: 1, error: 'ENOSPC' };
  for (const id of [containerId, otherId]) onLogLost(deps, id, loss);
  assert.deepEqual([deps.logLosses.of(containerId), deps.logLosses.of(otherId)], [loss, undefined]);
  deps.logLosses.forget(containerId);
});

describe('waiting for an end', () => {
  const hour = 3_600_000;

  for (const [name, end] of [
    ['it ends', ({ deps }: World) => applyExit(deps, containerId, exit)],
    ['it is removed', ({ deps }: World) => deps.containers.delete(containerId)],
  ] as const) {
    test(name, async () => {
      const world = await withContainer();
      const waits = [untilExited(world.deps, containerId, hour), endsWithin(world.deps, containerIn(running), hour)];
      await end(world);
      assert.deepEqual(await Promise.all(waits), [undefined, true]);
    });
  }

  test('the end of another is not it', async () => {
    const world = await daemonWith({ containers: [containerIn(running), containerIn(running, otherId)] });
    const wait = endsWithin(world.deps, containerIn(running), 50);
    await applyExit(world.deps, otherId, exit);
    assert.equal(await wait, false);
  });

  test('the time is over', async () => {
    const { deps } = await withContainer();
    assert.equal(await endsWithin(deps, containerIn(running), 5), false);
    await assert.rejects(untilExited(deps, containerId, 5), { kind: 'DeadlineExceeded' });
  });

  test('one that has ended is not waited for', async () => {
    const { deps } = await withContainer(exited);
    assert.equal(await endsWithin(deps, containerIn(exited), 0), true);
  });

  for (const [name, reason] of [
    ['who waits leaves', new Error('client left')],
    ["who waits has no more time: that is not the container's time", new Fault('DeadlineExceeded', 'the call is over')],
  ] as const) {
    test(name, async () => {
      const { deps } = await withContainer();
      const caller = new AbortController();
      const wait = endsWithin(deps, containerIn(running), hour, caller.signal);
      setImmediate(() => caller.abort(reason));
      await assert.rejects(wait, reason);
      await assert.rejects(endsWithin(deps, containerIn(running), hour, caller.signal), reason);
    });
  }
});
