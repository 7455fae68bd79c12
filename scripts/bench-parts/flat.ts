// Does a full node cost more per pod than an empty one? The same figures with 1, 100 and 500 pods there.
import { writeFileSync } from 'node:fs';
import { endProcess } from '../../src/sys/end-process.ts';
import { startTestRegistry } from '../../test/images/index.ts';
import { countOf, optionsOf } from '../options.ts';
import { type Contestant, pss, type Restart, restartsOf, startBerth, startPeer } from './contestant.ts';
import { cniChain, ociRuntime, removeFloorBridge } from './floor.ts';
import { heading, printGrowth, type Row } from './table.ts';
import { busybox, clock, eightAtOnce, type PodUp, podDown, podUp, removeLogs } from './workload.ts';

const { values } = optionsOf('scripts/bench --help', {
  allowNegative: true,
  options: {
    short: { type: 'boolean', default: false },
    json: { type: 'string', default: '' },
    peer: { type: 'boolean', default: true },
    containerd: { type: 'string', default: '' },
    rounds: { type: 'string', default: '' },
    sizes: { type: 'string', default: '' },
  },
});
const rounds = countOf('rounds', values.rounds || (values.short ? '2' : '10'));
const sizes = (values.sizes || (values.short ? '1,8,16' : '1,100,500'))
  .split(',')
  .map((size) => countOf('sizes', size));
const ofCrowd = { hostNetwork: true, handler: 'crun' } as const;

const registry = await startTestRegistry();
const image = busybox(registry);

/** A node as it fills. */
type Node = { readonly who: Contestant; readonly pods: PodUp[] };
type Measure = Pick<Row, 'what' | 'unit' | 'target'> & {
  /** How many figures; one more, the first, does not count. */
  readonly times: number;
  readonly figure: (node: Node) => Promise<number> | number;
};

async function life(who: Contestant, hostNetwork: boolean): Promise<number> {
  const pod = await podUp(who, image, { hostNetwork, handler: 'crun' });
  await podDown(who, pod);
  return pod.up;
}

const call = (work: (who: Contestant) => Promise<unknown>) => async (node: Node) =>
  (await clock(() => work(node.who)))[0];

const measures: readonly Measure[] = [
  {
    what: 'pod up: run + create + start, CNI',
    unit: 'ms',
    times: rounds,
    target: '<= 1.15 x at 100',
    figure: ({ who }) => life(who, false),
  },
  {
    what: 'pod up, host network',
    unit: 'ms',
    times: rounds,
    target: '<= 1.15 x at 100',
    figure: ({ who }) => life(who, true),
  },
  {
    what: 'floor: CNI ADD and crun create + start by hand',
    unit: 'ms',
    times: rounds,
    target: '',
    figure: async () => (await cniChain()).add + (await ociRuntime('/usr/bin/crun')).up,
  },
  {
    what: 'ExecSync true',
    unit: 'ms',
    times: rounds * 3,
    target: '',
    figure: async ({ who, pods }) => {
      const { containerId } = pods[0]!;
      return (await clock(() => who.runtime.execSync({ containerId, cmd: ['/bin/true'], timeout: 10n })))[0];
    },
  },
  {
    what: 'ListPodSandbox',
    unit: 'ms',
    times: rounds * 5,
    target: '<= 1 ms at 60, <= 10 ms at 1,000',
    figure: call((who) => who.runtime.listPodSandbox({})),
  },
  {
    what: 'ListContainers',
    unit: 'ms',
    times: rounds * 5,
    target: '<= 1 ms at 60, <= 10 ms at 1,000',
    figure: call((who) => who.runtime.listContainers({})),
  },
  {
    what: 'ListContainerStats',
    unit: 'ms',
    times: rounds,
    target: '<= 20 ms at 60',
    figure: call((who) => who.runtime.listContainerStats({})),
  },
  {
    what: 'ListPodSandboxStats',
    unit: 'ms',
    times: rounds,
    target: '',
    figure: call((who) => who.runtime.listPodSandboxStats({})),
  },
  {
    what: 'memory per pod but the workload, PSS',
    unit: 'MB',
    times: 0,
    target: '<= 0.30 MB',
    figure: ({ who, pods }) => pss(who.keepers()) / pods.length / 1e6,
  },
  {
    what: 'daemon, PSS',
    unit: 'MB',
    times: 0,
    target: '<= 95 MB at 60',
    figure: ({ who }) => pss([who.daemon()]) / 1e6,
  },
];

async function fill({ who, pods }: Node, size: number): Promise<void> {
  await eightAtOnce(size - pods.length, async () => pods.push(await podUp(who, image, ofCrowd)));
}

async function drain({ who, pods }: Node, size: number): Promise<void> {
  const gone = pods.splice(size);
  await eightAtOnce(gone.length, (index) => podDown(who, gone[index]!));
}

async function figuresOf(node: Node, { times, figure }: Measure): Promise<number[]> {
  const all = [await figure(node)];
  while (all.length <= times) all.push(await figure(node));
  return times === 0 ? all : all.slice(1);
}

/** The first size is measured again at the end: what the machine or the daemon's age changed is in its spread. */
async function grow(who: Contestant): Promise<Row[]> {
  const node: Node = { who, pods: [] };
  const figures = measures.map(() => sizes.map((): number[] => []));
  const restarts: Restart[][] = [];
  const measure = async (at: number) => {
    for (const [row, one] of measures.entries()) figures[row]![at]!.push(...(await figuresOf(node, one)));
  };
  for (const [at, size] of sizes.entries()) {
    await fill(node, size);
    await measure(at);
    restarts.push(await restartsOf(who, 7));
  }
  await drain(node, sizes[0]!);
  await measure(0);
  await drain(node, 0);
  await removeFloorBridge();
  return [
    ...measures.map((one, row) => ({ ...one, figures: figures[row]! })),
    {
      what: 'SIGKILL to serving again',
      unit: 'ms' as const,
      figures: restarts.map((some) => some.map(({ serving }) => serving)),
      target: '<= 240 ms at 100',
    },
    {
      what: 'SIGKILL until all is mended',
      unit: 'ms' as const,
      figures: restarts.map((some) => some.map(({ mended }) => mended)),
      target: '<= 500 ms at 100',
    },
  ].filter((row) => row.figures.some((one) => one.length > 0));
}

async function main(): Promise<void> {
  const tables: Record<string, Row[]> = {};
  const labels = sizes.map((size) => `${size} ${size === 1 ? 'pod' : 'pods'}`);
  console.log(heading(rounds));
  const starts = [
    startBerth,
    ...(values.peer && !values.short
      ? [() => startPeer({ peer: '', containerd: values.containerd }, registry.address)]
      : []),
  ];
  for (const start of starts) {
    await using who = await start();
    await who.images.pullImage({ image: { image } });
    const rows = await grow(who);
    console.log(`\n${who.name}:\n`);
    printGrowth(labels, rows);
    tables[who.name] = rows;
  }
  if (values.json) writeFileSync(values.json, JSON.stringify({ sizes, tables }, null, 2));
}

try {
  await main();
} finally {
  removeLogs();
  await registry[Symbol.asyncDispose]();
}
endProcess(0);
