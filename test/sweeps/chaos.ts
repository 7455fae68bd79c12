// Rows 1 and 12 of the promises: several clients make random calls on the same few ids, leave early, use short deadlines; the
// daemon and shims are killed now and then. Every answer is judged by the model. Beside them are pods that nobody asks for
// anything: their processes are the same to the end.
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { status as grpc } from '@grpc/grpc-js';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { connectTo, type Rpc } from '../../src/commands/rpc.ts';
import type { TestDaemon } from '../harness/daemon.ts';
import { hostNetwork, podConfig, TestPod } from '../harness/pods.ts';
import { type Before, containerLevels, type Known, Model, podLevels } from './model.ts';
import { oneOf, randomFrom } from './random.ts';

export type ChaosVolume = {
  readonly seed: number;
  /** Calls of all clients together; or as many as go into `minutes`. */
  readonly calls: number;
  readonly minutes?: number;
  readonly clients: number;
  /** Until the daemon was killed so often: once in each round, instead of in every second. */
  readonly kills?: number;
  /** Pods that are left alone. */
  readonly bystanders?: number;
};

export type ChaosTotal = {
  calls: number;
  /** How many calls of each kind ended how. */
  outcomes: Record<string, number>;
  daemonKills: number;
  shimKills: number;
  quiet: number;
  /** Until a daemon that started again served, as it says itself. */
  slowestStartMs: number;
  faults: string[];
};

const names = ['a', 'b', 'c'];
const containerNames = ['x', 'y'];
/** Between kills of the daemon; at each the clients come to rest, and what is there is compared with the model. */
const callsARound = 120;
/** Longer than anything here takes; a call that is not answered by then hangs. */
const hangMs = 60_000;

const podState = (state: cri.PodSandboxState) => (state === 0 ? podLevels.ready : podLevels.notReady);
const containerState = (state: cri.ContainerState) =>
  ({ 0: containerLevels.created, 1: containerLevels.running, 2: containerLevels.ended })[state as 0 | 1 | 2];

/** How the names of pods begin that are left alone. */
const bystander = 'bystander-';

async function pidOf(daemon: TestDaemon, containerId: string): Promise<number> {
  const { info } = await daemon.runtime.containerStatus({ containerId, verbose: true });
  return JSON.parse(info.info!).pid;
}

type Refusal = { readonly code: number; readonly details: string };
type Call = { readonly what: string; readonly before: Before; readonly pod?: Known; readonly container?: Known };

class Chaos {
  readonly #daemon: TestDaemon;
  readonly #image: string;
  readonly #random: () => number;
  readonly #model = new Model();
  readonly #begun = new Set<string>();
  readonly #broken = new Set<string>();
  readonly total: ChaosTotal = {
    calls: 0,
    outcomes: {},
    daemonKills: 0,
    shimKills: 0,
    quiet: 0,
    slowestStartMs: 0,
    faults: [],
  };
  /** The containers that are left alone, with their processes. */
  readonly #bystanders = new Map<string, number>();
  #client!: Rpc<cri.RuntimeServiceClient>;
  #killing = false;

  constructor(daemon: TestDaemon, image: string, seed: number) {
    this.#daemon = daemon;
    this.#image = image;
    this.#random = randomFrom(seed);
  }

  fault(text: string): void {
    this.total.faults.push(text);
  }

