// Runs one sweep at full volume: of test/sweeps, with a daemon of its own and the leak check around it, or of tests, repeated.
import { spawnSync } from 'node:child_process';
import { endProcess } from '../src/sys/end-process.ts';
import { TestDaemon } from '../test/harness/daemon.ts';
import { assertNoLeak, footprint } from '../test/harness/leak-check.ts';
import { inspectable } from '../test/harness/lifecycles.ts';
import { continueOnOwnHost } from '../test/harness/own-host.ts';
import { type Bench, endTestRegistry, pullTestImages } from '../test/harness/suite.ts';
import { sweepChaos } from '../test/sweeps/chaos.ts';
import { sweepChurn } from '../test/sweeps/churn.ts';
import { sweepClocks } from '../test/sweeps/clocks.ts';
import { sweepCuts } from '../test/sweeps/cuts.ts';
import { SickDisks } from '../test/sweeps/disks.ts';
import { sweepExecs } from '../test/sweeps/execs.ts';
import { sweepLines } from '../test/sweeps/lines.ts';
import { sweepShims } from '../test/sweeps/shims.ts';
import { upgrade } from '../test/sweeps/upgrade.ts';
import { countOf, optionsOf, refuse } from './options.ts';

const { values, positionals } = optionsOf('scripts/sweep --help', {
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: `${1 + (Date.now() % 1_000_000)}` },
    lines: { type: 'string', default: '1000000' },
    kills: { type: 'string', default: '100' },
    reopens: { type: 'string', default: '1000' },
    minutes: { type: 'string', default: '10' },
    points: { type: 'string', default: '20' },
    jumps: { type: 'string', default: '20' },
    execs: { type: 'string', default: '10000' },
    'at-once': { type: 'string', default: '500' },
    ends: { type: 'string', default: '100' },
    offsets: { type: 'string', default: '20' },
    other: { type: 'string', default: '' },
    rounds: { type: 'string', default: '10' },
    times: { type: 'string', default: '10' },
  },
});
const { other, ...counts } = values;
/** Every other option is a number. */
const volume = Object.fromEntries(
  Object.entries(counts).map(([option, text]) => [option, countOf(option, text, 0)]),
) as Record<keyof typeof counts, number>;
const { seed } = volume;
const say = (text: string) => console.error(`${new Date().toISOString()} ${text}`);

type Sweep = (bench: Bench) => Promise<object>;
const sweeps: Record<string, Sweep> = {
  lines: ({ daemon, image }) => {
    const { lines, kills, reopens } = volume;
    return sweepLines(daemon, image.busybox, { seed, lines, kills, reopens, killsWhileReopening: kills / 5 }, say);
  },
  model: ({ daemon, image }) =>
    sweepChaos(daemon, image.busybox, { seed, calls: Infinity, minutes: volume.minutes, clients: 6 }, say),
  churn: (bench) => sweepChurn(bench, { minutes: volume.minutes }, say),
  shims: ({ daemon, image }) => sweepShims(daemon, image.busybox, { seed, times: volume.times }, say),
  execs: ({ daemon, image }) => {
    const { 'at-once': atOnce, execs: inARow, ends } = volume;
    return sweepExecs(daemon, image.busybox, { atOnce, inARow, ends }, say);
  },
  kills: ({ daemon, image }) => {
    const chaos = { seed, calls: Infinity, clients: 6, kills: volume.kills, bystanders: 20 };
    return sweepChaos(daemon, image.busybox, chaos, say);
  },
  cuts: (bench) => sweepCuts(bench, { seed, points: volume.points }, say),
};

/** Rows whose faults are those of tests: their files, whole instead of samples, again and again. */
const repeated: Record<string, readonly string[]> = {
  crashes: ['test/crash/crash.test.ts'], // row 1
  files: ['test/degraded/behind-our-back.test.ts'], // 6
  'oci-runtimes': ['test/degraded/oci-runtime.test.ts'], // 4
  plugins: ['test/degraded/cni-plugins.test.ts', 'test/node/failures-plugins.test.ts'], // 5
  registries: ['test/hostile/registry.test.ts', 'test/node/pull-faults.test.ts', 'test/hostile/manifests.test.ts'], // 8, 9
  requests: ['test/node/hostile-requests.test.ts'], // 11
  ends: ['test/node/ends.test.ts'], // 16
  reboots: ['test/degraded/reboot.test.ts'], // 17
  signals: ['test/degraded/sigterm.test.ts', 'test/node/daemon.test.ts'], // 18
};

function repeat(files: readonly string[], times: number): void {
  for (let time = 1; time <= times; time++) {
    const run = spawnSync('scripts/test', ['--slow', ...files], { encoding: 'utf8', maxBuffer: 1 << 30 });
    const last = run.stdout.trimEnd().split('\n').at(-1);
    say(`${time} of ${times}: ${last}`);
    if (run.status !== 0) {
      console.log(run.stdout);
      endProcess(1);
    }
  }
  console.log(JSON.stringify({ row, times }));
  endProcess(0);
}

/** Sweeps with a daemon of their own making. */
const others: Record<string, () => Promise<object>> = {
  upgrade: () => upgrade(other, volume.rounds),
  clocks: async () => {
    const total = await sweepClocks({ seed, jumps: volume.jumps }, say);
    await endTestRegistry();
    return total;
  },
  disks: async () => {
    await using sick = await SickDisks.start();
    const total = await sick.sweep({ seed, offsets: volume.offsets }, say);
    await endTestRegistry();
    return total;
  },
};

const [row = ''] = positionals;
const rows = Object.keys({ ...sweeps, ...others, ...repeated });
if (!rows.includes(row)) refuse(`There is no sweep ${JSON.stringify(row)}: ${rows.join(', ')}`);
if (Object.hasOwn(repeated, row)) repeat(repeated[row]!, volume.times);
await continueOnOwnHost();
if (Object.hasOwn(others, row)) {
  say(`${row}, seed ${seed}`);
  const total = await others[row]!();
  console.log(JSON.stringify({ row, seed, ...total }));
  endProcess('faults' in total && (total.faults as unknown[]).length > 0 ? 1 : 0);
}
say(`${row}, seed ${seed}`);
const daemon = new TestDaemon(row === 'churn' || row === 'execs' ? { env: inspectable } : {});
await daemon.start();
try {
  const image = await pullTestImages(daemon);
  const clean = footprint(daemon);
  const total = await sweeps[row]!({ daemon, image });
  console.log(JSON.stringify({ row, seed, ...total }));
  if ('faults' in total && (total.faults as unknown[]).length > 0) process.exitCode = 1;
  await daemon.removePods();
  assertNoLeak(clean, footprint(daemon));
} finally {
  await daemon.dispose();
  await endTestRegistry();
}
