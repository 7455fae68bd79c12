import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Command } from '../../../src/base/command.ts';
import { recover } from '../../../src/lifecycle/recover.ts';
import type { ContainerState } from '../../../src/model/container.ts';
import type { ContainerId, PodId } from '../../../src/model/ids.ts';
import type { PodState } from '../../../src/model/pod.ts';
import type { Shim, ShimProcess } from '../../../src/shim/index.ts';
import {
  containerId,
  containerIn,
  daemonWith,
  exited,
  exitOf,
  nothingLost,
  patient,
  pausePid,
  podId,
  podIn,
  ready,
  running,
} from './fakes.ts';

const otherPod = 'b'.repeat(64) as PodId;
const lostId = 'f'.repeat(64) as ContainerId;
const processIn = (changes: Partial<ShimProcess> = {}): ShimProcess => ({
  key: containerId,
  pid: 7,
  exit: null,
  lost: nothingLost,
  ...changes,
});
const listing = (pause: number, ...processes: ShimProcess[]): Pick<Shim, 'list'> => ({
  list: async () => ({ pausePid: pause, processes }),
});
const notReady = (reason: string, released = false): PodState => ({
  phase: 'notReady',
  released,
  reason,
  network: null,
});
type World = Awaited<ReturnType<typeof daemonWith>>;
const podOf = ({ deps }: World, id = podId) => deps.pods.get(id)?.state;
const containerOf = ({ deps }: World, id = containerId) => deps.containers.get(id)?.state;

/** Whether a retry is given what there is: nobody may have heard of it. */
async function isGiven(creations: World['deps']['podCreations' | 'containerCreations'], id: PodId | ContainerId) {
  const wanted = {
    what: 'x',
    key: 'x',
    existing: () => ({ id, same: true }),
    make: () => Promise.reject(new Error('made')),
  };
  try {
    return (await creations.create(wanted as never, patient)) === id;
  } catch {
    return false;
  }
}

