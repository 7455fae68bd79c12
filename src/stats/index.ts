import { eachSoundSoon } from '../base/sound.ts';
import type { Container } from '../model/container.ts';
import type { ContainerId, PodId } from '../model/ids.ts';
import type { Pod } from '../model/pod.ts';
import type { Snapshots } from '../snapshot/index.ts';
import type { Records } from '../state/records.ts';
import { type CgroupUsage, readCgroupUsage } from './cgroup-usage.ts';
import { CpuRates } from './cpu-rate.ts';
import { LayerUsages, type Usage } from './layer-usage.ts';
import { type InterfaceUsage, readNetworkUsage } from './network-usage.ts';

export type { CgroupUsage, MemoryUsage } from './cgroup-usage.ts';
export type { Usage } from './layer-usage.ts';
export { defaultInterface, type InterfaceUsage } from './network-usage.ts';
export type { Psi } from './pressure.ts';

/** Times are milliseconds since the epoch, rates nanoseconds of CPU per second. */
export type ContainerFigures = {
  readonly container: Container;
  readonly at: number;
  readonly usage: CgroupUsage;
  readonly cpuRate: number;
  /** Null once the layer is gone. */
  readonly layer: Usage | null;
  /** Lines of its output that its log could not take. */
  readonly logLoss: { readonly bytes: number; readonly lines: number };
};

export type PodFigures = {
  readonly pod: Pod;
  readonly at: number;
  readonly usage: CgroupUsage;
  readonly cpuRate: number;
  /** Empty for a pod in the host's network: the interfaces are not its own. */
  readonly interfaces: readonly InterfaceUsage[];
  readonly containers: readonly ContainerFigures[];
};

export type StatsDeps = {
  readonly pods: Records<PodId, Pod>;
  readonly containers: Records<ContainerId, Container>;
  readonly snapshots: Snapshots;
  /** What the log of a container lost, if it lost any. */
  readonly logLoss: (id: ContainerId) => ContainerFigures['logLoss'] | undefined;
};

/** What pods and containers use, read when somebody asks: each cgroup file once a call. */
export class Stats {
  readonly #deps: StatsDeps;
  readonly #rates = new CpuRates();
  readonly #layers: LayerUsages;

  constructor(deps: StatsDeps) {
    this.#deps = deps;
    this.#layers = new LayerUsages(deps.snapshots);
    // Figures of what is removed are dropped with it.
    deps.pods.listen((after) => after ?? this.#forget());
    deps.containers.listen((after) => after ?? this.#forget());
  }

  /** A container that has ended has a layer and no usage. */
  async ofContainer(container: Container): Promise<ContainerFigures> {
    const at = Date.now();
    const { state } = container;
    const usage = readCgroupUsage(container.cgroupsPath);
    const ranMs = state.phase === 'running' ? at - state.startedAt : 0;
    const cpuRate = usage.cpu ? this.#rates.rate(container.id, usage.cpu.total, ranMs) : 0;
    const logLoss = this.#deps.logLoss(container.id) ?? { bytes: 0, lines: 0 };
    return { container, at, usage, cpuRate, logLoss, layer: await this.#layers.of(container.id) };
  }

  /** What the writable layer of a container takes; null once it is gone. Some seconds old at most. */
  ofLayer(key: string): Promise<Usage | null> {
    return this.#layers.of(key);
  }

  async ofPod(pod: Pod): Promise<PodFigures> {
    const at = Date.now();
    const usage = readCgroupUsage(pod.cgroup);
    const cpuRate = usage.cpu ? this.#rates.rate(pod.id, usage.cpu.total, at - pod.createdAt) : 0;
    const own = pod.state.phase === 'ready' && pod.config.security.namespaces.network !== 'node';
    const containers = [...this.#deps.containers.all()].filter(
      ({ podId, state }) => podId === pod.id && state.phase === 'running',
    );
    return {
      pod,
      at,
      usage,
      cpuRate,
      interfaces: own && pod.state.phase === 'ready' ? readNetworkUsage(pod.state.pausePid) : [],
      containers: await eachSoundSoon(containers, (container) => this.ofContainer(container)),
    };
  }

  #forget(): void {
    const alive = new Set<string>();
    for (const { id } of this.#deps.pods.all()) alive.add(id);
    for (const { id } of this.#deps.containers.all()) alive.add(id);
    this.#rates.keep(alive);
    this.#layers.keep(alive);
  }
}
