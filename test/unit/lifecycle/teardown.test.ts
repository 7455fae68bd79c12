import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Fault } from '../../../src/base/fault.ts';
import { removeContainer } from '../../../src/lifecycle/remove-container.ts';
import {
  releaseContainer,
  releasePod,
  removeLostContainer,
  removeLostPod,
  teardownContainer,
  teardownPod,
} from '../../../src/lifecycle/teardown.ts';
import type { ContainerState } from '../../../src/model/container.ts';
import { containerId, containerIn, daemonWith, ended, exited, patient, podId, podIn, ready, running } from './fakes.ts';

const container = containerIn(exited);
const withContainer = (state: ContainerState = exited) => daemonWith({ containers: [containerIn(state)] });
type World = Awaited<ReturnType<typeof withContainer>>;
const phaseOf = ({ deps }: World) => deps.containers.get(containerId)?.state.phase;

/** An OCI runtime that keeps the container's state until `until` was run. */
function keepsState(world: World, until: string): void {
  const state = world.runtime.stateOf(containerId);
  mkdirSync(state, { recursive: true });
  Object.assign(world.runtime, { knows: () => !world.said.includes(`run /bin/crun ${until}`) });
}

describe('what an OCI runtime keeps of a container', () => {
  for (const [until, expected] of [
    ['delete', ['shim ensure', 'run /bin/crun delete']],
    ['delete --force', ['shim ensure', 'run /bin/crun delete', 'shim ensure', 'run /bin/crun delete --force']],
    ['never', ['shim ensure', 'run /bin/crun delete', 'shim ensure', 'run /bin/crun delete --force']],
  ] as const) {
    test(`gone after: ${until}`, async () => {
      const world = await withContainer();
      keepsState(world, until);
      await releaseContainer(world.deps, container);
      assert.deepEqual(world.said, expected);
      if (until === 'never') assert.equal(existsSync(world.runtime.stateOf(containerId)), false);
    });
  }

  test('is removed without it where it is not installed any more', async () => {
    const world = await withContainer();
    keepsState(world, 'never');
    const cannot = async () => {
      throw new Fault('FailedPrecondition', 'The shim cannot run /bin/crun: ENOENT');
    };
    Object.assign(world.ownShim, { run: cannot });
    await assert.rejects(releaseContainer(world.deps, container), /cannot run/, 'it is there: this is another failure');
    assert.ok(existsSync(world.runtime.stateOf(containerId)));
    Object.assign(world.runtime, { missing: async () => 'does not exist' });
    await releaseContainer(world.deps, container);
    assert.equal(existsSync(world.runtime.stateOf(containerId)), false);
  });

  test('stays where its delete hangs: it is tried again', async () => {
    const world = await withContainer();
    keepsState(world, 'never');
    Object.assign(world.ownShim, { run: async () => ended({ timedOut: true }) });
    await assert.rejects(
      releaseContainer(world.deps, container),
      /OCI runtime state: Cannot delete container c+: .*did not finish in time/,
    );
    assert.ok(existsSync(world.runtime.stateOf(containerId)));
  });
});

describe('the teardown of a container', () => {
  const everything = ['forget c', 'remove layer c'];

  test('every part, the record last; a retry of its creation is not given it', async () => {
    const world = await withContainer();
    const { deps } = world;
    const volumes = join(deps.layout.anonymousVolumes, containerId);
    mkdirSync(volumes, { recursive: true });
    deps.containerCreations.unheard(containerId);
    deps.logLosses.note(container, { bytes: 1, lines: 1, error: 'ENOSPC' });
    await teardownContainer(deps, container);
    assert.deepEqual([world.said, phaseOf(world)], [everything, undefined]);
    assert.deepEqual([existsSync(volumes), existsSync(deps.layout.bundle(podId, containerId))], [false, false]);
    assert.equal(deps.logLosses.of(containerId), undefined);
    const existing = () => ({ id: containerId, same: true });
    const wanted = { what: 'Container c', key: 'c', existing, make: () => Promise.reject(new Error('made')) };
    await assert.rejects(deps.containerCreations.create(wanted, patient), { kind: 'AlreadyExists' });
  });

  test('the layers of its image go with it if that is gone, and only then', async () => {
    const world = await withContainer();
    Object.assign(world.images, { find: () => undefined });
    await teardownContainer(world.deps, container);
    assert.deepEqual(world.said, [...everything, 'collect']);
  });

  for (const part of ['shim ensure', 'run /bin/crun delete', ...everything, 'collect']) {
    test(`where ${part} fails the rest goes, the record stays as removing, and the next call ends it`, async () => {
      const world = await withContainer();
      keepsState(world, 'delete');
      Object.assign(world.images, { find: () => undefined });
      world.script.failures.set(part, new Error('it is broken'));
      await assert.rejects(teardownContainer(world.deps, container), /Cannot tear down container c+: .*it is broken/);
      for (const each of [...everything, 'collect']) assert.ok(world.said.includes(each), each);
      assert.deepEqual([phaseOf(world), existsSync(world.deps.layout.bundle(podId, containerId))], ['removing', false]);
      await removeContainer(world.deps, containerId);
      assert.equal(phaseOf(world), undefined);
    });
  }

  test('it is listed as removing before anything is taken from it', async () => {
    const world = await withContainer();
    const phases: unknown[] = [];
    Object.assign(world.shims, { forget: async () => void phases.push(phaseOf(world)) });
    await teardownContainer(world.deps, container);
    assert.deepEqual(phases, ['removing']);
  });

  test('one that was never made is not listed meanwhile, unless something of it stays', async () => {
    const world = await withContainer({ phase: 'creating' });
    const phases: unknown[] = [];
    world.deps.containers.listen((after) => phases.push(after?.state.phase));
    world.script.failures.set('remove layer c', new Error('EBUSY'));
    await assert.rejects(teardownContainer(world.deps, containerIn({ phase: 'creating' })), /EBUSY/);
    assert.deepEqual(phases, ['removing']);
    const other = await withContainer({ phase: 'creating' });
    await teardownContainer(other.deps, containerIn({ phase: 'creating' }));
    assert.equal(phaseOf(other), undefined);
  });
});

