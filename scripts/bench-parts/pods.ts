// Pods, containers, exec, lists, memory, logs: every row of the speed table, Berth and its peer in turn.
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { endProcess } from '../../src/sys/end-process.ts';
import { startTestRegistry } from '../../test/images/index.ts';
import { countOf, oneOf, optionsOf } from '../options.ts';
import { type Contestant, processorMs, pss, restartsOf, startBerth, startBuild, startPeer } from './contestant.ts';
import { cniChain, ociRuntime, removeFloorBridge } from './floor.ts';
import { heading, printTable, type Row } from './table.ts';
import {
  busybox,
  clock,
  containerIn,
  eightAtOnce,
  type Options,
  type PodUp,
  podConfig,
  podDown,
  podUp,
  removeLogs,
} from './workload.ts';

const { values } = optionsOf('scripts/bench --help', {
  options: {
    short: { type: 'boolean', default: false },
    json: { type: 'string', default: '' },
    peer: { type: 'string', default: '' },
    build: { type: 'string', default: '' },
    containerd: { type: 'string', default: '' },
    rounds: { type: 'string', default: '' },
    runtime: { type: 'string', default: 'crun' },
  },
});
const rounds = countOf('rounds', values.rounds || (values.short ? '2' : '10'));
const crowd = values.short ? 6 : 60;
const programs = { crun: '/usr/bin/crun', runc: '/usr/sbin/runc' } as const;
const handler = oneOf('runtime', values.runtime, ['crun', 'runc']);
const withCni: Options = { hostNetwork: false, handler };
const onHost: Options = { hostNetwork: true, handler };

const registry = await startTestRegistry();
const image = busybox(registry);
type Life = { run: number; container: number; up: number; down: number };

async function life(who: Contestant, options: Options): Promise<Life> {
  const pod = await podUp(who, image, options);
  const [down] = await clock(() => podDown(who, pod));
  return { ...pod, down };
}

/** Each contestant in turn, `rounds` times, after one round that does not count. */
async function inTurn<T>(
  contestants: readonly Contestant[],
  measure: (who: Contestant) => Promise<T>,
  times = rounds,
): Promise<T[][]> {
  for (const who of contestants) await measure(who);
  const all: T[][] = contestants.map(() => []);
  for (let round = 0; round < times; round++) {
    for (const [index, who] of contestants.entries()) all[index]!.push(await measure(who));
  }
  return all;
}

const pick = (lives: readonly (readonly Life[])[], key: keyof Life) => lives.map((own) => own.map((one) => one[key]));

async function floors() {
  const cni: Awaited<ReturnType<typeof cniChain>>[] = [];
  const oci: Awaited<ReturnType<typeof ociRuntime>>[] = [];
  await cniChain();
  for (let round = 0; round < rounds; round++) {
    cni.push(await cniChain());
    oci.push(await ociRuntime(programs[handler]));
  }
  await removeFloorBridge();
  const sum = (a: readonly number[], b: readonly number[]) => a.map((value, index) => value + b[index]!);
  const add = cni.map((one) => one.add);
  const del = cni.map((one) => one.del);
  const up = oci.map((one) => one.up);
  const down = oci.map((one) => one.down);
  return { add, up, podUp: sum(add, up), podDown: sum(del, down), exec: oci.map((one) => one.exec) };
}

