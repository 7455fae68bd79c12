import { statfs } from 'node:fs/promises';
import type { Container } from '../model/container.ts';
import { readCgroupLimits } from './cgroup-limits.ts';
import { readDeviceIo } from './device-io.ts';
import { readHugepages } from './hugetlb.ts';
import type { ContainerFigures, PodFigures } from './index.ts';
import type { MetricFacts } from './metrics.ts';
import { readProcessFacts } from './process-facts.ts';

/** Of the file system that holds the writable layers. */
export async function readFilesystem(path: string): Promise<MetricFacts['filesystem']> {
  const { blocks, bsize, files, ffree } = await statfs(path);
  return { bytes: blocks * bsize, inodes: files, inodesFree: ffree };
}

const ofCgroup = async (cgroup: string) => ({
  io: readDeviceIo(cgroup),
  hugepages: readHugepages(cgroup),
  processes: await readProcessFacts(cgroup),
  limits: readCgroupLimits(cgroup),
});

export const containerFacts = async (
  figures: ContainerFigures,
  filesystem: MetricFacts['filesystem'],
): Promise<MetricFacts> => ({
  ...(await ofCgroup(figures.container.cgroupsPath)),
  usage: figures.usage,
  interfaces: [],
  layer: figures.layer,
  logLoss: figures.logLoss, // also of one without a log: every container has the same series
  filesystem,
  startedAt: startOf(figures.container) / 1000,
  now: figures.at / 1000,
});

const startOf = ({ state, createdAt }: Container): number => (state.phase === 'running' ? state.startedAt : createdAt);

export const podFacts = async (
  figures: PodFigures,
  cgroup: string,
  filesystem: MetricFacts['filesystem'],
): Promise<MetricFacts> => ({
  ...(await ofCgroup(cgroup)),
  usage: figures.usage,
  interfaces: figures.interfaces,
  layer: null,
  logLoss: null,
  filesystem,
  startedAt: figures.pod.createdAt / 1000,
  now: figures.at / 1000,
});