describe('the release of a pod', () => {
  test('its network is undone while its shim is there, which runs the plugins', async () => {
    const world = await daemonWith({ containers: [containerIn(exited)] });
    Object.assign(world.network, {
      down: async (run: (command: object) => Promise<unknown>) => {
        await run({ argv: ['/cni/bridge', 'DEL'] });
        await world.script.say('network down');
      },
    });
    await releasePod(world.deps, podIn(ready));
    assert.deepEqual(world.said, ['shim ensure', 'run /cni/bridge DEL', 'network down', 'shim shutdown']);
    assert.equal(existsSync(world.deps.layout.pod(podId)), false);
  });

  for (const part of ['network down', 'shim shutdown']) {
    test(`where ${part} fails every other part goes, and the files stay`, async () => {
      const world = await daemonWith();
      world.script.failures.set(part, new Error('it is broken'));
      await assert.rejects(releasePod(world.deps, podIn(ready)), /Cannot release pod a+: \w+: it is broken/);
      assert.deepEqual(world.said, ['network down', 'shim shutdown']);
      assert.ok(existsSync(world.deps.layout.pod(podId)));
    });
  }

  test('one that fails for a container does not stop at it', async () => {
    const world = await daemonWith({ containers: [containerIn(exited)] });
    keepsState(world, 'never');
    world.script.failures.set('shim ensure', new Fault('Unavailable', 'no shim'));
    await assert.rejects(releasePod(world.deps, podIn(ready)), /container c+: .*no shim/);
    assert.deepEqual(world.said.slice(-2), ['network down', 'shim shutdown']);
  });
});

describe('the teardown of a pod', () => {
  test('that was released already releases nothing again', async () => {
    const released = { phase: 'notReady', released: true, reason: 'stopped', network: null } as const;
    const world = await daemonWith({ pods: [podIn(released)], containers: [containerIn(exited)] });
    await teardownPod(world.deps, podId);
    assert.deepEqual(world.said, ['forget c', 'remove layer c']);
    assert.deepEqual([world.deps.pods.size, world.deps.containers.size], [0, 0]);
  });

  test('that fails in its release is listed as not released, and its containers stay', async () => {
    const world = await daemonWith({ pods: [podIn({ phase: 'creating' })], containers: [containerIn(exited)] });
    world.script.failures.set('network down', new Error('it is broken'));
    await assert.rejects(teardownPod(world.deps, podId), /it is broken/);
    assert.deepEqual(world.deps.pods.get(podId)!.state, {
      phase: 'notReady',
      released: false,
      reason: 'teardown failed',
      network: null,
    });
    assert.equal(phaseOf(world), 'exited');
    await teardownPod(world.deps, podId);
    assert.equal(world.deps.pods.size, 0);
  });

  test('that nobody heard of: the next RunPodSandbox makes another', async () => {
    const world = await daemonWith({ pods: [podIn(ready)] });
    world.deps.podCreations.unheard(podId);
    await teardownPod(world.deps, podId);
    const wanted = { what: 'Pod', key: 'p', existing: () => ({ id: podId, same: true }), make: async () => podId };
    await assert.rejects(world.deps.podCreations.create(wanted, patient), { kind: 'AlreadyExists' });
  });
});

describe('what has no record', () => {
  test('a container: its state, its entry in the shim, its bundle', async () => {
    const world = await daemonWith();
    const bundle = world.deps.layout.bundle(podId, containerId);
    mkdirSync(bundle, { recursive: true });
    writeFileSync(join(bundle, 'config.json'), '{}');
    keepsState(world, 'delete');
    await removeLostContainer(world.deps, podIn(ready), containerId);
    assert.deepEqual(world.said, ['shim ensure', 'run /bin/crun delete', 'forget c']);
    assert.equal(existsSync(bundle), false);
  });

  test('a pod: its network before its shim; its files stay for the next try if a part fails', async () => {
    const world = await daemonWith();
    world.script.failures.set('network down', new Error('it is broken'));
    const remove = () => removeLostPod(world.deps, podId, []);
    await assert.rejects(remove(), /Cannot remove pod a+, which has no record: network: it is broken/);
    assert.deepEqual(world.said, ['network down', 'shim shutdown']);
    assert.ok(existsSync(world.deps.layout.pod(podId)));
    await remove();
    assert.equal(existsSync(world.deps.layout.pod(podId)), false);
  });
});

test('RemoveContainer kills what runs first; an unknown id counts as removed', async () => {
  const world = await withContainer(running);
  const { deps, said } = world;
  Object.assign(world.ownShim, {
    signal: async () => {
      said.push('kill');
      setImmediate(() => void deps.containers.settle(container));
      return true;
    },
  });
  await removeContainer(deps, containerId);
  await removeContainer(deps, 'unknown');
  assert.deepEqual([said, phaseOf(world)], [['shim find', 'kill', 'forget c', 'remove layer c'], undefined]);
});