describe('a pod after a start of the daemon', () => {
  test('that was being made is torn down', async () => {
    const world = await daemonWith({ pods: [podIn({ phase: 'creating' })] });
    await recover(world.deps);
    assert.equal(world.deps.pods.size, 0);
    assert.deepEqual(world.said.slice(0, 2), ['network down', 'shim shutdown']);
  });

  const cases: Record<string, { shim: Pick<Shim, 'list'> | null; expected: PodState }> = {
    'whose shim and pause process are there stays ready': { shim: listing(pausePid), expected: ready },
    'without its shim is down': { shim: null, expected: notReady('its shim is gone') },
    'without its pause process is down': { shim: listing(0), expected: notReady('its pause process is gone') },
    'with another pause process than its own is down': {
      shim: listing(pausePid + 1),
      expected: notReady('its pause process is gone'),
    },
  };
  for (const [name, { shim, expected }] of Object.entries(cases)) {
    test(name, async () => {
      const world = await daemonWith();
      Object.assign(world.shims, { findOrKill: async () => shim });
      await recover(world.deps);
      assert.deepEqual(podOf(world), expected);
    });
  }

  test('that was released is not looked at', async () => {
    const world = await daemonWith({ pods: [podIn(notReady('stopped', true))] });
    await recover(world.deps);
    assert.ok(!world.said.includes('shim find'));
    assert.deepEqual(podOf(world), notReady('stopped', true));
  });

  test('without containers is given to the retry of a call that was cut off, with containers it is known', async () => {
    const empty = await daemonWith();
    await recover(empty.deps);
    assert.equal(await isGiven(empty.deps.podCreations, podId), true);
    const used = await daemonWith({ containers: [containerIn(exited)] });
    await recover(used.deps);
    assert.equal(await isGiven(used.deps.podCreations, podId), false);
  });

  test('of another boot: nothing of it runs, and no shim is looked for', async () => {
    const world = await daemonWith({
      pods: [podIn(ready, { bootId: 'another' })],
      containers: [containerIn(running), containerIn({ phase: 'created' }, lostId)],
    });
    await recover(world.deps);
    assert.deepEqual(podOf(world), notReady('the host was rebooted'));
    const state = containerOf(world);
    assert.deepEqual(state && 'exit' in state && [state.exit.code, state.exit.message], [255, 'the host was rebooted']);
    assert.equal(containerOf(world, lostId)?.phase, 'created');
    assert.ok(!world.said.includes('shim find'));
  });

  test('that the daemon has no descriptor to ask for is asked for again', { timeout: 20_000 }, async () => {
    const world = await daemonWith();
    world.script.failures.set('shim find', Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' }));
    await recover(world.deps);
    assert.deepEqual(podOf(world), ready);
    assert.equal(world.said.filter((word) => word === 'shim find').length, 2);
  });

  test('that cannot be mended holds nobody up', async () => {
    const world = await daemonWith({ pods: [podIn(ready), podIn(ready, { id: otherPod })] });
    const never = Promise.withResolvers<never>();
    never.promise.catch(() => {}); // it may be rejected before somebody asks
    Object.assign(world.shims, {
      findOrKill: async (id: PodId) => (id === podId ? never.promise : null),
    });
    const mended = recover(world.deps);
    await world.deps.mending.settled(otherPod, patient.signal);
    assert.deepEqual(podOf(world, otherPod), notReady('its shim is gone'));
    assert.deepEqual([world.deps.mending.has(podId), world.deps.mending.has(otherPod)], [true, false]);
    never.reject(new Error('it is broken'));
    await mended;
    assert.equal(world.deps.mending.size, 0);
    assert.ok(world.said.includes('gc'), 'the rest of the recovery is done');
  });
});

describe('a container after a start of the daemon', () => {
  const made: ContainerState = { phase: 'created' };
  const exit = exitOf(containerId, 9);
  const cases: Record<
    string,
    { state: ContainerState; listed: ShimProcess[]; file?: number; phase: string | undefined; code?: number }
  > = {
    'that runs': { state: running, listed: [processIn()], phase: 'running' },
    'that ended meanwhile': { state: running, listed: [processIn({ exit })], phase: 'exited', code: 9 },
    'whose end only its file tells': { state: running, listed: [], file: 4, phase: 'exited', code: 4 },
    'whose end nobody saw': { state: running, listed: [], phase: 'exited', code: 255 },
    'that was started, and the record was cut off': { state: made, listed: [processIn()], phase: 'running' },
    'that was started and ended, and neither is on record': {
      state: made,
      listed: [processIn({ exit })],
      phase: 'exited',
      code: 9,
    },
    'that was started, and ended after its shim was asked, before it was on record': {
      state: made,
      listed: [processIn()],
      file: 6,
      phase: 'exited',
      code: 6,
    },
    'that was made': { state: made, listed: [], phase: 'created' },
    'that has ended': { state: exited, listed: [], phase: 'exited', code: 3 },
    'that was being made': { state: { phase: 'creating' }, listed: [], phase: undefined },
    'that was being removed': {
      state: { ...exited, phase: 'removing' } as ContainerState,
      listed: [],
      phase: undefined,
    },
  };
  for (const [name, { state, listed, file, phase, code }] of Object.entries(cases)) {
    test(`${name}: ${phase ?? 'gone'}`, async () => {
      const world = await daemonWith({ containers: [containerIn(state)] });
      Object.assign(world.shims, { findOrKill: async () => listing(pausePid, ...listed) });
      if (file !== undefined) {
        const text = `{"v":1,"key":"c","pid":7,"code":${file},"signal":0,"oomKilled":false,"at":"5.000000000"}`;
        writeFileSync(world.deps.layout.exitFile(podId, containerId), text);
      }
      await recover(world.deps);
      const found = containerOf(world);
      assert.deepEqual([found?.phase, found && 'exit' in found ? found.exit.code : undefined], [phase, code]);
    });
  }

  for (const [status, more] of [
    ['created', ['run /bin/crun start']],
    ['running', []],
    ['{unreadable', []],
  ] as const) {
    test(`whose process is there, and which its OCI runtime says is ${status}: it runs`, async () => {
      const world = await daemonWith({ containers: [containerIn(made)] });
      Object.assign(world.shims, { findOrKill: async () => listing(pausePid, processIn()) });
      Object.assign(world.runtime, { knows: () => true });
      const { run } = world.ownShim;
      const stdout = Buffer.from(status.startsWith('{') ? status : JSON.stringify({ status }));
      Object.assign(world.ownShim, {
        run: async (command: Command) => ({
          ...(await run(command)),
          ...(command.argv.includes('state') && { stdout }),
        }),
      });
      await recover(world.deps);
      assert.equal(containerOf(world)?.phase, 'running');
      assert.deepEqual(
        world.said.filter((said) => said.startsWith('run ')),
        ['run /bin/crun state', ...more],
      );
    });
  }

  test('that was made is given to a retry, one that was started is known', async () => {
    const world = await daemonWith({ containers: [containerIn(made)] });
    await recover(world.deps);
    assert.equal(await isGiven(world.deps.containerCreations, containerId), true);
    const started = await daemonWith({ containers: [containerIn(made)] });
    Object.assign(started.shims, { findOrKill: async () => listing(pausePid, processIn()) });
    await recover(started.deps);
    assert.equal(await isGiven(started.deps.containerCreations, containerId), false);
  });

  test('that has ended is released: the crash may have come before that', async () => {
    const world = await daemonWith({ containers: [containerIn(exited)] });
    const asked: string[] = [];
    Object.assign(world.runtime, { knows: (id: string) => void asked.push(id) });
    await recover(world.deps);
    assert.deepEqual(asked, [containerId]);
  });

  test('whose OCI runtime is still at work is waited for', async () => {
    const world = await daemonWith({ containers: [containerIn(made)] });
    const answers = [[processIn({ pid: 0 })], [processIn({ pid: 0 })], [processIn({ pid: 8 })]];
    Object.assign(world.shims, {
      findOrKill: async () => ({ list: async () => ({ pausePid, processes: answers.shift()! }) }),
    });
    await recover(world.deps);
    const state = containerOf(world);
    assert.deepEqual(state && 'pid' in state && state.pid, 8);
  });

  test('one whose OCI runtime does not end stays what it was, and its pod with it', async () => {
    const world = await daemonWith({ containers: [containerIn(made)] });
    Object.assign(world.shims, { findOrKill: async () => listing(pausePid, processIn({ pid: 0 })) });
    await recover(world.deps);
    assert.deepEqual([containerOf(world), podOf(world)], [made, ready]);
  });

  test('one that cannot be mended does not hide the others', async () => {
    const world = await daemonWith({ containers: [containerIn(exited), containerIn(running, lostId)] });
    Object.assign(world.runtime, {
      knows: (id: string) => {
        if (id === containerId) throw new Error('EIO: i/o error');
        return false;
      },
    });
    await recover(world.deps);
    assert.equal(containerOf(world, lostId)?.phase, 'exited');
  });

  test('what its log lost is told again', async () => {
    const world = await daemonWith({ containers: [containerIn(running)] });
    const lost = { bytes: 50, lines: 1, error: 'ENOSPC' };
    Object.assign(world.shims, { findOrKill: async () => listing(pausePid, processIn({ lost })) });
    await recover(world.deps);
    assert.deepEqual(world.deps.logLosses.of(containerId), lost);
    world.deps.logLosses.forget(containerId);
  });
});

describe('what no record names is removed, and nothing else', () => {
  test('a bundle, whose container is undone by its id', async () => {
    const world = await daemonWith({ containers: [containerIn(running)] });
    Object.assign(world.shims, { findOrKill: async () => listing(pausePid, processIn()) });
    mkdirSync(world.deps.layout.bundle(podId, lostId));
    await recover(world.deps);
    assert.ok(world.said.includes('forget f') && !world.said.includes('forget c'), `${world.said}`);
    const left = [containerId, lostId].map((id) => existsSync(world.deps.layout.bundle(podId, id)));
    assert.deepEqual(left, [true, false]);
  });

  test('containers of a pod without a record, then that pod', async () => {
    const world = await daemonWith({ pods: [], containers: [containerIn(running)] });
    await recover(world.deps);
    assert.deepEqual(world.said.slice(0, 4), ['forget c', 'remove layer c', 'network down', 'shim shutdown']);
    assert.deepEqual([world.deps.containers.size, existsSync(world.deps.layout.pod(podId))], [0, false]);
  });

  test('directories of pods', async () => {
    const world = await daemonWith();
    mkdirSync(world.deps.layout.pod(otherPod));
    await recover(world.deps);
    assert.deepEqual(
      [podId, otherPod].map((id) => existsSync(world.deps.layout.pod(id))),
      [true, false],
    );
  });

  test("OCI runtimes' state, writable layers and anonymous volumes", async () => {
    const world = await daemonWith({ containers: [containerIn(running)] });
    const { layout } = world.deps;
    Object.assign(world.shims, { findOrKill: async () => listing(pausePid, processIn()) });
    const layers = [
      { key: containerId, kind: 'active', parent: 'sha256:1' },
      { key: lostId, kind: 'active', parent: 'sha256:1' },
      { key: 'sha256:1', kind: 'committed', parent: null },
    ];
    Object.assign(world.snapshots, { list: () => layers });
    const places = [containerId, lostId].flatMap((id) => [
      join(layout.ociStateOf('crun'), id),
      join(layout.anonymousVolumes, id),
    ]);
    const others = join(layout.ociStateOf('crun'), 'lock');
    for (const path of [...places, others]) mkdirSync(path, { recursive: true });
    await recover(world.deps);
    assert.deepEqual(
      places.map((path) => existsSync(path)),
      [true, true, false, false],
    );
    assert.ok(existsSync(others), 'what is no container of ours');
    assert.deepEqual(world.said.slice(-2), ['remove layer f', 'gc']);
  });

  test('networks are told of every pod on record, and who still has one', async () => {
    const world = await daemonWith({
      pods: [
        podIn(ready),
        podIn(notReady('stopped', true), { id: otherPod }),
        podIn(notReady('down'), { id: lostId as string as PodId }),
      ],
    });
    await recover(world.deps);
    assert.ok(world.said.includes('network gc 3') && world.said.includes('network settle 2'), `${world.said}`);
  });

  test('a part that fails does not keep the others from being done', async () => {
    const world = await daemonWith();
    for (const part of ['network gc 1', 'network settle 1']) world.script.failures.set(part, new Error('it is broken'));
    await recover(world.deps);
    assert.equal(world.said.at(-1), 'gc');
  });
});
