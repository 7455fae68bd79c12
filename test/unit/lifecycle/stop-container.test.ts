import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '../../../src/base/fault.ts';
import type { Deps } from '../../../src/lifecycle/deps.ts';
import { applyExit } from '../../../src/lifecycle/exits.ts';
import { stopContainer } from '../../../src/lifecycle/stop-container.ts';
import { type Container, containerAfter, type Exit } from '../../../src/model/container.ts';
import { containerId, containerIn, daemonOf, fakeShim, running } from './fakes.ts';

const exit = (code: number): Exit => ({ code, reason: 'Error', message: '', at: 2 });
const stateOf = (deps: Deps) => deps.containers.get(containerId)!.state;
const codeOf = (deps: Deps) => {
  const state = stateOf(deps);
  return 'exit' in state ? [state.exit.code, state.exit.reason] : state.phase;
};

for (const state of [{ phase: 'created' }, { phase: 'exited', startedAt: 1, exit: exit(3) }] as Container['state'][]) {
  test(`one that is ${state.phase} counts as stopped`, async () => {
    const said: string[] = [];
    const { deps } = await daemonOf(containerIn(state), fakeShim(said));
    await stopContainer(deps, containerId, 1000);
    await stopContainer(deps, 'unknown', 1000);
    assert.deepEqual([said, stateOf(deps).phase], [[], state.phase]);
  });
}

test('its stop signal, and no SIGKILL where it ends in time', async () => {
  const said: string[] = [];
  const shim = fakeShim(said, {
    signal: async (_: string, signo: number) => {
      said.push(`signal ${signo}`);
      setImmediate(() => void applyExit(deps, containerId, exit(143)));
      return true;
    },
  } as never);
  const { deps } = await daemonOf(containerIn(running), shim);
  await stopContainer(deps, containerId, 60_000);
  assert.deepEqual([said, codeOf(deps)], [['signal 15'], [143, 'Error']]);
});

test('a time beyond what a timer takes is not over at once', async () => {
  const said: string[] = [];
  const shim = fakeShim(said, {
    signal: async (_: string, signo: number) => {
      said.push(`signal ${signo}`);
      setTimeout(() => void applyExit(deps, containerId, exit(143)), 20);
      return true;
    },
  } as never);
  const { deps } = await daemonOf(containerIn(running), shim);
  await stopContainer(deps, containerId, Number.MAX_SAFE_INTEGER);
  assert.deepEqual(said, ['signal 15']);
});

test('SIGKILL to all of it when the time is over; the shortest of several times, and one stop signal', async () => {
  const said: string[] = [];
  const shim = fakeShim(said, {
    signal: async (_: string, signo: number, options?: { all?: boolean }) => {
      said.push(`signal ${signo}${options?.all ? ' to all' : ''}`);
      if (signo === 9) setImmediate(() => void applyExit(deps, containerId, exit(137)));
      return true;
    },
  } as never);
  const { deps } = await daemonOf(containerIn(running), shim);
  await Promise.all([stopContainer(deps, containerId, 600_000), stopContainer(deps, containerId, 20)]);
  assert.deepEqual(
    [said, codeOf(deps)],
    [
      ['signal 15', 'signal 9 to all'],
      [137, 'Error'],
    ],
  );
});

test('a caller who leaves kills nothing', async () => {
  const said: string[] = [];
  const { deps } = await daemonOf(containerIn(running), fakeShim(said));
  const caller = new AbortController();
  const left = stopContainer(deps, containerId, 600_000, caller.signal);
  setImmediate(() => caller.abort(new Error('it left')));
  await assert.rejects(left, /it left/);
  assert.deepEqual([said, stateOf(deps).phase, deps.stopping.size], [['signal 15'], 'running', 0]);
});

test('one that outlives SIGKILL is said to be stuck in the kernel', async () => {
  const said: string[] = [];
  const { deps } = await daemonOf(containerIn(running), fakeShim(said));
  await assert.rejects(stopContainer(deps, containerId, 0), {
    kind: 'DeadlineExceeded',
    message: /stuck in the kernel/,
  });
  assert.deepEqual(said, ['signal 9 to all']);
});

test('without a shim nobody knows how it ended', async () => {
  const { deps } = await daemonOf(containerIn(running), null);
  await stopContainer(deps, containerId, 600_000);
  assert.deepEqual(codeOf(deps), [255, 'ContainerStatusUnknown']);
  assert.equal(deps.pods.get(containerIn(running).podId)!.state.phase, 'notReady');
});

test('a shim that says nothing is killed, and what it kept with it', async () => {
  const mute = new Fault('DeadlineExceeded', 'no answer');
  const { deps, killed } = await daemonOf(
    containerIn(running),
    fakeShim([], { signal: () => Promise.reject(mute) } as never),
  );
  await stopContainer(deps, containerId, 600_000);
  assert.deepEqual([killed, codeOf(deps)], [[mute], [255, 'ContainerStatusUnknown']]);
});

test('a shim that does not know it is not the one that kept it: it has ended', async () => {
  const stranger = fakeShim([], { signal: () => Promise.reject(new Fault('NotFound', 'no process c')) } as never);
  const { deps, killed } = await daemonOf(containerIn(running), stranger);
  await stopContainer(deps, containerId, 0);
  assert.deepEqual([killed, codeOf(deps)], [[], [255, 'ContainerStatusUnknown']]);
});

test('a start in flight is waited for, and what it made is stopped', async () => {
  const said: string[] = [];
  const created = containerIn({ phase: 'created' });
  const shim = fakeShim(said, {
    signal: async (_: string, signo: number) => {
      said.push(`signal ${signo}`);
      setImmediate(() => void applyExit(deps, containerId, exit(0)));
      return true;
    },
  } as never);
  const { deps } = await daemonOf(created, shim);
  const start = await deps.locks.hold(containerId);
  const stopped = stopContainer(deps, containerId, 60_000);
  await deps.containers.put(containerAfter(created, { type: 'started', pid: 7, at: 1 }));
  assert.deepEqual(said, []);
  start[Symbol.dispose]();
  await stopped;
  assert.deepEqual([said, stateOf(deps).phase], [['signal 15'], 'exited']);
});
