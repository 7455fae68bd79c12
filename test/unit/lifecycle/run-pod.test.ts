// What comes before a pod's namespaces and mounts, which take root, and how a pod that cannot be made is undone.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Fault } from '../../../src/base/fault.ts';
import { runPod } from '../../../src/lifecycle/run-pod.ts';
import { removePod } from '../../../src/lifecycle/stop-pod.ts';
import type { PodConfig } from '../../../src/model/config.ts';
import type { PodId } from '../../../src/model/ids.ts';
import type { SandboxSpec } from '../../../src/shim/index.ts';
import { daemonWith, patient, podId, podIn, ready, resolvedHandler } from './fakes.ts';

type World = Awaited<ReturnType<typeof daemonWith>>;
const { config } = podIn(ready);
const other = (attempt: number): PodConfig => ({ ...config, metadata: { ...config.metadata, attempt } });
const run = ({ deps }: World, wanted: PodConfig = config) => runPod(deps, { config: wanted, handler: '' }, patient);

/** The first step, its directory, fails. */
async function nowhere(): Promise<World> {
  const world = await daemonWith({ pods: [] });
  rmSync(world.deps.layout.pods, { recursive: true });
  return world;
}

describe('a pod that cannot be made', () => {
  test('was on record before anything was done, and all of it is undone', async () => {
    const world = await nowhere();
    const phases: unknown[] = [];
    world.deps.pods.listen((after) => phases.push(after?.state.phase));
    await assert.rejects(run(world), { code: 'ENOENT' });
    assert.deepEqual(phases, ['creating', undefined]);
    assert.deepEqual(world.said, ['network down', 'shim shutdown']);
  });

  test('nor undone is listed as not ready, tells the first error, and can be removed', async () => {
    const world = await nowhere();
    world.script.failures.set('network down', new Error('it is broken'));
    await assert.rejects(run(world), { code: 'ENOENT' });
    const [left] = [...world.deps.pods.all()];
    assert.deepEqual(left?.state, { phase: 'notReady', released: false, reason: 'teardown failed', network: null });
    mkdirSync(world.deps.layout.pods);
    await assert.rejects(run(world), { kind: 'AlreadyExists' });
    await removePod(world.deps, left!.id);
    assert.equal(world.deps.pods.size, 0);
  });
});

/**
 * Its namespaces are refused, and so are its files (a word of DNS with a blank): nothing is mounted. Its cgroups are systemd's
 * and kubelet's, so that none is made.
 */
async function refusing(changes: Partial<PodConfig> = {}, oomScoreAdjMin = -1000) {
  const world = await daemonWith({ pods: [] });
  const asked: SandboxSpec[] = [];
  const refusal = new Fault('Internal', 'no namespaces');
  Object.assign(world.ownShim, {
    sandbox: async (spec: SandboxSpec) => {
      asked.push(spec);
      await world.script.say('sandbox');
      throw refusal;
    },
  });
  Object.assign(world.runtime, { handler: { ...resolvedHandler, systemdCgroup: true } });
  Object.assign(world.deps, { host: { ...world.deps.host, oomScoreAdjMin } });
  const dns = { servers: ['a b'], searches: [], options: [] };
  const ran = () => run(world, { ...config, cgroupParent: 'kubepods-unit.slice', dns, ...changes });
  return { ...world, asked, refusal, ran };
}

