// Row 13 of the promises: every mutating call is cut off at many points and made again; then all is as if it had been made once.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { status as grpc } from '@grpc/grpc-js';
import { ContainerState, PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import type { TestDaemon } from '../harness/daemon.ts';
import { hostNetwork, type PodConfig, podConfig, TestPod, until, untilExited } from '../harness/pods.ts';
import type { Bench } from '../harness/suite.ts';
import { randomFrom } from './random.ts';

export type CutsVolume = {
  readonly seed: number;
  /** Of each call, evenly over its time and a fifth beyond, each by a deadline and by a client that leaves. */
  readonly points: number;
};

export type CutsTotal = {
  calls: number;
  /** Made again after their client had no answer. */
  cutOff: number;
  /** Clients that left just as the answer came, which the daemon cannot know: the retry is told ALREADY_EXISTS. */
  crossed: number;
  faults: string[];
};

type Options = { deadline?: number; signal?: AbortSignal };

/** One call that is made twice. */
type Attempt = {
  call(options?: Options): Promise<unknown>;
  /** What must be true after the second one; `first` is null if it was cut off. */
  check(first: unknown, second: unknown): Promise<void>;
  /** The second may be told so where the first went through. */
  done?(error: { code: number; details: string }): boolean;
  end(): Promise<void>;
};

type Scene = { readonly daemon: TestDaemon; readonly image: Bench['image']; readonly folder: string };
type Case = (scene: Scene, name: string) => Promise<Attempt>;

const runPod =
  (more: PodConfig): Case =>
  async ({ daemon }, name) => {
    const config = podConfig(daemon, name, more);
    const own = async () => {
      const { items } = await daemon.runtime.listPodSandbox({});
      return items.filter(({ metadata }) => metadata?.name === name);
    };
    return {
      call: (options) => daemon.runtime.runPodSandbox({ config }, options),
      check: async (first, second) => {
        const pods = await own();
        assert.deepEqual(
          pods.map(({ state }) => state),
          [PodSandboxState.SANDBOX_READY],
        );
        for (const answer of [first, second])
          if (answer) assert.equal((answer as { podSandboxId: string }).podSandboxId, pods[0]!.id);
      },
      end: async () => {
        for (const { id } of await own()) await daemon.runtime.removePodSandbox({ podSandboxId: id });
      },
    };
  };

const createContainer: Case = async ({ daemon, image }, name) => {
  const pod = await TestPod.run(daemon, name, hostNetwork);
  const config = { metadata: { name: 'c' }, image: { image: image.busybox }, command: ['/bin/true'], ...hostNetwork };
  const request = { podSandboxId: pod.id, sandboxConfig: pod.config, config };
  return {
    call: (options) => daemon.runtime.createContainer(request, options),
    check: async (first, second) => {
      const { containers } = await daemon.runtime.listContainers({ filter: { podSandboxId: pod.id } });
      assert.equal(containers.length, 1);
      for (const answer of [first, second])
        if (answer) assert.equal((answer as { containerId: string }).containerId, containers[0]!.id);
      await daemon.runtime.startContainer({ containerId: containers[0]!.id });
    },
    end: () => pod.remove(),
  };
};

/** A call on a container that runs, or is `created`; it says each time that it was started. */
const onContainer =
  (
    make: (scene: Scene, containerId: string, pod: TestPod) => Pick<Attempt, 'call' | 'check' | 'done'>,
    options: { created?: boolean } = {},
  ): Case =>
  async (scene, name) => {
    const { daemon, image, folder } = scene;
    const pod = await TestPod.run(daemon, name, hostNetwork);
    const script = `trap 'exit 3' TERM; echo ran >>/gate/${name}; sleep 1000 & wait`;
    const containerId = await pod.create('c', image.busybox, {
      command: ['/bin/sh', '-c', script],
      mounts: [{ containerPath: '/gate', hostPath: folder }],
      ...hostNetwork,
    });
    const ran = async () => existsSync(join(folder, name)) && readFileSync(join(folder, name), 'utf8') !== '';
    if (!options.created) {
      await daemon.runtime.startContainer({ containerId });
      await until('its first word', ran);
    }
    return { ...make(scene, containerId, pod), end: () => pod.remove() };
  };

const stateOf = async (daemon: TestDaemon, containerId: string) => {
  const { containers } = await daemon.runtime.listContainers({ filter: { id: containerId } });
  return containers[0]?.state ?? null;
};

const stop = (timeout: bigint, exitCode: number) =>
  onContainer(({ daemon }, containerId) => ({
    call: (options) => daemon.runtime.stopContainer({ containerId, timeout }, options),
    check: async () => {
      assert.equal(await stateOf(daemon, containerId), ContainerState.CONTAINER_EXITED);
      assert.equal((await untilExited(daemon, containerId)).exitCode, exitCode);
    },
  }));

const cases: Record<string, Case> = {
  'RunPodSandbox with CNI': runPod({}),
  "RunPodSandbox on the host's network": runPod(hostNetwork),
  CreateContainer: createContainer,
  StartContainer: onContainer(
    ({ daemon, folder }, containerId, pod) => ({
      call: (options) => daemon.runtime.startContainer({ containerId }, options),
      done: ({ code, details }) => code === grpc.FAILED_PRECONDITION && /is running/.test(details),
      check: async () => {
        assert.equal(await stateOf(daemon, containerId), ContainerState.CONTAINER_RUNNING);
        const words = () => {
          const path = join(folder, pod.config.metadata!.name!);
          return existsSync(path) ? readFileSync(path, 'utf8') : '';
        };
        await until('its first word', async () => words() !== '');
        assert.equal(words(), 'ran\n', 'it was started once');
      },
    }),
    { created: true },
  ),
  'StopContainer at once': stop(0n, 137),
  'StopContainer with a grace': stop(10n, 3),
  RemoveContainer: onContainer(({ daemon }, containerId) => ({
    call: (options) => daemon.runtime.removeContainer({ containerId }, options),
    check: async () => assert.equal(await stateOf(daemon, containerId), null),
  })),
  ExecSync: onContainer(({ daemon }, containerId) => ({
    call: (options) =>
      daemon.runtime.execSync({ containerId, cmd: ['/bin/sh', '-c', 'echo out; exit 4'], timeout: 10n }, options),
    check: async (_, second) => {
      const { stdout, exitCode } = second as { stdout: Uint8Array; exitCode: number };
      assert.deepEqual([Buffer.from(stdout).toString(), exitCode], ['out\n', 4]);
    },
  })),
  UpdateContainerResources: onContainer(({ daemon }, containerId) => ({
    call: (options) => daemon.runtime.updateContainerResources({ containerId, linux: { cpuShares: 300n } }, options),
    check: async () => {
      const { status } = await daemon.runtime.containerStatus({ containerId });
      assert.equal(status?.resources?.linux?.cpuShares, 300n);
    },
  })),
  ReopenContainerLog: onContainer(({ daemon }, containerId, pod) => {
    const log = join(pod.config.logDirectory!, 'c.log');
    renameSync(log, `${log}.1`);
    return {
      call: (options) => daemon.runtime.reopenContainerLog({ containerId }, options),
      check: async () => assert.ok(existsSync(log)),
    };
  }),
  StopPodSandbox: async ({ daemon, image }, name) => {
    const pod = await TestPod.run(daemon, name);
    const id = await pod.sh('c', image.busybox, 'sleep 1000');
    return {
      call: (options) => daemon.runtime.stopPodSandbox({ podSandboxId: pod.id }, options),
      check: async () => {
        assert.equal((await pod.status()).state, PodSandboxState.SANDBOX_NOTREADY);
        assert.equal(await stateOf(daemon, id), ContainerState.CONTAINER_EXITED);
      },
      end: () => pod.remove(),
    };
  },
  RemovePodSandbox: async ({ daemon, image }, name) => {
    const pod = await TestPod.run(daemon, name);
    const id = await pod.sh('c', image.busybox, 'sleep 1000');
    return {
      call: (options) => daemon.runtime.removePodSandbox({ podSandboxId: pod.id }, options),
      check: async () => {
        const { items } = await daemon.runtime.listPodSandbox({ filter: { id: pod.id } });
        assert.deepEqual([items, await stateOf(daemon, id)], [[], null]);
      },
      end: async () => {},
    };
  },
  PullImage: async ({ daemon, image }) => {
    const request = { image: { image: image.nginx } };
    await daemon.images.removeImage(request);
    return {
      call: (options) => daemon.images.pullImage(request, options),
      check: async (_, second) => {
        const { image: found } = await daemon.images.imageStatus(request);
        assert.equal(found?.id, (second as { imageRef: string }).imageRef);
      },
      end: async () => {},
    };
  },
  RemoveImage: async ({ daemon, image }) => {
    const request = { image: { image: image.nginx } };
    return {
      call: (options) => daemon.images.removeImage(request, options),
      check: async () => assert.equal((await daemon.images.imageStatus(request)).image, undefined),
      end: async () => void (await daemon.images.pullImage(request)),
    };
  },
};

/** How long the call takes when nobody cuts it off: the longest of three. */
async function durationOf(scene: Scene, of: Case, name: string): Promise<number> {
  let longest = 0;
  for (let round = 0; round < 3; round++) {
    const attempt = await of(scene, `${name}-${round}`);
    const begin = performance.now();
    const answer = await attempt.call();
    longest = Math.max(longest, performance.now() - begin);
    await attempt.check(null, answer);
    await attempt.end();
  }
  return longest;
}

type Way = 'deadline' | 'leaves';

/** Its answer, or null if it was cut off. */
async function cutAt(attempt: Attempt, way: Way, ms: number): Promise<unknown> {
  const left = new AbortController();
  const timer = setTimeout(() => left.abort(), ms);
  try {
    return await attempt.call(way === 'deadline' ? { deadline: Date.now() + ms } : { signal: left.signal });
  } catch (error) {
    const { code } = error as { code: number };
    if (code !== (way === 'deadline' ? grpc.DEADLINE_EXCEEDED : grpc.CANCELLED)) throw error;
    return null;
  } finally {
    clearTimeout(timer);
  }
}

async function tryOnce(attempt: Attempt, way: Way, ms: number, total: CutsTotal): Promise<void> {
  const first = await cutAt(attempt, way, ms);
  if (first === null) total.cutOff++;
  let second: unknown = null;
  try {
    second = await attempt.call();
  } catch (error) {
    const refusal = error as { code: number; details: string };
    // Who left after the answer, or as it came, has been told all the same as far as the daemon can know.
    const told = way === 'leaves' && refusal.code === grpc.ALREADY_EXISTS;
    if (!told && !attempt.done?.(refusal)) throw error;
    if (told && first === null) total.crossed++;
  }
  await attempt.check(first, second);
}

/** Runs it, and says what was seen; `say` hears how far it is. */
export async function sweepCuts(
  { daemon, image }: Pick<Bench, 'daemon' | 'image'>,
  { seed, points }: CutsVolume,
  say: (text: string) => void = () => {},
): Promise<CutsTotal> {
  const random = randomFrom(seed);
  const folder = join(daemon.dir, 'gate');
  mkdirSync(folder);
  const scene = { daemon, image, folder };
  const total: CutsTotal = { calls: 0, cutOff: 0, crossed: 0, faults: [] };
  let serial = 0;
  for (const [name, of] of Object.entries(cases)) {
    const duration = await durationOf(scene, of, `whole-${serial++}`);
    for (let point = 0; point < points; point++) {
      for (const way of ['deadline', 'leaves'] as const) {
        const ms = ((point + random()) / points) * duration * 1.2;
        const attempt = await of(scene, `cut-${serial++}`);
        total.calls++;
        try {
          await tryOnce(attempt, way, ms, total);
        } catch (error) {
          total.faults.push(`${name}, ${way} after ${ms.toFixed(2)} ms: ${error}`);
          say(total.faults.at(-1)!);
        }
        await attempt.end();
      }
    }
    say(`${name}: ${duration.toFixed(1)} ms, ${total.calls} calls, ${total.cutOff} cut off, ${total.crossed} crossed`);
  }
  rmSync(folder, { recursive: true });
  return total;
}
