// Row 3 of the promises: shims are killed, run out of memory, or are stopped. What they kept is killed and told within a
// second, nothing is Running for ever, and the pod can be removed and made again.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ContainerState, PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import { cgroupV2 } from '../harness/cgroups.ts';
import { slowness, type TestDaemon } from '../harness/daemon.ts';
import { hostNetwork, TestPod, until } from '../harness/pods.ts';
import { shimPid } from './held.ts';
import { oneOf, randomFrom } from './random.ts';

export type ShimsVolume = { readonly seed: number; readonly times: number };
export type ShimsTotal = { strikes: Record<string, number>; slowestMs: number; faults: string[] };

type Victim = {
  readonly daemon: TestDaemon;
  readonly pod: TestPod;
  readonly running: string;
  readonly created: string;
  /** Of the container's process. */
  readonly pid: number;
  readonly shim: number;
};

/** What happens to the shim, and what ends when it is over with it. */
const strikes: Record<string, (victim: Victim) => Promise<void>> = {
  killed: async ({ shim }) => void process.kill(shim, 'SIGKILL'),
  'out of memory': outOfMemory,
  'stopped, and its container ends': async ({ shim, pid }) => {
    process.kill(shim, 'SIGSTOP');
    process.kill(pid, 'SIGKILL');
  },
};
const truthMs = 1000;

/** The kernel kills it for what it keeps of a command's output; by its score, before any command. */
async function outOfMemory({ daemon, shim, running }: Victim): Promise<void> {
  const folder = join('/sys/fs/cgroup', cgroupV2 ? '' : 'memory', `${daemon.name}-small-${shim}`);
  mkdirSync(folder);
  try {
    writeFileSync(join(folder, cgroupV2 ? 'memory.max' : 'memory.limit_in_bytes'), `${6 << 20}`);
    writeFileSync(join(folder, 'cgroup.procs'), `${shim}`);
    writeFileSync(`/proc/${shim}/oom_score_adj`, '1000');
    const cmd = ['/bin/sh', '-c', 'head -c 15000000 /dev/zero'];
    await assert.rejects(daemon.runtime.execSync({ containerId: running, cmd, timeout: 60n }));
    await until('the kill', async () => !existsSync(`/proc/${shim}/exe`) || isDead(shim));
    const counts = readFileSync(join(folder, cgroupV2 ? 'memory.events' : 'memory.oom_control'), 'utf8');
    assert.match(counts, /oom_kill [1-9]/, 'it was the kernel');
  } finally {
    await until('the end of all in it', async () => readFileSync(join(folder, 'cgroup.procs'), 'utf8') === '');
    rmdirSync(folder);
  }
}

/** Ended, whether or not somebody has asked how. */
function isDead(pid: number): boolean {
  try {
    return /^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}

/** Runs it, and says what was seen; `say` hears how far it is. */
export async function sweepShims(
  daemon: TestDaemon,
  image: string,
  { seed, times }: ShimsVolume,
  say: (text: string) => void = () => {},
): Promise<ShimsTotal> {
  const random = randomFrom(seed);
  const total: ShimsTotal = { strikes: {}, slowestMs: 0, faults: [] };
  const names = Object.keys(strikes);
  for (let time = 0; time < times; time++) {
    const name = time < names.length ? names[time]! : oneOf(random, names);
    total.strikes[name] = (total.strikes[name] ?? 0) + 1;
    try {
      const tookMs = await strike(daemon, image, time, strikes[name]!);
      total.slowestMs = Math.max(total.slowestMs, Math.round(tookMs));
      if (tookMs > truthMs * slowness) total.faults.push(`${name}: the truth took ${tookMs.toFixed(0)} ms`);
    } catch (error) {
      total.faults.push(`${name}: ${error instanceof Error ? error.message : error}`);
    }
    if (time % 10 === 9) say(JSON.stringify(total));
  }
  return total;
}

/** Returns how long it took until what is told was true. */
async function strike(
  daemon: TestDaemon,
  image: string,
  time: number,
  does: (victim: Victim) => Promise<void>,
): Promise<number> {
  const { runtime } = daemon;
  const config = time % 2 === 0 ? {} : hostNetwork;
  const pod = await TestPod.run(daemon, `victim-${time}`, config);
  const running = await pod.talking('running', image, 'trap "" TERM; while :; do echo line; sleep 0.1; done', config);
  const created = await pod.create('created', image, { command: ['/bin/true'], ...config });
  const { info } = await runtime.containerStatus({ containerId: running, verbose: true });
  const pid: number = JSON.parse(info.info!).pid;
  const shim = shimPid(daemon, pod.id);
  await does({ daemon, pod, running, created, pid, shim });
  const begin = performance.now();
  await until('the truth', async () => {
    const { containers } = await runtime.listContainers({ filter: { id: running } });
    return containers[0]!.state === ContainerState.CONTAINER_EXITED;
  });
  const tookMs = performance.now() - begin;
  // One that is stopped is asked first, and has its time to answer.
  await until('the end of the pod', async () => (await pod.status()).state === PodSandboxState.SANDBOX_NOTREADY);
  await until('the end of its process', async () => isDead(pid));
  const { status } = await runtime.containerStatus({ containerId: running });
  assert.ok([137, 255].includes(status!.exitCode), `exit code ${status!.exitCode}`);
  await assert.rejects(runtime.startContainer({ containerId: created }));
  await pod.remove();
  await (await TestPod.run(daemon, `victim-${time}`, config)).remove();
  return tookMs;
}
