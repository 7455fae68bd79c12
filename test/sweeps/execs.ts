// Row 14 of the promises: commands in containers, many at once and many in a row, and while their container ends. Nothing of
// them stays in the daemon, which must have been started as `inspectable`, nor in the shim.
import assert from 'node:assert/strict';
import { status as grpc } from '@grpc/grpc-js';
import { pidsIn } from '../../src/sys/cgroups.ts';
import type { TestDaemon } from '../harness/daemon.ts';
import { grown, Inspector } from '../harness/lifecycles.ts';
import { hostNetwork, TestPod, until, untilExited } from '../harness/pods.ts';
import { heldBy, shimPid } from './held.ts';

export type ExecsVolume = {
  readonly atOnce: number;
  readonly inARow: number;
  /** Containers that end while eight commands run in each. */
  readonly ends: number;
};

export type ExecsTotal = {
  execs: number;
  ends: number;
  /** By the commands in a row, but for the first tenth. */
  heapGrewMB: number;
  rssGrewMB: number;
  shimGrewKB: number;
  faults: string[];
};

const heapNoiseMB = 3;
const shimNoiseKB = 64;
const commandsInEnding = 8;
/** What a client may be told of a command whose container ended. */
const fair = [grpc.UNAVAILABLE, grpc.INTERNAL, grpc.FAILED_PRECONDITION, grpc.NOT_FOUND];

/** Runs it, and says what was seen; `say` hears how far it is. */
export async function sweepExecs(
  daemon: TestDaemon,
  image: string,
  { atOnce, inARow, ends }: ExecsVolume,
  say: (text: string) => void = () => {},
): Promise<ExecsTotal> {
  using inspector = await Inspector.open(daemon);
  const total: ExecsTotal = { execs: 0, ends: 0, heapGrewMB: 0, rssGrewMB: 0, shimGrewKB: 0, faults: [] };
  const pod = await TestPod.run(daemon, 'execs', hostNetwork);
  const containerId = await pod.sh('c', image, 'sleep 1000000', hostNetwork);
  const shim = shimPid(daemon, pod.id);
  const exec = async () => {
    const number = total.execs++;
    const cmd = ['/bin/sh', '-c', `echo ${number}; exit ${number % 100}`];
    const { stdout, exitCode } = await daemon.runtime.execSync({ containerId, cmd, timeout: 100n });
    const said = `${Buffer.from(stdout).toString().trim()} ${exitCode}`;
    if (said !== `${number} ${number % 100}`) total.faults.push(`command ${number} answered ${said}`);
  };
  const clean = heldBy(shim);
  await Promise.all(Array.from({ length: atOnce }, exec));
  say(`${atOnce} at once: ${total.faults.length} faults`);
  const row = async (count: number) => {
    for (let n = 0; n < count; n++) {
      await exec();
      if (total.execs % 1000 === 0) say(`${total.execs}: shim ${JSON.stringify(heldBy(shim))}`);
    }
  };
  await row(Math.ceil(inARow / 10));
  const [before, shimBefore] = [await inspector.size(), heldBy(shim)];
  await row(inARow - Math.ceil(inARow / 10));
  const [after, shimAfter] = [await inspector.size(), heldBy(shim)];
  total.heapGrewMB = after.heapMB - before.heapMB;
  total.rssGrewMB = after.rssMB - before.rssMB;
  total.shimGrewKB = shimAfter.rssKB - shimBefore.rssKB;
  const open = grown(before, after);
  if (open.length > 0) total.faults.push(`the daemon has open: ${open.join(', ')}`);
  if (total.heapGrewMB > heapNoiseMB) total.faults.push(`the heap grew by ${total.heapGrewMB.toFixed(1)} MB`);
  if (shimAfter.descriptors > clean.descriptors)
    total.faults.push(`the shim has ${shimAfter.descriptors} open, ${clean.descriptors} before all`);
  if (total.shimGrewKB > shimNoiseKB) total.faults.push(`the shim grew by ${total.shimGrewKB} KB`);
  await pod.remove();
  for (; total.ends < ends; total.ends++) {
    const fault = await endAmidExecs(daemon, image, total.ends);
    if (fault) total.faults.push(fault);
    total.execs += commandsInEnding;
  }
  return total;
}

/** The container ends by itself, by a stop, with its pod, in turn. Undefined, or what was wrong. */
async function endAmidExecs(daemon: TestDaemon, image: string, time: number): Promise<string | undefined> {
  const { runtime } = daemon;
  const pod = await TestPod.run(daemon, `ending-${time}`, hostNetwork);
  const containerId = await pod.sh('c', image, 'until [ -e /end ]; do usleep 10000; done; exit 5', hostNetwork);
  const cgroup = `/${daemon.name}/${pod.id}/${containerId}`;
  const cmd = ['/bin/sh', '-c', 'trap "" TERM HUP; touch /begun-$$; while :; do sleep 1; done'];
  const execs = Array.from({ length: commandsInEnding }, () => runtime.execSync({ containerId, cmd, timeout: 100n }));
  const results = Promise.allSettled(execs);
  // With some of them still on their way, by the number of the time.
  await until('the commands', async () => (await pidsIn(cgroup)).length > time % (2 * commandsInEnding));
  if (time % 3 === 0)
    await runtime.execSync({ containerId, cmd: ['/bin/touch', '/end'], timeout: 20n }).catch(() => {});
  else if (time % 3 === 1) await runtime.stopContainer({ containerId, timeout: 0n });
  else await runtime.stopPodSandbox({ podSandboxId: pod.id });
  const begin = performance.now();
  const ended = await results;
  const tookMs = performance.now() - begin;
  await untilExited(daemon, containerId);
  const left = await pidsIn(cgroup);
  await pod.remove();
  if (left.length > 0) return `${left.length} processes are left of commands whose container ended`;
  if (tookMs > 20_000) return `commands ended ${tookMs.toFixed(0)} ms after their container`;
  const wrong = ended.map((end) => {
    if (end.status === 'fulfilled') return end.value.exitCode === 137 ? '' : `exit code ${end.value.exitCode}`;
    const { code, details } = end.reason as { code: number; details: string };
    return fair.includes(code) ? '' : `${grpc[code] ?? code}: ${details}`;
  });
  const said = wrong.find((text) => text !== '');
  assert.ok(ended.length === commandsInEnding);
  return said && `a command whose container ended (${time % 3}): ${said}`;
}
