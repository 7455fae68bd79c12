import { join } from 'node:path';
import { type CgroupOptions, controllerFolder } from '../sys/cgroups.ts';
import { readNumber, readText } from './read.ts';

/** The limits in force, as CRI counts them: bytes, microseconds, v1's shares; 0 is none. */
export type CgroupLimits = {
  readonly memory: number;
  /** What is left to the cgroup when others want memory: cAdvisor's is v2's memory.min, which kubelet sets, and v1's soft limit. */
  readonly memoryReservation: number;
  /** Of memory and swap together. */
  readonly memoryAndSwap: number;
  readonly cpuShares: number;
  readonly cpuQuota: number;
  readonly cpuPeriod: number;
  readonly processes: number;
};

/** v1 has no word for "none": it shows the largest multiple of a page that a number of bytes can be. */
const none = 2 ** 62;

const limit = (value: number | null): number => (value === null || value >= none || value < 0 ? 0 : value);

/** Reads what the kernel holds the cgroup to. One that is gone has 0 everywhere. */
export function readCgroupLimits(path: string, options: CgroupOptions = {}): CgroupLimits {
  const read = (controller: string) => {
    const folder = controllerFolder(path, controller, options);
    return (name: string) => (folder === null ? null : readNumber(join(folder, name)));
  };
  const memory = read('memory');
  const isV2 = memory('memory.max') !== null;
  const cpu = controllerFolder(path, 'cpu', options);
  return {
    ...(isV2 ? memoryV2(memory) : memoryV1(memory)),
    ...(cpuV2(cpu) ?? cpuV1(read('cpu'))),
    processes: limit(read('pids')('pids.max')),
  };
}

type Read = (name: string) => number | null;

function memoryV2(number: Read) {
  const memory = number('memory.max');
  const swap = number('memory.swap.max');
  return {
    memory: limit(memory),
    memoryReservation: limit(number('memory.min')),
    memoryAndSwap: memory === null || swap === null ? 0 : limit(memory + swap),
  };
}

const memoryV1 = (number: Read) => ({
  memory: limit(number('memory.limit_in_bytes')),
  memoryReservation: limit(number('memory.soft_limit_in_bytes')),
  memoryAndSwap: limit(number('memory.memsw.limit_in_bytes')),
});

function cpuV2(folder: string | null) {
  const text = folder === null ? null : readText(join(folder, 'cpu.max'));
  if (folder === null || text === null) return null;
  const [quota = 'max', period = '0'] = text.trim().split(' ');
  const weight = readNumber(join(folder, 'cpu.weight')) ?? 0;
  return {
    cpuShares: weight === 0 ? 0 : Math.round(2 + ((weight - 1) * 262_142) / 9999), // 1..10000 for 2..262144
    cpuQuota: quota === 'max' ? 0 : Number(quota),
    cpuPeriod: Number(period),
  };
}

const cpuV1 = (number: Read) => ({
  cpuShares: limit(number('cpu.shares')),
  cpuQuota: limit(number('cpu.cfs_quota_us')),
  cpuPeriod: limit(number('cpu.cfs_period_us')),
});
