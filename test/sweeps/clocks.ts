// Row 17 of the promises, clocks: the wall clock of the daemon and its shims jumps, back and forth, by seconds and by years.
// What is later is said to be later, and nothing that is to take its time takes another.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { credentials, status as grpc } from '@grpc/grpc-js';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { ShiftedClock } from '../faults/shifted-clock.ts';
import { slowness, TestDaemon } from '../harness/daemon.ts';
import { assertNoLeak, footprint } from '../harness/leak-check.ts';
import { type ContainerConfig, hostNetwork, podConfig, refused, TestPod, until, untilExited } from '../harness/pods.ts';
import { pullTestImages } from '../harness/suite.ts';
import { ChannelClient } from '../streaming/websocket-client.ts';
import { oneOf, randomFrom } from './random.ts';

export type ClocksVolume = { readonly seed: number; readonly jumps: number };
export type ClocksTotal = { jumps: number; faults: string[] };

/** Seconds. */
const lengths = [2, 70, 3700, 90_000, 40_000_000, 300_000_000];
const nano = 1_000_000;
/** Between a clock that was read and what it is compared with. */
const roundingMs = 5000 * slowness;

/** Runs it with a daemon of its own, and says what was seen; `say` hears how far it is. */
export async function sweepClocks(
  { seed, jumps }: ClocksVolume,
  say: (text: string) => void = () => {},
): Promise<ClocksTotal> {
  const random = randomFrom(seed);
  const total: ClocksTotal = { jumps: 0, faults: [] };
  using clock = await ShiftedClock.make();
  const daemon = new TestDaemon({ env: clock.env });
  await daemon.start();
  try {
    const image = (await pullTestImages(daemon)).busybox;
    const clean = footprint(daemon);
    const scene: Scene = { daemon, image, clock, random, jump: () => {} };
    scene.jump = () => {
      const by = oneOf(random, lengths) * (random() < 0.5 ? -1 : 1);
      clock.shift(Math.abs(clock.seconds + by) > 400_000_000 ? 0 : clock.seconds + by);
      total.jumps++;
    };
    while (total.jumps < jumps) {
      for (const [name, check] of Object.entries(checks)) {
        try {
          await check(scene, total.jumps);
          assertNoLeak(clean, footprint(daemon));
        } catch (error) {
          total.faults.push(`${name}, ${clock.seconds} s off: ${error instanceof Error ? error.message : error}`);
          await daemon.removePods();
        }
      }
      say(JSON.stringify(total));
    }
  } finally {
    clock.shift(0);
    await daemon.dispose();
  }
  return total;
}

type Scene = {
  readonly daemon: TestDaemon;
  readonly image: string;
  readonly clock: ShiftedClock;
  readonly random: () => number;
  jump: () => void;
};
type Check = (scene: Scene, serial: number) => Promise<void>;

const sleeper: ContainerConfig = { command: ['/bin/sleep', '1000'], ...hostNetwork };

