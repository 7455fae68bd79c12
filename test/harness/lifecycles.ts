// Whole lives of pods, many of them, and what the daemon has grown by afterwards.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import WebSocket from 'ws';
import type { TestDaemon } from './daemon.ts';
import { hostNetwork, TestPod } from './pods.ts';

/** The environment that lets `Inspector` into the daemon, on a free port of loopback. */
export const inspectable = { NODE_OPTIONS: '--inspect=127.0.0.1:0' } as const;

/** `count` pods live and end, eight at once; every second one in a network namespace of its own. */
export async function lifecycles(daemon: TestDaemon, image: string, count: number, first = 0): Promise<void> {
  let next = first;
  const worker = async () => {
    while (next < first + count) await lifecycle(daemon, image, next++);
  };
  const ends = await Promise.allSettled(Array.from({ length: 8 }, worker)); // whoever fails must not leave the others at work
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

/** Under load a probe may end before the container's first command has run. */
const probe = ['sh', '-c', 'until [ -e /begun ]; do usleep 1000; done; echo probed'];

async function lifecycle(daemon: TestDaemon, image: string, number: number): Promise<void> {
  const own = number % 2 === 0;
  const pod = await TestPod.run(daemon, `life-${number}`, own ? {} : hostNetwork);
  const containerId = await pod.sh('c', image, 'echo begun; touch /begun; exec sleep 10000', own ? {} : hostNetwork);
  const { stdout, exitCode } = await daemon.runtime.execSync({ containerId, cmd: probe, timeout: 30n });
  assert.equal(`${exitCode} ${Buffer.from(stdout)}`, '0 probed\n');
  await daemon.runtime.stopContainer({ containerId, timeout: 0n });
  assert.deepEqual(pod.log('c'), [{ stream: 'stdout', text: 'begun' }]);
  if (number % 4 < 2) {
    await daemon.runtime.removeContainer({ containerId });
    await daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
  }
  await pod.remove(); // the other half leave all of it to RemovePodSandbox
  rmSync(pod.config.logDirectory!, { recursive: true }); // kubelet's, which removes it too
}

/** What a daemon holds at one moment. */
export type Size = {
  readonly heapMB: number;
  readonly rssMB: number;
  readonly threads: number;
  /** Open files, and Node's timers, handles and requests: how many of each kind. */
  readonly open: ReadonlyMap<string, number>;
};

/** The kinds of which more are open than before. */
export const grown = (before: Size, after: Size): string[] =>
  [...after.open].flatMap(([kind, now]) => {
    const then = before.open.get(kind) ?? 0;
    return now > then ? [`${kind}: ${now}, ${then} before`] : [];
  });

/** Node's inspector in a daemon that was started as `inspectable`. */
export class Inspector implements Disposable {
  readonly #daemon: TestDaemon;
  readonly #socket: WebSocket;
  #serial = 0;

  private constructor(daemon: TestDaemon, socket: WebSocket) {
    this.#daemon = daemon;
    this.#socket = socket;
  }

  /** Connects. @throws if the daemon was not started as `inspectable`. */
  static async open(daemon: TestDaemon): Promise<Inspector> {
    const lines = daemon.logged.map(({ text }) => /Debugger listening on (ws:\S+)/.exec(String(text))?.[1]);
    const address = lines.findLast((line) => line !== undefined);
    if (!address) throw new Error('The daemon has no inspector: start it with the environment `inspectable`');
    const socket = new WebSocket(address);
    await once(socket, 'open');
    return new Inspector(daemon, socket);
  }

  /** What the daemon holds once its garbage is gone. */
  async size(): Promise<Size> {
    await this.#ask('HeapProfiler.collectGarbage');
    const { usedSize } = (await this.#ask('Runtime.getHeapUsage')) as { usedSize: number };
    const expression = 'JSON.stringify(process.getActiveResourcesInfo())';
    const { result } = (await this.#ask('Runtime.evaluate', { expression })) as { result: { value: string } };
    const status = readFileSync(`/proc/${this.#daemon.pid}/status`, 'utf8');
    const figure = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
    return {
      heapMB: usedSize / 1e6,
      rssMB: figure('VmRSS') / 1000,
      threads: figure('Threads'),
      open: tally([...openFiles(this.#daemon.pid), ...JSON.parse(result.value)]),
    };
  }

  async #ask(method: string, params: object = {}): Promise<unknown> {
    const id = ++this.#serial;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const take = (data: WebSocket.RawData) => {
      const answer = JSON.parse(String(data));
      if (answer.id !== id) return;
      this.#socket.off('message', take);
      if (answer.error) reject(new Error(`${method}: ${answer.error.message}`));
      else resolve(answer.result);
    };
    this.#socket.on('message', take);
    this.#socket.send(JSON.stringify({ id, method, params }));
    return promise;
  }

  [Symbol.dispose](): void {
    this.#socket.terminate();
  }
}

/** By kind, or by path where there is one. */
function openFiles(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/:\[\d+\]$/, '')];
    } catch {
      return []; // it was closed while we looked
    }
  });
}

function tally(kinds: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}
