// Row 20 of the promises: pods come and go while commands run in one that stays and images go and come back; what the daemon
// and that pod's shim hold must not grow. Needs a daemon that was started as `inspectable`.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestDaemon } from '../harness/daemon.ts';
import { grown, Inspector, lifecycles, type Size } from '../harness/lifecycles.ts';
import { hostNetwork, TestPod } from '../harness/pods.ts';
import type { Bench } from '../harness/suite.ts';
import { type Held, heldBy, shimPid } from './held.ts';
import { slope } from './slope.ts';

export type ChurnVolume = { readonly minutes: number };
export type ChurnTotal = {
  pods: number;
  execs: number;
  pulls: number;
  /** Of the second half of the time, from when all that is kept to a bound has filled. */
  heapMBAnHour: number;
  rssMBAnHour: number;
  first: string;
  last: string;
  faults: string[];
};

const podsARound = 40;
const execsARound = 120;
const pullsARound = 3;
/** Of garbage that a collection left, over an hour. */
const heapNoiseMB = 4;

/** Runs it, and says what was seen; a call that fails ends it. `say` hears how far it is. */
export async function sweepChurn(
  { daemon, image }: Bench,
  { minutes }: ChurnVolume,
  say: (text: string) => void = () => {},
): Promise<ChurnTotal> {
  using inspector = await Inspector.open(daemon);
  const total: ChurnTotal = {
    ...{ pods: 0, execs: 0, pulls: 0, heapMBAnHour: 0, rssMBAnHour: 0, first: '', last: '', faults: [] },
  };
  const pod = await TestPod.run(daemon, 'stays', hostNetwork);
  const containerId = await pod.start('c', image.busybox, { command: ['/bin/sleep', '1000000'], ...hostNetwork });
  const shim = shimPid(daemon, pod.id);
  const execs = async () => {
    for (let n = 0; n < execsARound; n += 2) await Promise.all([exec(daemon, containerId), exec(daemon, containerId)]);
    total.execs += execsARound;
  };
  const pulls = async () => {
    for (let n = 0; n < pullsARound; n++) {
      await daemon.images.removeImage({ image: { image: image.nginx } });
      await daemon.images.pullImage({ image: { image: image.nginx } });
      total.pulls++;
    }
  };
  const seen: { hours: number; size: Size; shim: Held; files: number }[] = [];
  const begin = performance.now();
  const hours = () => (performance.now() - begin) / 3_600_000;
  while (hours() * 60 < minutes) {
    await Promise.all([lifecycles(daemon, image.busybox, podsARound, total.pods), execs(), pulls()]);
    total.pods += podsARound;
    seen.push({ hours: hours(), size: await inspector.size(), shim: heldBy(shim), files: filesOf(daemon) });
    if (seen.length % 20 === 0) say(`${JSON.stringify(total)} ${said(seen.at(-1)!)}`);
  }
  const late = seen.slice(Math.floor(seen.length / 2));
  const [first, last] = [late[0]!, late.at(-1)!];
  Object.assign(total, { first: said(first), last: said(last) });
  const of = (value: (size: Size) => number) => slope(late.map(({ hours: at, size }) => [at, value(size)]));
  total.heapMBAnHour = of(({ heapMB }) => heapMB);
  total.rssMBAnHour = of(({ rssMB }) => rssMB);
  const growth = total.heapMBAnHour * (last.hours - first.hours);
  if (growth > heapNoiseMB) total.faults.push(`the heap grew by ${growth.toFixed(1)} MB`);
  const open = late.map(({ size }) => grown(first.size, size));
  if (open.every((kinds, index) => index === 0 || kinds.length > 0) && late.length > 1)
    total.faults.push(`open: ${open.at(-1)!.join(', ')}`);
  if (last.size.threads > first.size.threads) total.faults.push(`${last.size.threads} threads`);
  if (last.shim.descriptors > first.shim.descriptors) total.faults.push(`the shim: ${last.shim.descriptors} open`);
  if (last.shim.rssKB > first.shim.rssKB + 64) total.faults.push(`the shim holds ${last.shim.rssKB} KB`);
  if (last.files > first.files) total.faults.push(`${last.files} files below data_dir, ${first.files} before`);
  await pod.remove();
  return total;
}

async function exec(daemon: TestDaemon, containerId: string): Promise<void> {
  const cmd = ['/bin/echo', 'said'];
  const { stdout, exitCode } = await daemon.runtime.execSync({ containerId, cmd, timeout: 60n });
  const text = `${exitCode} ${Buffer.from(stdout)}`;
  if (text !== '0 said\n') throw new Error(`A command answered ${JSON.stringify(text)}`);
}

const said = ({ hours, size, shim, files }: { hours: number; size: Size; shim: Held; files: number }): string =>
  `${(hours * 60).toFixed(0)} min: heap ${size.heapMB.toFixed(1)} MB, resident ${size.rssMB.toFixed(1)} MB, ` +
  `${size.threads} threads, ${[...size.open.values()].reduce((sum, n) => sum + n, 0)} open; ` +
  `shim ${shim.rssKB} KB, ${shim.descriptors} open; ${files} files`;

/** Records, layers and blobs; not what is in the layers. */
function filesOf(daemon: TestDaemon): number {
  const count = (folder: string, depth: number): number =>
    readdirSync(folder, { withFileTypes: true }).reduce(
      (sum, entry) => sum + 1 + (entry.isDirectory() && depth > 0 ? count(join(folder, entry.name), depth - 1) : 0),
      0,
    );
  return count(join(daemon.dataDir, 'v1'), 2);
}
