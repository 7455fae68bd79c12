import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { ContainerState, PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import { slowness, type TestDaemon } from './daemon.ts';
import { hostNetwork, TestPod } from './pods.ts';

const everyMs = 100;
/** Beyond this an answer counts as late: the count is printed, as a loaded machine has late answers too. */
const lateMs = 250;
/** Beyond this somebody waited for what is broken. */
const tooLateMs = 2000 * slowness;

/**
 * A pod that has nothing to do with what is broken, probed as kubelet does, and a node that is asked how it is: all the
 * while until `watched` has run `body`, none of it may fail, be wrong or be held up.
 */
export class Bystander {
  readonly #daemon: TestDaemon;
  readonly #pod: TestPod;
  readonly #containerId: string;
  readonly #pid: number;

  private constructor(daemon: TestDaemon, pod: TestPod, containerId: string, pid: number) {
    this.#daemon = daemon;
    this.#pod = pod;
    this.#containerId = containerId;
    this.#pid = pid;
  }

  get podId(): string {
    return this.#pod.id;
  }

  static async start(daemon: TestDaemon, image: string): Promise<Bystander> {
    const pod = await TestPod.run(daemon, `bystander-${daemon.name}`, hostNetwork);
    const containerId = await pod.start('c', image, { command: ['/bin/sleep', '100000'], ...hostNetwork });
    return new Bystander(daemon, pod, containerId, await pidOf(daemon, containerId));
  }

  async remove(): Promise<void> {
    await this.#pod.remove();
  }

  /** Runs `body` and prints how many answers of `what` were late meanwhile. */
  async watched<T>(what: string, body: () => Promise<T>): Promise<T> {
    const over = new AbortController();
    const watch = this.#watch(over.signal);
    try {
      return await body();
    } finally {
      over.abort();
      const waits = (await watch).sort((a, b) => a - b);
      const late = waits.filter((ms) => ms > lateMs).length;
      const worst = waits.at(-1) ?? 0;
      console.log(
        `${what}: ${waits.length} answers to a bystander, ${late} later than ${lateMs} ms, ${worst.toFixed(0)} ms at most`,
      );
      assert.equal(await pidOf(this.#daemon, this.#containerId), this.#pid, 'it is the process that it was');
      assert.ok(worst <= tooLateMs, `${what}: an answer to a bystander took ${worst.toFixed(0)} ms`);
    }
  }

  async #watch(over: AbortSignal): Promise<number[]> {
    const waits: number[] = [];
    const asks = Object.values(this.#asks());
    do {
      const round = asks.map(async (ask) => {
        const begin = performance.now();
        await ask();
        waits.push(performance.now() - begin);
      });
      await Promise.all([...round, delay(everyMs)]);
    } while (!over.aborted);
    return waits;
  }

  #asks(): Record<string, () => Promise<void>> {
    const { runtime } = this.#daemon;
    const containerId = this.#containerId;
    return {
      probe: async () => {
        const { exitCode } = await runtime.execSync({ containerId, cmd: ['/bin/true'], timeout: 10n });
        assert.equal(exitCode, 0);
      },
      version: async () => void (await runtime.version({})),
      status: async () => {
        const { status } = await runtime.status({});
        assert.equal(status!.conditions.find(({ type }) => type === 'RuntimeReady')!.status, true);
      },
      containers: async () => {
        const { containers } = await runtime.listContainers({ filter: { id: containerId } });
        assert.deepEqual(
          containers.map(({ state, metadata }) => [state, metadata!.attempt]),
          [[ContainerState.CONTAINER_RUNNING, 0]],
        );
      },
      pods: async () => {
        const { items } = await runtime.listPodSandbox({ filter: { id: this.#pod.id } });
        assert.deepEqual(
          items.map(({ state }) => state),
          [PodSandboxState.SANDBOX_READY],
        );
      },
    };
  }
}

async function pidOf(daemon: TestDaemon, containerId: string): Promise<number> {
  const { info } = await daemon.runtime.containerStatus({ containerId, verbose: true });
  return JSON.parse(info.info!).pid;
}
