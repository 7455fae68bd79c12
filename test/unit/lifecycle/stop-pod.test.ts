import assert from 'node:assert/strict';
import { existsSync, renameSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Fault } from '../../../src/base/fault.ts';
import { applyExit } from '../../../src/lifecycle/exits.ts';
import { removePod, stopPod } from '../../../src/lifecycle/stop-pod.ts';
import type { ContainerId } from '../../../src/model/ids.ts';
import { containerId, containerIn, daemonWith, exited, podId, running } from './fakes.ts';

const otherId = 'd'.repeat(64) as ContainerId;
const doneId = 'e'.repeat(64) as ContainerId;

/** Two containers that end when they are killed, and one that has. */
async function busyPod() {
  const world = await daemonWith({
    containers: [containerIn(running), containerIn(running, otherId), containerIn(exited, doneId)],
  });
  Object.assign(world.ownShim, {
    signal: async (key: string, signo: number) => {
      await world.script.say(`signal ${signo} to ${key[0]}`);
      const exit = { code: 137, reason: 'Error', message: '', at: 2 } as const;
      setImmediate(() => void applyExit(world.deps, key as ContainerId, exit));
      return true;
    },
  });
  return world;
}
type World = Awaited<ReturnType<typeof busyPod>>;
const phasesOf = ({ deps }: World) => [...deps.containers.all()].map(({ state }) => state.phase);
const podOf = ({ deps }: World) => deps.pods.get(podId)?.state;
const released = { phase: 'notReady', released: true, reason: 'stopped', network: null };
const everythingStopped = [
  'shim killSilent',
  'shim find',
  'shim find',
  'signal 9 to c',
  'signal 9 to d',
  'network down',
  'shim shutdown',
];

test('its containers are killed, then its network goes, then its shim; a second call finds nothing to do', async () => {
  const world = await busyPod();
  await stopPod(world.deps, podId);
  assert.deepEqual(world.said, everythingStopped);
  assert.deepEqual([podOf(world), phasesOf(world)], [released, ['exited', 'exited', 'exited']]);
  assert.equal(existsSync(world.deps.layout.pod(podId)), false);
  await stopPod(world.deps, podId);
  await stopPod(world.deps, 'unknown');
  assert.deepEqual(world.said, everythingStopped);
});

test('it is marked while it is being stopped, and no longer', async () => {
  const world = await busyPod();
  const marked: boolean[] = [];
  Object.assign(world.network, { down: async () => void marked.push(world.deps.stoppingPods.has(podId)) });
  await stopPod(world.deps, podId);
  assert.deepEqual([marked, world.deps.stoppingPods.size], [[true], 0]);
});

describe('a failure in the middle', () => {
  const broken = new Fault('Internal', 'the plugin failed');

  test('of one container: the others are stopped, nothing is taken from it, and the next call goes on', async () => {
    const world = await busyPod();
    world.script.failures.set('signal 9 to c', broken);
    await assert.rejects(
      stopPod(world.deps, podId),
      /Cannot stop the containers of pod a+: container 1: the plugin failed/,
    );
    assert.deepEqual(phasesOf(world), ['running', 'exited', 'exited']);
    assert.equal(podOf(world)!.phase, 'ready');
    assert.ok(!world.said.includes('network down'), `${world.said}`);
    assert.equal(world.deps.stoppingPods.size, 0);
    await stopPod(world.deps, podId);
    assert.deepEqual([podOf(world), phasesOf(world)], [released, ['exited', 'exited', 'exited']]);
  });

  test('of one container, while another still ends: both are waited for', async () => {
    const world = await busyPod();
    const order: string[] = [];
    const { signal } = world.ownShim;
    Object.assign(world.ownShim, {
      signal: async (key: string, signo: number) => {
        if (key === otherId) throw broken;
        for (let turns = 10; turns > 0; turns--) await new Promise(setImmediate);
        order.push('c ends');
        return signal(key, signo);
      },
    });
    await assert.rejects(stopPod(world.deps, podId), /container 2: the plugin failed/);
    assert.deepEqual([order, phasesOf(world)], [['c ends'], ['exited', 'running', 'exited']]);
  });

  test('of its network: all else is released, its directory and the record stay for the next call', async () => {
    const world = await busyPod();
    world.script.failures.set('network down', broken);
    await assert.rejects(stopPod(world.deps, podId), /Cannot release pod a+: network: the plugin failed/);
    assert.deepEqual(world.said, everythingStopped);
    assert.equal(podOf(world)!.phase, 'notReady'); // half of it is gone
    assert.ok(existsSync(world.deps.layout.pod(podId)), 'the next DEL needs the namespace');
    await stopPod(world.deps, podId);
    assert.deepEqual(podOf(world), released);
  });

  test('of the disk: it has stopped all the same', async () => {
    const world = await busyPod();
    renameSync(world.recordsOf('pod'), `${world.recordsOf('pod')}-away`);
    await stopPod(world.deps, podId);
    assert.deepEqual(podOf(world), released);
  });
});

test('a shim that says nothing is killed, and what it kept has ended with it', async () => {
  const world = await busyPod();
  Object.assign(world.shims, { killSilent: async () => world.script.say('shim killSilent').then(() => true) });
  await stopPod(world.deps, podId);
  assert.deepEqual(world.said, ['shim killSilent', 'network down', 'shim shutdown']);
  assert.deepEqual(phasesOf(world), ['exited', 'exited', 'exited']);
});

describe('removal', () => {
  test('takes its containers with it, its own record last', async () => {
    const world = await busyPod();
    const gone: string[] = [];
    world.deps.containers.listen((after, before) => after ?? gone.push(before!.id[0]!));
    world.deps.pods.listen((after, before) => after ?? gone.push(before!.id[0]!));
    await removePod(world.deps, podId);
    assert.deepEqual(gone, ['c', 'd', 'e', 'a']);
    await removePod(world.deps, podId);
  });

  test('that fails leaves it listed as stopped, and the next call does not stop it again', async () => {
    const world = await busyPod();
    world.script.failures.set('remove layer d', new Error('EIO: i/o error'));
    await assert.rejects(removePod(world.deps, podId), /EIO/);
    assert.deepEqual(podOf(world), { ...released, reason: 'teardown failed' });
    assert.deepEqual(
      [...world.deps.containers.all()].map(({ id, state }) => [id, state.phase]),
      [[otherId, 'removing']],
    );
    const before = world.said.length;
    await removePod(world.deps, podId);
    assert.deepEqual(world.said.slice(before), ['forget d', 'remove layer d']);
    assert.deepEqual([...world.deps.pods.all(), ...world.deps.containers.all()], []);
  });

  test('one after the other: a second call waits for the first', async () => {
    const world = await busyPod();
    await Promise.all([removePod(world.deps, podId), removePod(world.deps, podId)]);
    assert.equal(world.said.filter((word) => word === 'network down').length, 1);
    assert.equal(world.deps.containers.get(containerId), undefined);
  });
});
