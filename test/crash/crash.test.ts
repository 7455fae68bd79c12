// A crash of the daemon never stops, signals or loses sight of a container, and every call can be made again.
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { ContainerState, PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import type { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { TestPod, until, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';

await ownHost();

const pidOf = async (daemon: TestDaemon, containerId: string): Promise<number> => {
  const { info } = await daemon.runtime.containerStatus({ containerId, verbose: true });
  return JSON.parse(info.info!).pid;
};

/** Start time in clock ticks: with the pid it names one process for ever. */
function startTime(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]!;
}

for (const handler of ociRuntimes) {
  suite(`SIGKILL of the daemon, with ${handler}`, { handler }, (bench) => {
    test('20 pods go on: same processes, every line, true exits', async () => {
      const { daemon } = bench;
      // Counts until told to stop, then says so; every fifth pod ends by itself while the daemon is away.
      const script = 'i=0; while [ ! -e /stop ]; do echo "$i"; i=$((i+1)); sleep 0.01; done; echo end; exit 5';
      const pods = await Promise.all(
        Array.from({ length: 20 }, async (_, index) => {
          const pod = await TestPod.run(daemon, `crash-${index}`);
          return { pod, index, id: await pod.sh('c', bench.image.busybox, script) };
        }),
      );
      const pids = await Promise.all(pods.map(({ id }) => pidOf(daemon, id)));
      const times = pids.map(startTime);
      const ending = pods.filter(({ index }) => index % 5 === 0);
      await Promise.all(pods.map(({ pod }) => until('first lines', async () => pod.log('c').length > 5)));
      await daemon.kill();
      const roots = ending.map(({ index }) => `/proc/${pids[index]}/root/stop`);
      for (const path of roots) process.getBuiltinModule('node:fs').writeFileSync(path, '');
      for (const { pod } of ending) await until('the end', async () => pod.log('c').at(-1)?.text === 'end');
      await daemon.start();

      const { items } = await daemon.runtime.listPodSandbox({});
      assert.equal(items.filter(({ state }) => state === PodSandboxState.SANDBOX_READY).length, 20);
      for (const { index, id } of pods) {
        if (index % 5 === 0) {
          const status = await untilExited(daemon, id);
          assert.deepEqual([status.exitCode, status.reason], [5, 'Error']);
        } else {
          assert.equal(await pidOf(daemon, id), pids[index]);
          assert.equal(startTime(pids[index]!), times[index]);
          await daemon.runtime.execSync({ containerId: id, cmd: ['/bin/touch', '/stop'], timeout: 10n });
          assert.equal((await untilExited(daemon, id)).exitCode, 5);
        }
      }
      for (const { pod } of pods) {
        const texts = pod.log('c').map(({ text }) => text);
        assert.deepEqual(texts, [...Array.from({ length: texts.length - 1 }, (_, line) => `${line}`), 'end']);
      }
      await Promise.all(pods.map(({ pod }) => pod.remove()));
    });

    test('after SIGTERM and a start all is as before', async () => {
      const { daemon } = bench;
      const pod = await TestPod.run(daemon, 'restart');
      const id = await pod.sh('c', bench.image.busybox, 'sleep 1000');
      const pid = await pidOf(daemon, id);
      const address = await pod.ip();
      await daemon.stop();
      await daemon.start();
      assert.deepEqual([await pidOf(daemon, id), await pod.ip()], [pid, address]);
      await daemon.runtime.stopContainer({ containerId: id, timeout: 0n });
      assert.equal((await untilExited(daemon, id)).exitCode, 137);
      await pod.remove();
    });
  });
}

/** Every step named in the code. */
const steps = globSync('src/**/*.ts', { cwd: resolve(import.meta.dirname, '../..') }).flatMap((file) => {
  const text = readFileSync(join(import.meta.dirname, '../..', file), 'utf8');
  return [...text.matchAll(/crashPoint\('([^']+)'\)/g)].map(([, step]) => step!);
});

suite('SIGKILL at every step', {}, (bench) => {
  const rounds = process.env.BERTH_SLOW ? 3 : 1;
  for (const step of [...new Set(steps)].sort()) {
    test(`${step}: the object is absent or can be removed, the name can be used again, others are untouched`, async () => {
      const { daemon } = bench;
      for (let round = 0; round < rounds; round++) await crashAt(daemon, bench.image.busybox, step);
    });
  }
});

async function crashAt(daemon: TestDaemon, image: string, step: string): Promise<void> {
  const bystander = await TestPod.run(daemon, 'bystander');
  const other = await bystander.sh('c', image, 'sleep 1000');
  const otherPid = await pidOf(daemon, other);
  await daemon.stop();

  await daemon.start({ BERTH_CRASH_AT: step });
  // One of these calls never gets its answer; what follows it finds nobody.
  const life = async () => {
    const pod = await TestPod.run(daemon, 'victim');
    const id = await pod.sh('c', image, 'echo ran; exit 3');
    await untilExited(daemon, id);
    await daemon.runtime.removeContainer({ containerId: id });
    await pod.remove();
  };
  await assert.rejects(life(), ({ code }: { code?: number }) => code === grpc.UNAVAILABLE || code === grpc.CANCELLED);
  await daemon.ended();

  await daemon.start();
  const { items } = await daemon.runtime.listPodSandbox({ filter: { id: '' } });
  for (const { id, metadata, state } of items) {
    if (metadata?.name !== 'victim') continue;
    if (step.startsWith('release-pod')) assert.equal(state, PodSandboxState.SANDBOX_NOTREADY, 'it is half taken down');
    const { containers } = await daemon.runtime.listContainers({ filter: { podSandboxId: id } });
    for (const { id: containerId, state } of containers) {
      if (state !== ContainerState.CONTAINER_EXITED) continue;
      const { status } = await daemon.runtime.containerStatus({ containerId });
      assert.deepEqual([status?.exitCode, status?.reason], [3, 'Error'], 'the exit is the true one');
    }
    await daemon.runtime.removePodSandbox({ podSandboxId: id });
  }
  const again = await TestPod.run(daemon, 'victim');
  const id = await again.sh('c', image, 'exit 4');
  assert.equal((await untilExited(daemon, id)).exitCode, 4);
  await again.remove();
  assert.equal(await pidOf(daemon, other), otherPid);
  await bystander.remove();
}