const checks: Record<string, Check> = {
  'a later attempt is later': async ({ daemon, image, jump }, serial) => {
    const config = (attempt: number) => {
      const { metadata, ...rest } = podConfig(daemon, `attempts-${serial}`, hostNetwork);
      return { ...rest, metadata: { ...metadata!, attempt } };
    };
    const pods: TestPod[] = [];
    const containers: string[] = [];
    for (let attempt = 0; attempt < 3; attempt++) {
      const pod = new TestPod(daemon, config(attempt));
      pod.id = (await daemon.runtime.runPodSandbox({ config: pod.config })).podSandboxId;
      pods.push(pod);
      jump();
    }
    for (let attempt = 0; attempt < 3; attempt++) {
      containers.push(await pods[2]!.create('c', image, { ...sleeper, metadata: { name: 'c', attempt } }));
      if (attempt === 1) jump();
    }
    const ofPods = (await Promise.all(pods.map((pod) => pod.status()))).map(({ createdAt }) => createdAt);
    const ofContainers = await Promise.all(
      containers.map(async (containerId) => (await daemon.runtime.containerStatus({ containerId })).status!.createdAt),
    );
    for (const times of [ofPods, ofContainers])
      assert.ok(times[0]! < times[1]! && times[1]! < times[2]!, `created at ${times}`);
    for (const pod of pods) await pod.remove();
  },

  'a life is at the times that the clock says': async ({ daemon, image, clock, jump }, serial) => {
    const pod = await TestPod.run(daemon, `life-${serial}`, hostNetwork);
    const begun = clock.now();
    const id = await pod.sh('c', image, 'echo begun; until [ -e /end ]; do usleep 10000; done; exit 3', hostNetwork);
    await until('its line', async () => pod.log('c').length > 0);
    const [time = ''] = readFileSync(join(pod.config.logDirectory!, 'c.log'), 'utf8').split(' ');
    assert.ok(Math.abs(Date.parse(time) - begun) < roundingMs, `its line is of ${time}`);
    jump();
    await daemon.runtime.execSync({ containerId: id, cmd: ['/bin/touch', '/end'], timeout: 20n });
    const { createdAt, startedAt, finishedAt, exitCode } = await untilExited(daemon, id);
    assert.equal(exitCode, 3);
    // An end is of the time of its clock, also where that is before its creation: kubelet compares it with the clock.
    assert.ok(startedAt <= finishedAt, `started at ${startedAt}, finished at ${finishedAt}`);
    assert.ok(Math.abs(Number(finishedAt) / nano - clock.now()) < roundingMs, `finished at ${finishedAt}`);
    assert.ok(Math.abs(Number(createdAt) / nano - begun) < roundingMs, `created at ${createdAt}`);
    await pod.remove();
  },

  'what is to take its time takes it': async ({ daemon, image, jump }, serial) => {
    const { runtime } = daemon;
    const pod = await TestPod.run(daemon, `waits-${serial}`, hostNetwork);
    const containerId = await pod.sh('c', image, 'trap "" TERM; while :; do sleep 1; done', hostNetwork);
    const inTime = runtime.execSync({ containerId, cmd: ['/bin/sleep', '0.7'], timeout: 30n });
    const late = refused(
      runtime.execSync({ containerId, cmd: ['/bin/sleep', '1000'], timeout: 1n }),
      grpc.DEADLINE_EXCEEDED,
      /timed out/,
    );
    const begin = performance.now();
    const stopped = runtime.stopContainer({ containerId: await pod.start('d', image, sleeper), timeout: 1n });
    jump();
    assert.equal((await inTime).exitCode, 0);
    await Promise.all([late, stopped]);
    const tookMs = performance.now() - begin;
    assert.ok(tookMs > 900 && tookMs < 20_000 * slowness, `it took ${tookMs.toFixed(0)} ms`);
    await pod.remove();
  },

  'a streaming URL is good for its minute, and once': async ({ daemon, image, jump }, serial) => {
    const pod = await TestPod.run(daemon, `url-${serial}`, hostNetwork);
    const containerId = await pod.start('c', image, sleeper);
    const { url } = await daemon.runtime.exec({ containerId, cmd: ['/bin/echo', 'said'], stdout: true });
    jump();
    const client = await ChannelClient.open(url, 'v4.channel.k8s.io');
    await client.closed;
    assert.equal(client.text(1), 'said\n');
    await assert.rejects(ChannelClient.open(url, 'v4.channel.k8s.io'), /404/);
    await pod.remove();
  },

  'an event is later than the one before': async ({ daemon, image, jump }, serial) => {
    const client = new cri.RuntimeServiceClient(`unix://${daemon.socket}`, credentials.createInsecure());
    const times: bigint[] = [];
    const stream = client.getContainerEvents({});
    stream.on('data', ({ createdAt }: cri.ContainerEventResponse) => times.push(createdAt));
    stream.on('error', () => {}); // it is cancelled
    const pod = await TestPod.run(daemon, `events-${serial}`, hostNetwork);
    jump();
    const containerId = await pod.start('c', image, sleeper);
    await daemon.runtime.stopContainer({ containerId, timeout: 0n });
    await pod.remove();
    await until('its events', async () => times.length >= 4); // the first may come before we are heard
    stream.cancel();
    client.close();
    const late = times.filter((time, index) => index > 0 && time <= times[index - 1]!);
    assert.deepEqual(late, []);
  },

  'a daemon that starts finds all as it was': async ({ daemon, image, jump }, serial) => {
    const pod = await TestPod.run(daemon, `restart-${serial}`, hostNetwork);
    const containerId = await pod.start('c', image, sleeper);
    const seen = async () => {
      const { status } = await daemon.runtime.containerStatus({ containerId });
      return [status!.state, status!.createdAt, status!.startedAt];
    };
    const before = await seen();
    await daemon.kill();
    jump();
    await daemon.start();
    assert.deepEqual(await seen(), before);
    await pod.remove();
  },
};