  async addBystanders(count: number): Promise<void> {
    const add = async (_: unknown, index: number) => {
      const pod = await TestPod.run(this.#daemon, `${bystander}${index}`, hostNetwork);
      const id = await pod.start('c', this.#image, { command: ['/bin/sleep', '1000000'], ...hostNetwork });
      this.#bystanders.set(id, await pidOf(this.#daemon, id));
    };
    await Promise.all(Array.from({ length: count }, add));
  }

  async #lookAtBystanders(): Promise<void> {
    for (const [id, pid] of this.#bystanders) {
      const now = await pidOf(this.#daemon, id).catch((error: unknown) => String(error));
      if (now !== pid) this.fault(`a container that nobody touched has process ${now}, it had ${pid}`);
      const cmd = ['/bin/true'];
      const { exitCode } = await this.#client.execSync({ containerId: id, cmd, timeout: 20n });
      if (exitCode !== 0) this.fault(`a command in a container that nobody touched ends with ${exitCode}`);
    }
  }

  /** One round: all clients at work, in the midst of it perhaps a kill of the daemon, and rest. */
  async round(clients: number, killsOften: number): Promise<void> {
    this.#client = connectTo(cri.RuntimeServiceClient, cri, this.#daemon.socket, hangMs);
    let left = callsARound;
    const killAt = this.#random() < killsOften ? Math.floor(this.#random() * callsARound) : -1;
    const work = Array.from({ length: clients }, async () => {
      while (left-- > 0 && !this.#killing) {
        if (left === killAt) this.#killDaemon();
        else await this.#any();
      }
    });
    await Promise.all(work);
    this.#client.close();
    if (this.#killing) {
      await this.#daemon.ended();
      await this.#daemon.start();
      const serving = this.#daemon.logged.findLast(({ msg }) => msg === 'Berth is serving');
      this.total.slowestStartMs = Math.max(this.total.slowestStartMs, Number(serving?.tookMs));
      this.#killing = false;
    }
    this.#client = connectTo(cri.RuntimeServiceClient, cri, this.#daemon.socket, hangMs);
    await this.#rest();
    await this.#lookAtBystanders();
    this.#client.close();
  }

  #killDaemon(): void {
    this.#killing = true;
    this.total.daemonKills++;
    process.kill(this.#daemon.pid, 'SIGKILL');
  }

  /** What is left at the end is removed, by its name as a client finds it. */
  async finish(): Promise<void> {
    this.#client = connectTo(cri.RuntimeServiceClient, cri, this.#daemon.socket, hangMs);
    for (const { id } of (await this.#client.listPodSandbox({})).items) {
      await this.#client.removePodSandbox({ podSandboxId: id });
    }
    this.#client.close();
  }

  async #any(): Promise<void> {
    const pods = this.#model.all().filter(({ pod, least }) => pod === null && least < 4);
    const containers = this.#model.all().filter(({ pod, least }) => pod !== null && least < 4);
    const pod = pods.length > 0 ? oneOf(this.#random, pods) : undefined;
    const container = containers.length > 0 ? oneOf(this.#random, containers) : undefined;
    const calls: [weight: number, make: (() => Promise<void>) | undefined][] = [
      [5, () => this.#runPod(oneOf(this.#random, names))],
      [6, pod && (() => this.#create(pod, oneOf(this.#random, containerNames)))],
      [6, container && (() => this.#start(container))],
      [2, container && (() => this.#stop(container))],
      [3, container && (() => this.#remove(container))],
      [1, pod && (() => this.#stopPod(pod))],
      [2, pod && (() => this.#removePod(pod))],
      [5, container && (() => this.#exec(container))],
      [4, () => this.#list()],
      [3, container && (() => this.#status(container))],
      [0.2, pod && (() => this.#killShim(pod))],
    ];
    const possible = calls.filter(([, make]) => make);
    let at = this.#random() * possible.reduce((sum, [weight]) => sum + weight, 0);
    const [, make] = possible.find(([weight]) => {
      at -= weight;
      return at < 0;
    })!;
    await make!();
  }

  /** Makes a call, perhaps one that is cut off. Undefined: it was not answered; else what it was told. */
  async #ask<T>(
    what: string,
    about: Omit<Call, 'what' | 'before'>,
    call: (client: Rpc<cri.RuntimeServiceClient>, options: { deadline?: number; signal?: AbortSignal }) => Promise<T>,
  ): Promise<{ call: Call; answer?: T; refusal?: Refusal } | undefined> {
    const asked: Call = { what, before: this.#model.now(), ...about };
    const cut = this.#random();
    const ms = this.#random() ** 2 * 100;
    const left = new AbortController();
    const timer = cut < 0.15 ? setTimeout(() => left.abort(), ms) : undefined;
    const options = cut < 0.15 ? { signal: left.signal } : cut < 0.3 ? { deadline: Date.now() + ms } : {};
    this.total.calls++;
    try {
      const answer = await call(this.#client, options);
      this.#count(what, 'OK');
      return { call: asked, answer };
    } catch (error) {
      const refusal = error as Refusal;
      this.#count(what, grpc[refusal.code] ?? `${error}`);
      const { code } = refusal;
      if (code === grpc.CANCELLED && 'signal' in options) return undefined;
      if (code === grpc.DEADLINE_EXCEEDED && 'deadline' in options) return undefined;
      if (this.#killing && (code === grpc.UNAVAILABLE || code === grpc.CANCELLED)) return undefined;
      return { call: asked, refusal };
    } finally {
      clearTimeout(timer);
    }
  }

  #count(what: string, how: string): void {
    const key = `${what} ${how}`;
    this.total.outcomes[key] = (this.total.outcomes[key] ?? 0) + 1;
  }

  /** Fails what may not be answered so. A pod whose shim was killed may refuse as it likes, but must not hang. */
  #judge({ what, pod, container }: Call, refusal: Refusal, allowed: readonly number[]): void {
    const broken = this.#broken.has((container?.pod ?? pod)?.id ?? '');
    if (allowed.includes(refusal.code)) return;
    if (broken && refusal.code !== grpc.DEADLINE_EXCEEDED) return;
    const of = [pod, container].flatMap((known) => (known ? [`${known.name} (${known.least}-${known.most})`] : []));
    this.fault(`${what} of ${of}: ${grpc[refusal.code]}: ${refusal.details}`);
  }

  #see(known: Known, level: number, before: Before): void {
    const wrong = this.#model.see(known, level, before);
    if (wrong) this.fault(wrong);
  }

  async #runPod(name: string): Promise<void> {
    const config = podConfig(this.#daemon, name, hostNetwork);
    this.#begun.add(name);
    const told = await this.#ask('RunPodSandbox', {}, (client, options) => client.runPodSandbox({ config }, options));
    if (told?.answer) {
      const known = this.#model.meet(told.answer.podSandboxId, name, null);
      if ((told.call.before.get(known.id) ?? 1) > podLevels.ready)
        this.fault(`RunPodSandbox gives ${known.id}, which was stopped`);
    }
    if (!told?.refusal) return;
    this.#judge(told.call, told.refusal, [grpc.ALREADY_EXISTS]);
    const [, id = ''] = / as ([0-9a-f]{64})/.exec(told.refusal.details) ?? [];
    if (told.call.before.get(id) === podLevels.gone)
      this.fault(`RunPodSandbox: ${id} is said to exist, it was removed`);
  }

  async #create(pod: Known, name: string): Promise<void> {
    const config = {
      metadata: { name },
      image: { image: this.#image },
      command: ['/bin/sleep', '1000'],
      ...hostNetwork,
    };
    const request = { podSandboxId: pod.id, sandboxConfig: {}, config };
    const told = await this.#ask('CreateContainer', { pod }, (client, options) =>
      client.createContainer(request, options),
    );
    if (told?.answer) {
      if (told.call.before.get(pod.id) !== podLevels.ready)
        this.fault(`CreateContainer in ${pod.id}, which was stopped`);
      const known = this.#model.meet(told.answer.containerId, `${pod.name}/${name}`, pod);
      const most = { 1: 1, 2: containerLevels.ended, 4: containerLevels.gone }[pod.most as 1 | 2 | 4];
      this.#model.allow(known, most);
    }
    if (!told?.refusal) return;
    const stopped = pod.most > podLevels.ready ? [grpc.FAILED_PRECONDITION] : [];
    const gone = pod.most === podLevels.gone ? [grpc.NOT_FOUND] : [];
    this.#judge(told.call, told.refusal, [grpc.ALREADY_EXISTS, ...stopped, ...gone]);
  }

  /** What a call on a container may be told, as others may have taken it there. */
  #refusals(container: Known): number[] {
    const gone = container.most === containerLevels.gone ? [grpc.NOT_FOUND] : [];
    return [...gone, ...(container.most > 1 || container.pod!.most > 1 ? [grpc.FAILED_PRECONDITION] : [])];
  }

  async #start(container: Known): Promise<void> {
    this.#model.allow(container, containerLevels.running);
    const { id: containerId } = container;
    const told = await this.#ask('StartContainer', { container }, (client, options) =>
      client.startContainer({ containerId }, options),
    );
    if (told?.answer) {
      const level = told.call.before.get(containerId)!;
      if (level > containerLevels.created) this.fault(`StartContainer of ${containerId}, which was at level ${level}`);
      this.#model.prove(container, containerLevels.running);
    }
    if (told?.refusal) this.#judge(told.call, told.refusal, this.#refusals(container));
  }

  async #stop(container: Known): Promise<void> {
    if (container.most >= containerLevels.running) this.#model.allow(container, containerLevels.ended);
    const { id: containerId } = container;
    const told = await this.#ask('StopContainer', { container }, (client, options) => {
      // A start that overlaps the stop may come first.
      if (container.most >= containerLevels.created) this.#model.allow(container, containerLevels.ended);
      return client.stopContainer({ containerId, timeout: 0n }, options);
    });
    if (told?.answer && (told.call.before.get(containerId) ?? 1) >= containerLevels.running)
      this.#model.prove(container, containerLevels.ended);
    if (told?.refusal) this.#judge(told.call, told.refusal, []);
  }

  async #remove(container: Known): Promise<void> {
    this.#model.allow(container, containerLevels.gone);
    const { id: containerId } = container;
    const told = await this.#ask('RemoveContainer', { container }, (client, options) =>
      client.removeContainer({ containerId }, options),
    );
    if (told?.answer) this.#model.prove(container, containerLevels.gone);
    if (told?.refusal) this.#judge(told.call, told.refusal, []);
  }

  async #stopPod(pod: Known): Promise<void> {
    this.#allowAll(pod, podLevels.notReady, containerLevels.ended);
    const { id: podSandboxId } = pod;
    const told = await this.#ask('StopPodSandbox', { pod }, (client, options) =>
      client.stopPodSandbox({ podSandboxId }, options),
    );
    if (told?.answer) {
      this.#model.prove(pod, podLevels.notReady);
      for (const container of this.#model.containersOf(pod))
        if ((told.call.before.get(container.id) ?? 1) >= containerLevels.running)
          this.#model.prove(container, containerLevels.ended);
    }
    if (told?.refusal) this.#judge(told.call, told.refusal, []);
  }

  async #removePod(pod: Known): Promise<void> {
    this.#allowAll(pod, podLevels.gone, containerLevels.gone);
    const { id: podSandboxId } = pod;
    const told = await this.#ask('RemovePodSandbox', { pod }, (client, options) =>
      client.removePodSandbox({ podSandboxId }, options),
    );
    if (told?.answer) {
      this.#model.prove(pod, podLevels.gone);
      for (const container of this.#model.containersOf(pod)) this.#model.prove(container, containerLevels.gone);
    }
    if (told?.refusal) this.#judge(told.call, told.refusal, []);
  }

  #allowAll(pod: Known, level: number, ofContainers: number): void {
    this.#model.allow(pod, level);
    for (const container of this.#model.containersOf(pod)) this.#model.allow(container, ofContainers);
  }

  async #exec(container: Known): Promise<void> {
    const { id: containerId } = container;
    const told = await this.#ask('ExecSync', { container }, (client, options) =>
      client.execSync({ containerId, cmd: ['/bin/echo', 'said'], timeout: 20n }, options),
    );
    if (told?.answer) {
      const said = `${told.answer.exitCode} ${Buffer.from(told.answer.stdout)}`;
      if (said !== '0 said\n' && container.most < containerLevels.ended)
        this.fault(`ExecSync in ${containerId}: ${said}`);
      if ((told.call.before.get(containerId) ?? 1) > containerLevels.running)
        this.fault(`ExecSync in ${containerId}, which had ended`);
    }
    if (!told?.refusal) return;
    const created = container.least === containerLevels.created || told.call.before.get(containerId) === 1;
    // The OCI runtime finds the container gone in the midst of it.
    const ended = container.most >= containerLevels.ended ? [grpc.INTERNAL, grpc.UNAVAILABLE] : [];
    this.#judge(told.call, told.refusal, [
      ...this.#refusals(container),
      ...(created ? [grpc.FAILED_PRECONDITION] : []),
      ...ended,
    ]);
  }

  async #status(container: Known): Promise<void> {
    const { id: containerId } = container;
    const told = await this.#ask('ContainerStatus', { container }, (client, options) =>
      client.containerStatus({ containerId }, options),
    );
    if (told?.answer?.status) this.#see(container, containerState(told.answer.status.state), told.call.before);
    if (told?.refusal) this.#judge(told.call, told.refusal, container.most === 4 ? [grpc.NOT_FOUND] : []);
  }

  /** Everything is listed as it can be, and once. */
  async #list(): Promise<void> {
    const pods = await this.#ask('ListPodSandbox', {}, (client, options) => client.listPodSandbox({}, options));
    if (pods?.refusal) this.#judge(pods.call, pods.refusal, []);
    if (pods?.answer) this.#listedPods(pods.answer.items, pods.call.before);
    const containers = await this.#ask('ListContainers', {}, (client, options) => client.listContainers({}, options));
    if (containers?.refusal) this.#judge(containers.call, containers.refusal, []);
    if (containers?.answer) this.#listedContainers(containers.answer.containers, containers.call.before);
  }

  #listedPods(all: readonly cri.PodSandbox[], before: Before): void {
    const items = all.filter(({ metadata }) => !metadata?.name?.startsWith(bystander));
    const seen = items.map(({ metadata }) => metadata?.name ?? '');
    if (new Set(seen).size !== seen.length) this.fault(`two pods of one name: ${seen}`);
    for (const { id, metadata, state } of items) {
      const known = this.#model.meet(id, metadata?.name ?? '', null);
      if (!this.#begun.has(known.name)) this.fault(`a pod that nobody asked for: ${known.name}`);
      this.#see(known, podState(state), before);
    }
    // What was known to be there when the call began, and nobody began to remove.
    const listed = new Set(items.map(({ id }) => id));
    for (const known of this.#model.all())
      if (known.pod === null && before.has(known.id) && !listed.has(known.id)) this.#see(known, podLevels.gone, before);
  }

  #listedContainers(containers: readonly cri.Container[], before: Before): void {
    const items = containers.filter(({ id }) => !this.#bystanders.has(id));
    const seen = items.map(({ metadata, podSandboxId }) => `${podSandboxId} ${metadata?.name}`);
    if (new Set(seen).size !== seen.length) this.fault(`two containers of one name: ${seen}`);
    for (const { id, metadata, state, podSandboxId } of items) {
      const pod = this.#model.meet(podSandboxId, '?', null);
      const level = containerState(state);
      const known = this.#model.get(id) ?? this.#model.meet(id, `${pod.name}/${metadata?.name}`, pod);
      if (pod.most > podLevels.ready) this.#model.allow(known, pod.most === podLevels.gone ? 4 : containerLevels.ended);
      this.#see(known, level, before);
    }
    const listed = new Set(items.map(({ id }) => id));
    for (const known of this.#model.all())
      if (known.pod !== null && before.has(known.id) && !listed.has(known.id))
        this.#see(known, containerLevels.gone, before);
  }

  async #killShim(pod: Known): Promise<void> {
    const { info } = await this.#client
      .podSandboxStatus({ podSandboxId: pod.id, verbose: true })
      .catch(() => ({ info: {} as Record<string, string> }));
    const pause = info.info ? JSON.parse(info.info).pid : 0;
    if (!pause) return;
    this.#broken.add(pod.id);
    this.#allowAll(pod, podLevels.notReady, containerLevels.ended);
    try {
      const status = readFileSync(`/proc/${pause}/status`, 'utf8');
      const shim = Number(/^PPid:\s*(\d+)$/m.exec(status)?.[1] ?? 0);
      if (!readFileSync(`/proc/${shim}/cmdline`, 'utf8').includes(`${this.#daemon.runDir}/pods/${pod.id}`)) return;
      process.kill(shim, 'SIGKILL');
      this.total.shimKills++;
    } catch {
      // It ended meanwhile.
    }
  }

  /** Nothing is under way: what is listed is what the model knows, and each name can be used. */
  async #rest(): Promise<void> {
    this.total.quiet++;
    await delay(20);
    const before = this.#model.now();
    this.#listedPods((await this.#client.listPodSandbox({})).items, before);
    this.#listedContainers((await this.#client.listContainers({})).containers, before);
    const pods = new Set((await this.#client.listPodSandbox({})).items.map(({ id }) => id));
    for (const { podSandboxId } of (await this.#client.listContainers({})).containers)
      if (!pods.has(podSandboxId)) this.fault(`a container of ${podSandboxId}, which is not listed`);
    this.#model.forgetGone();
  }
}

/** Runs it, and says what was seen; `say` hears how far it is. */
export async function sweepChaos(
  daemon: TestDaemon,
  image: string,
  { seed, calls, minutes, clients, kills = 0, bystanders = 0 }: ChaosVolume,
  say: (text: string) => void = () => {},
): Promise<ChaosTotal> {
  const chaos = new Chaos(daemon, image, seed);
  const end = performance.now() + (minutes ?? Infinity) * 60_000;
  const { total } = chaos;
  const goesOn = () => (kills > 0 ? total.daemonKills < kills : total.calls < calls && performance.now() < end);
  await chaos.addBystanders(bystanders);
  while (goesOn()) {
    const faults = total.faults.length;
    await chaos.round(clients, kills > 0 ? 1 : 0.5);
    for (const fault of total.faults.slice(faults)) say(fault);
    if (total.quiet % 20 === 0)
      say(`${total.calls} calls, ${total.daemonKills} and ${total.shimKills} kills, ${total.faults.length} faults`);
  }
  await chaos.finish();
  return total;
}
