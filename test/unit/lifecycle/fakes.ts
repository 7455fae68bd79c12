import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { Locks } from '../../../src/base/locks.ts';
import { defaults } from '../../../src/base/settings.ts';
import type { Deps } from '../../../src/lifecycle/deps.ts';
import type { Container, ContainerState } from '../../../src/model/container.ts';
import type { ContainerId, PodId } from '../../../src/model/ids.ts';
import type { Pod, PodState } from '../../../src/model/pod.ts';
import type { Shim } from '../../../src/shim/index.ts';
import { Layout } from '../../../src/state/layout.ts';
import { Records } from '../../../src/state/records.ts';

const root = mkdtempSync(join(tmpdir(), 'berth-lifecycle-'));
after(() => rmSync(root, { recursive: true }));
let serial = 0;

export const podId = 'a'.repeat(64) as PodId;
export const containerId = 'c'.repeat(64) as ContainerId;
const config = { metadata: { name: 'n', namespace: 's', uid: 'u', attempt: 0 }, cgroupParent: '' };

export const podIn = (state: PodState): Pod =>
  ({
    id: podId,
    config,
    cgroup: '/berth-unit/none',
    resolvedHandler: { systemdCgroup: false },
    state,
  }) as unknown as Pod;

export const containerIn = (state: ContainerState, id = containerId): Container =>
  ({ id, podId, config, stopSignal: 15, cgroupsPath: '/berth-unit/none/c', state }) as unknown as Container;

export const running: ContainerState = { phase: 'running', pid: 7, startedAt: 1 };

/** A shim that writes down what it is asked for; `answers` stand in for its calls. */
export function fakeShim(said: string[], answers: Partial<Shim> = {}): Shim {
  return {
    pid: 1,
    signal: async (key: string, signo: number, options?: { all?: boolean }) => {
      said.push(`signal ${signo}${options?.all ? ' to all' : ''}`);
      return key !== '';
    },
    list: async () => ({ pausePid: 5, processes: [] }),
    ...answers,
  } as unknown as Shim;
}

/** As much of a daemon as stops and ends need: real records and locks, and a shim (or none) that is given. */
export async function daemonOf(container: Container, shim: Shim | null) {
  const folder = join(root, `${serial++}`);
  const records = async <Id extends string, T extends { readonly id: Id }>(what: string) =>
    Records.open<Id, T>(folder, { what, parse: (json) => json as T });
  const containers = await records<ContainerId, Container>('container');
  const pods = await records<PodId, Pod>('pod');
  await containers.put(container);
  await pods.put(podIn({ phase: 'ready', pausePid: 5, network: null }));
  const killed: unknown[] = [];
  const shims = {
    find: async () => shim,
    findOrKill: async () => shim,
    kill: async (_: PodId, why: unknown) => void killed.push(why),
  };
  const ociRuntimes = { of: () => ({ knows: () => false, isInstalled: true, stateOf: () => join(folder, 'none') }) };
  const deps = {
    settings: { ...defaults, timeouts: { ...defaults.timeouts, ociRuntime: 1 } },
    layout: new Layout({ runDir: join(folder, 'run'), dataDir: join(folder, 'data') }),
    locks: new Locks(),
    stopping: new Set(),
    stoppingPods: new Set(),
    containers,
    pods,
    shims,
    ociRuntimes,
  } as unknown as Deps;
  return { deps, killed };
}
