// No byte free: what ends has ended, what is removed is gone, what starts says why it cannot and leaves nothing.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { Bystander } from '../harness/bystander.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { assertNoLeak, footprint } from '../harness/leak-check.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, refused, TestPod, until, untilExited } from '../harness/pods.ts';
import { SmallDisk } from '../harness/small-disk.ts';
import { endTestRegistry, ociRuntimes, pullTestImages } from '../harness/suite.ts';

await ownHost();

const places = {
  data_dir: (daemon: TestDaemon) => daemon.dataDir,
  run_dir: (daemon: TestDaemon) => daemon.runDir,
};

const cases = ociRuntimes.flatMap((handler, index) =>
  (['bytes', 'inodes'] as const).filter((of) => of === 'bytes' || index === 0).map((of) => ({ handler, of })),
);

for (const { handler, of } of cases) {
  for (const [name, place] of Object.entries(places)) {
    describe(`no ${of} left in ${name}, with ${handler}`, () => {
      let daemon: TestDaemon;
      let disk: SmallDisk;
      let image = '';
      before(async () => {
        daemon = new TestDaemon({ handler });
        disk = new SmallDisk(place(daemon), of);
        await daemon.start();
        image = (await pullTestImages(daemon)).busybox;
      });
      afterEach(() => disk.free());
      after(async () => {
        await daemon.removePods();
        await daemon.stop();
        disk[Symbol.dispose]();
        await daemon.dispose();
        await endTestRegistry();
      });

      test('ends are true, Stop and Remove work, starts are refused', async () => {
        const clean = footprint(daemon);
        const { runtime } = daemon;
        // A command writes a file below run_dir: without space there, no probe is answered.
        const bystander = name === 'data_dir' ? await Bystander.start(daemon, image) : null;
        const pods = { networked: {}, host: hostNetwork };
        const made: { pod: TestPod; forever: string; ends: string; removed: string; created: string }[] = [];
        for (const [podName, config] of Object.entries(pods)) {
          const pod = await TestPod.run(daemon, podName, config);
          const forever = await pod.sh('forever', image, 'sleep 1000', config);
          const ends = await pod.sh('ends', image, 'read line; exit 5', { ...config, stdin: true });
          const removed = await pod.sh('removed', image, 'sleep 1000', config);
          const created = await pod.create('created', image, { command: ['/bin/true'], ...config });
          made.push({ pod, forever, ends, removed, created });
        }
        const fullDisk = async () => {
          disk.fill();
          for (const { forever, ends, removed, created } of made) {
            const pids = await pidOf(daemon, ends);
            process.kill(pids, 'SIGKILL');
            assert.equal((await untilExited(daemon, ends)).exitCode, 137);
            await runtime.stopContainer({ containerId: forever, timeout: 0n });
            assert.equal((await untilExited(daemon, forever)).exitCode, 137);
            await runtime.removeContainer({ containerId: removed });
            await runtime.removeContainer({ containerId: created });
          }
          disk.fill(); // what was removed gave space back
          await refused(podWithContainer(daemon, image), grpc.RESOURCE_EXHAUSTED, /ENOSPC/);
          for (const { pod } of made) {
            disk.fill();
            await refused(pod.create('late', image), grpc.RESOURCE_EXHAUSTED, /ENOSPC/);
            disk.fill();
            await runtime.stopPodSandbox({ podSandboxId: pod.id });
            assert.equal((await pod.status()).state, 1);
            await pod.remove();
          }
        };
        await (bystander ? bystander.watched(`no ${of} left in ${name}`, fullDisk) : fullDisk());
        await bystander?.remove();
        const { items } = await runtime.listPodSandbox({});
        assert.deepEqual(items, []);
        disk.free();
        assertNoLeak(clean, footprint(daemon));
      });

      test('an end that could not be recorded is, once there is space; and is true after a restart without', async () => {
        const clean = footprint(daemon);
        const pod = await TestPod.run(daemon, 'late', hostNetwork);
        const id = await pod.sh('c', image, 'sleep 1000', hostNetwork);
        disk.fill();
        process.kill(await pidOf(daemon, id), 'SIGKILL');
        assert.equal((await untilExited(daemon, id)).exitCode, 137);
        await daemon.kill();
        await daemon.start();
        assert.equal((await untilExited(daemon, id)).exitCode, 137);
        disk.free();
        const folder = join(daemon.dataDir, 'v1/containers');
        const phase = () => JSON.parse(readFileSync(join(folder, `${id}.json`), 'utf8')).state.phase;
        await until('its record', async () => phase() === 'exited');
        assert.deepEqual(readdirSync(folder), [`${id}.json`]);
        await pod.remove();
        assertNoLeak(clean, footprint(daemon));
      });
    });
  }
}

/** A full run_dir may still take a pod, which needs directories only; not a container. */
async function podWithContainer(daemon: TestDaemon, image: string): Promise<void> {
  const pod = await TestPod.run(daemon, 'late', hostNetwork);
  try {
    await pod.sh('c', image, 'true', hostNetwork);
  } finally {
    await pod.remove();
  }
}

async function pidOf(daemon: TestDaemon, containerId: string): Promise<number> {
  const { info } = await daemon.runtime.containerStatus({ containerId, verbose: true });
  return JSON.parse(info.info!).pid;
}
