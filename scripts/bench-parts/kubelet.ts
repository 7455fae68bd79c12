// Pods under a kubelet, ready by a probe: what a user waits for, with Berth and its peer in turn. On a host of the bench's own.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { endProcess } from '../../src/sys/end-process.ts';
import { continueOnOwnHost, hostName } from '../../test/harness/own-host.ts';
import { until } from '../../test/harness/pods.ts';
import { startTestRegistry } from '../../test/images/index.ts';
import { ensureKubelet } from '../../test/kubernetes/index.ts';
import { isReady, Kubelet } from '../../test/kubernetes/kubelet.ts';
import { countOf, optionsOf } from '../options.ts';
import { type Contestant, startBerth, startPeer } from './contestant.ts';
import { heading, median, printTable, type Row } from './table.ts';
import { busybox } from './workload.ts';

const { values } = optionsOf('scripts/bench --help', {
  options: {
    short: { type: 'boolean', default: false },
    json: { type: 'string', default: '' },
    containerd: { type: 'string', default: '' },
    rounds: { type: 'string', default: '' },
    pods: { type: 'string', default: '' },
  },
});
const rounds = countOf('rounds', values.rounds || (values.short ? '1' : '8'));
const count = countOf('pods', values.pods || (values.short ? '3' : '10'));
await continueOnOwnHost(ensureKubelet);

const registry = await startTestRegistry();
const image = busybox(registry);

/** A kubelet of each contestant's; both run all the time, so that each has the other's idleness beside it. */
class BenchNode {
  readonly who: Contestant;
  readonly kubelet: Kubelet;
  readonly dir: string;

  constructor(who: Contestant, port: number) {
    this.who = who;
    this.dir = mkdtempSync(join(tmpdir(), 'berth-bench-node-'));
    const settings = { healthzPort: 0, maxPods: 500, registryPullQPS: 0 };
    this.kubelet = new Kubelet({ dir: this.dir, name: `bt${hostName}x${port}`, socket: who.socket, port }, settings);
  }

  /** Milliseconds from the manifests until the last container ran, and until kubelet had every pod ready. */
  async life(): Promise<{ started: number; ready: number }> {
    await this.#gone(); // of the life before
    const names = Array.from({ length: count }, (_, index) => `pod-${index}`);
    const [wall, begin] = [Date.now(), performance.now()];
    for (const name of names) this.kubelet.apply(name, { terminationGracePeriodSeconds: 1, containers: [container] });
    await until(`${count} ready pods with ${this.who.name}`, () => this.#readies(), 120_000);
    const ready = performance.now() - begin;
    const { containers } = await this.who.runtime.listContainers({});
    const starts = containers.map(async ({ id }) => {
      const { status } = await this.who.runtime.containerStatus({ containerId: id });
      return Number(status!.startedAt) / 1e6;
    });
    const started = Math.max(...(await Promise.all(starts))) - wall;
    for (const name of names) this.kubelet.remove(name);
    await this.#gone();
    return { started, ready };
  }

  async #readies(): Promise<boolean> {
    await delay(20); // kubelet, which is asked, has other things to do
    const { items } = JSON.parse(await this.kubelet.get('/pods')) as { items: Parameters<typeof ready>[0][] | null };
    return items?.length === count && items.every(ready);
  }

  /** kubelet ends the pods; what is left of them is removed here, as it would take its time. */
  async #gone(): Promise<void> {
    const live = async () => (await this.who.runtime.listPodSandbox({ filter: { state: { state: 0 } } })).items;
    await until('the end of the pods', async () => (await live()).length === 0, 120_000);
    await until('no pod to be left', async () => {
      const { items } = await this.who.runtime.listPodSandbox({});
      // kubelet removes containers meanwhile, which the peer takes for an error.
      await Promise.allSettled(items.map(({ id }) => this.who.runtime.removePodSandbox({ podSandboxId: id })));
      return items.length === 0;
    });
    await until('kubelet to know of none', async () => JSON.parse(await this.kubelet.get('/pods')).items === null);
  }

  async dispose(): Promise<void> {
    await this.kubelet.dispose();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
const ready = ({ status }: { status: Parameters<typeof isReady>[0] }) => isReady(status);

const container = {
  name: 'main',
  image,
  command: ['/bin/sleep', '10000'],
  readinessProbe: { exec: { command: ['/bin/true'] }, periodSeconds: 1 },
};

async function main(): Promise<void> {
  await using berth = await startBerth('runc'); // what containerd takes where a pod asks for none
  await using peer = await startPeer({ peer: '', containerd: values.containerd }, registry.address);
  for (const { images } of [berth, peer]) await images.pullImage({ image: { image } });
  const nodes = [new BenchNode(berth, 10_250), new BenchNode(peer, 10_350)];
  const lives: { started: number; ready: number }[][] = nodes.map(() => []);
  try {
    for (const { kubelet } of nodes) await kubelet.start();
    for (const node of nodes) await node.life(); // one that does not count
    for (let round = 0; round < rounds; round++) {
      for (const [index, node] of nodes.entries()) lives[index]!.push(await node.life());
    }
  } finally {
    for (const node of nodes) await node.dispose();
  }
  const pick = (key: 'started' | 'ready') => lives.map((own) => own.map((life) => life[key]));
  const rows: Row[] = [
    { what: `${count} pods started`, unit: 'ms', figures: pick('started'), target: '<= 0.6 x peer' },
    { what: `${count} pods ready, by exec probe`, unit: 'ms', figures: pick('ready'), target: '<= 0.6 x peer' },
  ];
  console.log(`${heading(rounds, 'runc')}\n`);
  printTable(
    nodes.map(({ who }) => who.name),
    rows,
  );
  for (const {
    what,
    figures: [own = [], other = []],
  } of rows) {
    console.log(
      `${what}: median of ${rounds} paired ratios ${median(own.map((ms, at) => ms / other[at]!)).toFixed(2)}`,
    );
  }
  if (values.json) writeFileSync(values.json, JSON.stringify({ date: new Date(), rounds, count, lives }));
}

try {
  await main();
} finally {
  await registry[Symbol.asyncDispose]();
}
endProcess(0);
