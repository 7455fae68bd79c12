// Runs one sweep of test/sweeps at full volume, with a daemon of its own and the leak check around it.
import { parseArgs } from 'node:util';
import { TestDaemon } from '../test/harness/daemon.ts';
import { assertNoLeak, footprint } from '../test/harness/leak-check.ts';
import { type Bench, endTestRegistry, pullTestImages } from '../test/harness/suite.ts';
import { sweepChaos } from '../test/sweeps/chaos.ts';
import { sweepCuts } from '../test/sweeps/cuts.ts';
import { sweepLines } from '../test/sweeps/lines.ts';
import { upgrade } from '../test/sweeps/upgrade.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: `${1 + (Date.now() % 1_000_000)}` },
    lines: { type: 'string', default: '1000000' },
    kills: { type: 'string', default: '100' },
    reopens: { type: 'string', default: '1000' },
    minutes: { type: 'string', default: '10' },
    points: { type: 'string', default: '20' },
    other: { type: 'string', default: '' },
    rounds: { type: 'string', default: '10' },
  },
});
const seed = Number(values.seed);
const say = (text: string) => console.error(`${new Date().toISOString()} ${text}`);

type Sweep = (bench: Bench) => Promise<object>;
const sweeps: Record<string, Sweep> = {
  lines: ({ daemon, image }) => {
    const [lines, kills, reopens] = [values.lines, values.kills, values.reopens].map(Number) as [
      number,
      number,
      number,
    ];
    return sweepLines(daemon, image.busybox, { seed, lines, kills, reopens, killsWhileReopening: kills / 5 }, say);
  },
  model: ({ daemon, image }) =>
    sweepChaos(daemon, image.busybox, { seed, calls: Infinity, minutes: Number(values.minutes), clients: 6 }, say),
  cuts: (bench) => sweepCuts(bench, { seed, points: Number(values.points) }, say),
};

const [row = ''] = positionals;
if (row === 'upgrade') {
  console.log(JSON.stringify({ row, ...(await upgrade(values.other, Number(values.rounds))) }));
  process.exit(0);
}
const sweep = Object.hasOwn(sweeps, row) ? sweeps[row] : undefined;
if (!sweep) throw new Error(`There is no sweep ${JSON.stringify(row)}: ${Object.keys(sweeps).join(', ')}`);
say(`${row}, seed ${seed}`);
const daemon = new TestDaemon({});
await daemon.start();
try {
  const image = await pullTestImages(daemon);
  const clean = footprint(daemon);
  const total = await sweep({ daemon, image });
  console.log(JSON.stringify({ row, seed, ...total }));
  await daemon.removePods();
  assertNoLeak(clean, footprint(daemon));
} finally {
  await daemon.dispose();
  await endTestRegistry();
}
