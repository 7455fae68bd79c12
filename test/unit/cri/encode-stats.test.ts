// kubelet reads most of what it gets without asking whether it is there, and dies where it is not.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { encodeContainerStats, encodePodStats } from '../../../src/cri/encode-stats.ts';
import type { Container } from '../../../src/model/container.ts';
import type { Pod } from '../../../src/model/pod.ts';
import type { CgroupUsage, InterfaceUsage } from '../../../src/stats/index.ts';
import { messages } from '../../harness/proto-fields.ts';

const metadata = { name: 'c', attempt: 0, uid: 'u', namespace: 'n' };
const config = { metadata, labels: {}, annotations: {} };
const container = { id: 'c', config } as unknown as Container;
const pod = { id: 'p', config } as unknown as Pod;

const pressure = { avg10: 0, avg60: 0, avg300: 0, total: 0 };
const psi = { some: pressure, full: pressure };
const memory: NonNullable<CgroupUsage['memory']> = {
  ...{ usage: 1, workingSet: 1, available: 0, rss: 0, cache: 0, mappedFile: 0, kernel: 0, activeFile: 0 },
  ...{ inactiveFile: 0, pageFaults: 0, majorPageFaults: 0, maxUsage: 0, failures: 0, oomKills: 0 },
  ...{ swap: { usage: 0, available: 0 }, psi },
};
const throttling = { periods: 0, throttled: 0, throttledTime: 0 };
const full: CgroupUsage = {
  cpu: { total: 1, user: 1, system: 0, psi },
  throttling,
  memory,
  io: { psi },
  processes: 3,
};
const gone: CgroupUsage = { cpu: null, throttling, memory: null, io: null, processes: null };
const usages: Readonly<Record<string, CgroupUsage>> = {
  full,
  gone,
  'without pressure': {
    ...full,
    cpu: { ...full.cpu!, psi: null },
    memory: { ...memory, psi: null },
    io: { psi: null },
  },
  'without swap': { ...full, memory: { ...memory, swap: null } },
  'cpu only': { ...gone, cpu: full.cpu },
  'memory only': { ...gone, memory },
};

const counters = { rxPackets: 1, rxBytes: 1, rxErrors: 0, rxDropped: 0, txPackets: 1 };
const link = (name: string): InterfaceUsage => ({ name, ...counters, txBytes: 1, txErrors: 0, txDropped: 0 });
const networks: Readonly<Record<string, InterfaceUsage[]>> = {
  'no interface': [],
  eth0: [link('eth0')],
  'eth0 and more': [link('net1'), link('eth0')],
  'others alone': [link('net1'), link('tun0')],
};

/** Parts that may be absent as a whole: kubelet asks for these first. */
const mayBeAbsent = /^(Psi|Cpu|Memory|Swap|Io|Network|Process|Filesystem|WindowsPodSandbox)(Stats|Usage)$/;

/** Fails on a message without one of its message fields, or on a time that is the epoch. */
function assertWhole(type: string, message: object, path: string): void {
  for (const field of messages.get(type) ?? []) {
    const here = `${path}.${field.name}`;
    const value: unknown = message[field.name as keyof typeof message];
    if (field.name === 'timestamp') assert.ok(Number(value) > 0, here);
    if (!messages.has(field.type)) continue;
    if (value === undefined) {
      assert.match(field.type, mayBeAbsent, `${here} is absent`);
      continue;
    }
    for (const one of field.kind === 'repeated' ? (value as unknown[]) : [value]) {
      assertWhole(field.type, one as object, here);
    }
  }
}

describe('a part of the figures is whole or absent', () => {
  for (const [usageName, usage] of Object.entries(usages)) {
    for (const [networkName, interfaces] of Object.entries(networks)) {
      for (const layer of [null, { bytes: 1, inodes: 1, at: 5 }]) {
        test(`${usageName}, ${networkName}, ${layer ? 'a layer' : 'no layer'}`, () => {
          const logLoss = { bytes: 0, lines: 0 };
          const ofContainer = { container, at: 5, usage, cpuRate: 0, layer, logLoss };
          const stats = encodePodStats({ pod, at: 5, usage, cpuRate: 0, interfaces, containers: [ofContainer] }, '/m');
          assertWhole('PodSandboxStats', stats, 'stats');
          assertWhole('ContainerStats', encodeContainerStats(ofContainer, '/m'), 'stats');
          assert.ok(stats.linux, 'kubelet takes the containers from it without asking');
          assert.equal(stats.linux.containers.length, 1);
          assert.equal(stats.linux.network?.defaultInterface?.name, networkName.includes('eth0') ? 'eth0' : undefined);
        });
      }
    }
  }
});