async function lifeRows(contestants: readonly Contestant[]): Promise<Row[]> {
  const floor = await floors();
  const cni = await inTurn(contestants, (who) => life(who, withCni));
  const host = await inTurn(contestants, (who) => life(who, onHost));
  const ms = 'ms' as const;
  return [
    {
      what: 'pod up: run + create + start, CNI',
      unit: ms,
      figures: pick(cni, 'up'),
      floor: floor.podUp,
      target: '<= 1.25 x floor, <= 0.5 x peer',
    },
    {
      what: 'pod up, host network',
      unit: ms,
      figures: pick(host, 'up'),
      floor: floor.up,
      target: '<= 1.5 x floor, <= 0.4 x peer',
    },
    { what: 'RunPodSandbox, CNI', unit: ms, figures: pick(cni, 'run'), floor: floor.add, target: '<= 1.2 x floor' },
    { what: 'RunPodSandbox, host network', unit: ms, figures: pick(host, 'run'), target: '<= 5 ms' },
    { what: 'create + start', unit: ms, figures: pick(host, 'container'), floor: floor.up, target: '<= 1.4 x floor' },
    {
      what: 'pod down: stop 0 + remove + stop + remove, CNI',
      unit: ms,
      figures: pick(cni, 'down'),
      floor: floor.podDown,
      target: '<= 1.2 x floor',
    },
    ...(await execRows(contestants, floor.exec)),
  ];
}

async function execRows(contestants: readonly Contestant[], floor: readonly number[]): Promise<Row[]> {
  const pods = await Promise.all(contestants.map((who) => podUp(who, image, onHost)));
  const exec = (who: Contestant) => {
    const { containerId } = pods[contestants.indexOf(who)]!;
    return who.runtime.execSync({ containerId, cmd: ['/bin/true'], timeout: 10n });
  };
  const one = await inTurn(contestants, async (who) => (await clock(() => exec(who)))[0], rounds * 3);
  const batch = values.short ? 16 : 80;
  const many = await inTurn(
    contestants,
    async (who) => (batch / (await clock(() => eightAtOnce(batch, () => exec(who))))[0]) * 1000,
    Math.ceil(rounds / 2),
  );
  for (const [index, who] of contestants.entries()) await podDown(who, pods[index]!);
  return [
    { what: 'ExecSync true, one at a time', unit: 'ms', figures: one, floor, target: '<= 1.3 x floor' },
    { what: 'ExecSync, 8 at once', unit: '/s', figures: many, target: '>= 1.5 x peer' },
  ];
}

/** In tens of a clock tick, since one pod takes less than one. */
async function processorRow(contestants: readonly Contestant[]): Promise<Row> {
  const count = values.short ? 8 : 24;
  const figures = await inTurn(contestants, async (who) => {
    const before = processorMs(who.daemon());
    for (let pod = 0; pod < count; pod++) await life(who, withCni);
    return (processorMs(who.daemon()) - before) / count;
  });
  return { what: 'processor of the daemon, pod up and down, CNI', unit: 'ms', figures, target: 'not more' };
}

async function throughputRow(contestants: readonly Contestant[]): Promise<Row> {
  const count = values.short ? 8 : 24;
  const figures = await inTurn(
    contestants,
    async (who) => {
      const pods: PodUp[] = [];
      const [ms] = await clock(() => eightAtOnce(count, async () => pods.push(await podUp(who, image, withCni))));
      await eightAtOnce(count, (index) => podDown(who, pods[index]!));
      return (count / ms) * 1000;
    },
    Math.ceil(rounds / 4),
  );
  return { what: 'pods per second, 8 at once, CNI', unit: '/s', figures, target: '>= 1.7 x peer' };
}

