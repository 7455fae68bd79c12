import type * as cri from '../api/runtime/v1/cri.ts';
import { ContainerAttributes } from '../api/runtime/v1/cri.ts';
import { eachSound } from '../base/sound.ts';
import {
  type CgroupUsage,
  type ContainerFigures,
  defaultInterface,
  type InterfaceUsage,
  type PodFigures,
  type Psi,
} from '../stats/index.ts';
import { nanoseconds, uint64 } from './numbers.ts';

const value = (number: number): cri.UInt64Value => ({ value: uint64(number) });

/** Pressure totals are nanoseconds in CRI, microseconds in the kernel. */
function psi(given: Psi | null): cri.PsiStats | undefined {
  if (!given) return undefined;
  const data = ({ avg10, avg60, avg300, total }: Psi['some']): cri.PsiData => ({
    Total: uint64(total, 1000n),
    Avg10: avg10,
    Avg60: avg60,
    Avg300: avg300,
  });
  return { Full: data(given.full), Some: data(given.some) };
}

const cpu = ({ cpu: used }: CgroupUsage, rate: number, timestamp: bigint): cri.CpuUsage | undefined =>
  used
    ? { timestamp, usageCoreNanoSeconds: value(used.total), usageNanoCores: value(rate), psi: psi(used.psi) }
    : undefined;

const memory = ({ memory: used }: CgroupUsage, timestamp: bigint): cri.MemoryUsage | undefined =>
  used
    ? {
        timestamp,
        workingSetBytes: value(used.workingSet),
        availableBytes: value(used.available),
        usageBytes: value(used.usage),
        rssBytes: value(used.rss),
        pageFaults: value(used.pageFaults),
        majorPageFaults: value(used.majorPageFaults),
        psi: psi(used.psi),
      }
    : undefined;

const swap = ({ memory: used }: CgroupUsage, timestamp: bigint): cri.SwapUsage | undefined =>
  used?.swap
    ? { timestamp, swapAvailableBytes: value(used.swap.available), swapUsageBytes: value(used.swap.usage) }
    : undefined;

const io = ({ io: used }: CgroupUsage, timestamp: bigint): cri.IoUsage | undefined =>
  used?.psi ? { timestamp, psi: psi(used.psi) } : undefined;

/** `mountpoint`: of the file system that holds the writable layers. */
export function encodeContainerStats(figures: ContainerFigures, mountpoint: string): cri.ContainerStats {
  const { container, usage, layer } = figures;
  const timestamp = nanoseconds(figures.at);
  return {
    attributes: {
      id: container.id,
      metadata: { ...container.config.metadata },
      labels: { ...container.config.labels },
      annotations: { ...container.config.annotations },
    },
    cpu: cpu(usage, figures.cpuRate, timestamp),
    memory: memory(usage, timestamp),
    writableLayer: layer
      ? {
          timestamp: nanoseconds(layer.at),
          fsId: { mountpoint },
          usedBytes: value(layer.bytes),
          inodesUsed: value(layer.inodes),
        }
      : undefined,
    swap: swap(usage, timestamp),
    io: io(usage, timestamp),
  };
}

/** Figures always fit; what a record holds beside them may not, and must not take the pod's other containers with it. */
function checked(stats: cri.ContainerStats): cri.ContainerStats {
  ContainerAttributes.encode(stats.attributes!);
  return stats;
}

const interfaceUsage = (used: InterfaceUsage): cri.NetworkInterfaceUsage => ({
  name: used.name,
  rxBytes: value(used.rxBytes),
  rxErrors: value(used.rxErrors),
  txBytes: value(used.txBytes),
  txErrors: value(used.txErrors),
});

/**
 * Absent without that interface (the host's network, a pod that just ended): kubelet reads the default interface of any
 * network there is without asking whether it is set, and would die of one without.
 */
function network(interfaces: readonly InterfaceUsage[], timestamp: bigint): cri.NetworkUsage | undefined {
  const main = interfaces.find(({ name }) => name === defaultInterface);
  if (!main) return undefined;
  const others = interfaces.filter((one) => one !== main);
  return { timestamp, defaultInterface: interfaceUsage(main), interfaces: others.map(interfaceUsage) };
}

/** Absent where nothing counts processes: 0 would be a figure. */
const processes = ({ processes: count }: CgroupUsage, timestamp: bigint): cri.ProcessUsage | undefined =>
  count === null ? undefined : { timestamp, processCount: value(count) };

/**
 * Of any part that is there kubelet reads every field as if it were set: a part has all of them, or is absent.
 * `attributes` and `linux` themselves are always there.
 */
export function encodePodStats(figures: PodFigures, mountpoint: string): cri.PodSandboxStats {
  const { pod, usage, interfaces } = figures;
  const timestamp = nanoseconds(figures.at);
  return {
    attributes: {
      id: pod.id,
      metadata: { ...pod.config.metadata },
      labels: { ...pod.config.labels },
      annotations: { ...pod.config.annotations },
    },
    linux: {
      cpu: cpu(usage, figures.cpuRate, timestamp),
      memory: memory(usage, timestamp),
      network: network(interfaces, timestamp),
      process: processes(usage, timestamp),
      containers: eachSound(
        figures.containers,
        ({ container }) => container,
        (one) => checked(encodeContainerStats(one, mountpoint)),
      ),
      io: io(usage, timestamp),
    },
    windows: undefined,
  };
}