describe('the namespaces of a pod', () => {
  test('are asked of its shim, with the sysctls that are not of the network: interfaces come later', async () => {
    const sysctls = { 'kernel.msgmax': '1', 'net.ipv4.ip_forward': '1' };
    const { asked, refusal, ran } = await refusing({ sysctls });
    const unasked = ['net.ipv4.ip_unprivileged_port_start=0', 'net.ipv4.ping_group_range=0 2147483647'];
    await assert.rejects(ran(), refusal);
    const { network, ipc, uts, pid, hostname, sysctls: own } = asked[0]!;
    assert.deepEqual(
      [network, ipc, uts, pid, hostname, own],
      [true, true, true, false, 'web', ['kernel.msgmax=1', ...unasked]],
    );
  });

  for (const [least, score] of [
    [-1000, -998],
    [-5, -5],
    [500, 500],
  ] as const) {
    test(`score ${score} for want of memory where the daemon may give ${least}`, async () => {
      const { asked, refusal, ran } = await refusing({}, least);
      await assert.rejects(ran(), refusal);
      assert.equal(asked[0]!.oomScoreAdj, score);
    });
  }

  test('that are refused: all is undone, but not before what is still at work has ended', async () => {
    const { script, shims, ownShim, said, refusal, ran } = await refusing();
    const { promise, resolve } = Promise.withResolvers<void>();
    Object.assign(shims, { start: () => promise.then(() => script.say('shim start')).then(() => ownShim) });
    const failed = assert.rejects(ran(), refusal);
    for (let turns = 20; turns > 0; turns--) await new Promise(setImmediate);
    assert.deepEqual(said, []);
    resolve();
    await failed;
    assert.deepEqual(said, ['shim start', 'sandbox', 'network down', 'shim shutdown']);
  });
});

describe('a request is refused', () => {
  const cases: Record<string, { wanted: PodConfig; kind: string }> = {
    'for a sysctl of the host': { wanted: { ...config, sysctls: { 'vm.swappiness': '1' } }, kind: 'InvalidArgument' },
    'for a user namespace that its handler cannot make': {
      wanted: {
        ...config,
        security: {
          ...config.security,
          namespaces: {
            ...config.security.namespaces,
            user: {
              mode: 'pod',
              uids: [{ hostId: 65536, containerId: 0, length: 65536 }],
              gids: [{ hostId: 65536, containerId: 0, length: 65536 }],
            },
          },
        },
      },
      kind: 'FailedPrecondition',
    },
  };
  for (const [name, { wanted, kind }] of Object.entries(cases)) {
    test(name, async () => {
      const world = await daemonWith({ pods: [] });
      await assert.rejects(run(world, wanted), { kind });
      assert.deepEqual([world.said, world.deps.pods.size], [[], 0]);
    });
  }

  test('for a pod that there is', async () => {
    const world = await daemonWith();
    await assert.rejects(run(world), { kind: 'AlreadyExists', message: /default\/web exists already, as a+$/ });
  });

  test('for one that nobody heard of, while it is being stopped', async () => {
    const world = await daemonWith();
    world.deps.podCreations.unheard(podId);
    world.deps.stoppingPods.add(podId);
    await assert.rejects(run(world), { kind: 'AlreadyExists', message: /is not what this request asks for/ });
    world.deps.stoppingPods.delete(podId);
    assert.equal(await run(world), podId);
  });
});

describe('while a pod is being mended', () => {
  test('a request for it waits, and gets what comes of it', async () => {
    const world = await daemonWith({ pods: [podIn({ phase: 'creating' })] });
    const { promise, resolve } = Promise.withResolvers<void>();
    world.deps.mending.track(podId, promise);
    const ran = run(world);
    await world.deps.pods.put(podIn(ready));
    world.deps.podCreations.unheard(podId);
    resolve();
    assert.equal(await ran, podId);
  });

  test('a request for another does not', async () => {
    const world = await nowhere();
    world.deps.mending.track(podId, new Promise(() => {}));
    await world.deps.pods.put(podIn(ready));
    await assert.rejects(run(world, other(7)), { code: 'ENOENT' });
  });

  test('who leaves waits no longer', async () => {
    const world = await daemonWith();
    world.deps.mending.track(podId, new Promise(() => {}));
    const caller = new AbortController();
    const request = { config, handler: '' };
    const ran = runPod(world.deps, request, { ...patient, signal: caller.signal });
    caller.abort(new Error('client left'));
    await assert.rejects(ran, /client left/);
  });
});

test('a later attempt is younger than those before it, whatever the clock does', async () => {
  const world = await nowhere();
  const future = Date.now() + 3_600_000;
  await world.deps.pods.put(podIn(ready, { id: podId as PodId, createdAt: future }));
  const made: (number | undefined)[] = [];
  world.deps.pods.listen((after) => made.push(after?.createdAt));
  await assert.rejects(run(world, other(1)));
  assert.equal(made[0], future + 1);
});
