import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Fault } from '../../../src/base/fault.ts';
import { startContainer } from '../../../src/lifecycle/start-container.ts';
import type { ContainerState } from '../../../src/model/container.ts';
import type { PodState } from '../../../src/model/pod.ts';
import {
  containerId,
  containerIn,
  daemonWith,
  ended,
  exited,
  fakeShim,
  patient,
  podId,
  podIn,
  ready,
  running,
} from './fakes.ts';

const created: ContainerState = { phase: 'created' };
const withContainer = (state: ContainerState) => daemonWith({ containers: [containerIn(state)] });
type World = Awaited<ReturnType<typeof withContainer>>;
const stateOf = ({ deps }: World) => deps.containers.get(containerId)!.state;

test('its process is what the OCI runtime made, and is on record', async () => {
  const world = await withContainer(created);
  await startContainer(world.deps, containerId);
  const state = stateOf(world);
  assert.deepEqual([state.phase, 'pid' in state && state.pid], ['running', 42]);
  assert.deepEqual(world.said, ['shim ensure', 'start c']);
});

test('who starts it has heard of it: no retry of its creation is given it', async () => {
  const world = await withContainer(created);
  world.deps.containerCreations.unheard(containerId);
  await startContainer(world.deps, containerId);
  const existing = () => ({ id: containerId, same: true });
  const again = { what: 'Container c', key: 'c', existing, make: () => Promise.reject(new Error('made again')) };
  await assert.rejects(world.deps.containerCreations.create(again, patient), { kind: 'AlreadyExists' });
});

test('a program that is not known to run at once is asked to create, and then to start', async () => {
  const world = await withContainer(created);
  Object.assign(world.runtime, { createsFirst: true });
  await startContainer(world.deps, containerId);
  assert.deepEqual(world.said, ['shim ensure', 'start c', 'shim ensure', 'run /bin/crun start']);
  assert.equal(stateOf(world).phase, 'running');
});

test('create and start have the time of one command together; start has a second in any case', async ({ mock }) => {
  const deadlines: number[] = [];
  for (const createMs of [0, 20_000, 59_900]) {
    const world = await withContainer(created);
    Object.assign(world.deps.settings.timeouts, { ociRuntime: 60 });
    Object.assign(world.runtime, { createsFirst: true });
    let now = 1;
    mock.method(performance, 'now', () => now);
    Object.assign(world.ownShim, {
      start: async () => {
        now += createMs;
        return { ...ended(), pid: 42 };
      },
      run: async ({ deadlineMs }: { deadlineMs: number }) => {
        deadlines.push(deadlineMs);
        return ended();
      },
    });
    await startContainer(world.deps, containerId);
  }
  assert.deepEqual(deadlines, [60_000, 40_000, 1000]);
});

describe('a start that fails', () => {
  const lost = new Fault('Unavailable', 'the shim was lost');
  const failures: Record<string, { spoil: (world: World) => void; error: RegExp | object }> = {
    'the OCI runtime refuses': {
      spoil: ({ ownShim }) =>
        Object.assign(ownShim, {
          start: async () => ({ ...ended({ code: 1, stderr: Buffer.from('no such command') }), pid: 0 }),
        }),
      error: { kind: 'Internal', message: /^Cannot start container c+: crun: no such command$/ },
    },
    'the OCI runtime says that all is well and made nothing': {
      spoil: ({ ownShim }) => Object.assign(ownShim, { start: async () => ({ ...ended(), pid: 0 }) }),
      error: { kind: 'Internal' },
    },
    'the OCI runtime does not end': {
      spoil: ({ ownShim }) => Object.assign(ownShim, { start: async () => ({ ...ended({ timedOut: true }), pid: 0 }) }),
      error: { kind: 'DeadlineExceeded', message: /did not finish in time/ },
    },
    'the shim is lost meanwhile': { spoil: ({ script }) => script.failures.set('start c', lost), error: lost },
    'there is no shim': { spoil: ({ script }) => script.failures.set('shim ensure', lost), error: lost },
    'the disk does not take the record of a process': {
      spoil: ({ recordsOf }) => renameSync(recordsOf('container'), `${recordsOf('container')}-away`),
      error: { code: 'ENOENT' },
    },
  };
  for (const [name, { spoil, error }] of Object.entries(failures)) {
    test(`${name}: it has exited with StartError, and is released`, async () => {
      const world = await withContainer(created);
      Object.assign(world.runtime, {
        knows: (id: string) => id === containerId && !world.said.includes('run /bin/crun delete'),
      });
      spoil(world);
      await assert.rejects(startContainer(world.deps, containerId), error);
      const state = stateOf(world);
      assert.deepEqual(
        [state.phase, 'exit' in state && state.exit.code, 'exit' in state && state.exit.reason],
        ['exited', 128, 'StartError'],
      );
      assert.ok(world.said.includes('run /bin/crun delete'), `${world.said}`);
      await assert.rejects(startContainer(world.deps, containerId), {
        kind: 'FailedPrecondition',
        message: /is exited/,
      });
    });
  }

  test('one that cannot be released says why it failed, all the same', async () => {
    const world = await withContainer(created);
    world.script.failures.set('start c', lost);
    Object.assign(world.runtime, {
      knows: () => {
        throw new Error('EIO: i/o error');
      },
    });
    await assert.rejects(startContainer(world.deps, containerId), lost);
    assert.equal(stateOf(world).phase, 'exited');
  });
});

describe('what is not started', () => {
  const removing: ContainerState = { ...exited, phase: 'removing' } as ContainerState;
  for (const state of [{ phase: 'creating' }, running, exited, removing] as ContainerState[]) {
    test(`a container that is ${state.phase}`, async () => {
      const world = await withContainer(state);
      await assert.rejects(startContainer(world.deps, containerId), { kind: 'FailedPrecondition' });
      assert.deepEqual([world.said, stateOf(world)], [[], state]);
    });
  }

  const down: PodState = { phase: 'notReady', released: false, reason: '', network: null };
  for (const [name, pods, stopping] of [
    ['in a pod that is not ready', [podIn(down)], false],
    ['in a pod that is being stopped', [podIn(ready)], true],
    ['in a pod that is not there', [], false],
  ] as const) {
    test(name, async () => {
      const world = await daemonWith({ pods, containers: [containerIn(created)] });
      if (stopping) world.deps.stoppingPods.add(podId);
      await assert.rejects(startContainer(world.deps, containerId), { kind: 'FailedPrecondition' });
      assert.deepEqual([world.said, stateOf(world)], [[], created]);
    });
  }

  test('one that is not there', async () => {
    const world = await withContainer(created);
    await assert.rejects(startContainer(world.deps, 'unknown'), { kind: 'NotFound' });
  });

  test('one that is being started: the second waits, and is refused', async () => {
    const world = await withContainer(created);
    const { promise, resolve } = Promise.withResolvers<void>();
    const shim = fakeShim(world.said, { start: async () => promise.then(() => ({ ...ended(), pid: 42 })) });
    Object.assign(world.shims, { ensure: async () => shim });
    const both = [startContainer(world.deps, containerId), startContainer(world.deps, containerId)];
    resolve();
    const [first, second] = await Promise.allSettled(both);
    assert.deepEqual([first!.status, second!.status], ['fulfilled', 'rejected']);
    assert.equal(stateOf(world).phase, 'running');
  });
});