/** With many pods there: lists, stats, memory, and a restart. */
async function crowdRows(contestants: readonly Contestant[]): Promise<Row[]> {
  const pods = new Map<Contestant, PodUp[]>();
  for (const who of contestants) {
    const own: PodUp[] = [];
    await eightAtOnce(crowd, async () => own.push(await podUp(who, image, onHost)));
    pods.set(who, own);
  }
  const list = await inTurn(
    contestants,
    async (who) => (await clock(() => who.runtime.listPodSandbox({})))[0],
    rounds * 5,
  );
  const containers = await inTurn(
    contestants,
    async (who) => (await clock(() => who.runtime.listContainers({})))[0],
    rounds * 5,
  );
  const stats = await inTurn(
    contestants,
    async (who) => (await clock(() => who.runtime.listContainerStats({})))[0],
    rounds,
  );
  const perPod = contestants.map((who) => [pss(who.keepers()) / crowd / 1e6]);
  const idle = await idleProcessor(contestants);
  const daemons = contestants.map((who) => [pss([who.daemon()]) / 1e6]);
  const restarts: number[][] = [];
  for (const who of contestants) restarts.push((await restartsOf(who, 3)).map(({ serving }) => serving));
  for (const who of contestants) await eightAtOnce(crowd, (index) => podDown(who, pods.get(who)![index]!));
  return [
    { what: `ListPodSandbox, ${crowd} pods`, unit: 'ms', figures: list, target: '<= 1.0 ms' },
    { what: `ListContainers, ${crowd} pods`, unit: 'ms', figures: containers, target: '<= 1.0 ms' },
    { what: `ListContainerStats, ${crowd} pods`, unit: 'ms', figures: stats, target: '<= 20 ms' },
    { what: 'memory per pod but the workload, PSS', unit: 'MB', figures: perPod, target: '<= 0.30 MB' },
    { what: `daemon with ${crowd} pods after polling, PSS`, unit: 'MB', figures: daemons, target: '<= 95 MB' },
    { what: `idle processor of the daemon a minute, ${crowd} pods`, unit: 'ms', figures: idle, target: 'not more' },
    { what: `SIGKILL to serving again, ${crowd} pods`, unit: 'ms', figures: restarts, target: '<= 500 ms at 100 pods' },
  ];
}

/** All at the same time, as they would be in each other's way anyhow; milliseconds in a minute. */
async function idleProcessor(contestants: readonly Contestant[]): Promise<number[][]> {
  const seconds = values.short ? 10 : 60;
  const before = contestants.map((who) => processorMs(who.daemon()));
  await delay(seconds * 1000);
  return contestants.map((who, index) => [((processorMs(who.daemon()) - before[index]!) * 60) / seconds]);
}

async function logRow(contestants: readonly Contestant[]): Promise<Row> {
  const megabytes = values.short ? 20 : 200;
  const command = ['/bin/sh', '-c', `yes ${'x'.repeat(120)} | head -c ${megabytes * 1e6}`];
  const figures = await inTurn(
    contestants,
    async (who) => {
      const config = podConfig(onHost);
      const { podSandboxId } = await who.runtime.runPodSandbox({ config, runtimeHandler: handler });
      const begin = performance.now();
      const containerId = await containerIn(who, image, { podSandboxId, config }, command);
      for (;;) {
        const { status } = await who.runtime.containerStatus({ containerId });
        if (status?.state === 2) break;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      const seconds = (performance.now() - begin) / 1000;
      const written = statSync(join(config.logDirectory, 'c.log')).size;
      if (written < megabytes * 1e6) throw new Error(`${who.name} lost log lines: ${written} bytes`);
      await podDown(who, { podSandboxId, containerId });
      rmSync(config.logDirectory, { recursive: true });
      return megabytes / seconds;
    },
    Math.ceil(rounds / 4),
  );
  return { what: `log throughput, one container, ${megabytes} MB`, unit: 'MB/s', figures, target: '>= 2 x peer' };
}

async function main(): Promise<void> {
  await using berth = await startBerth();
  await using peer = values.build ? await startBuild(values.build, handler) : await startPeer(values, registry.address);
  const contestants = [berth, peer];
  for (const { images } of contestants) await images.pullImage({ image: { image } });
  const rows = [
    ...(await lifeRows(contestants)),
    await processorRow(contestants),
    await throughputRow(contestants),
    ...(await crowdRows(contestants)),
    await logRow(contestants),
  ];
  console.log(`${heading(rounds, handler)}\n`);
  printTable(
    contestants.map(({ name }) => name),
    rows,
  );
  if (values.json)
    writeFileSync(values.json, JSON.stringify({ columns: contestants.map(({ name }) => name), rows }, null, 2));
}

try {
  await main();
} finally {
  removeLogs();
  await registry[Symbol.asyncDispose]();
}
endProcess(0);
