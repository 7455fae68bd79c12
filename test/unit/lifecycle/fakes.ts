import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import type { Caller } from '../../../src/base/caller.ts';
import { Locks } from '../../../src/base/locks.ts';
import { defaults } from '../../../src/base/settings.ts';
import { Traces } from '../../../src/base/trace.ts';
import { Creations } from '../../../src/lifecycle/creations.ts';
import type { Deps } from '../../../src/lifecycle/deps.ts';
import { LogLosses } from '../../../src/lifecycle/log-losses.ts';
import { Mending } from '../../../src/lifecycle/mending.ts';
import type { Container, ContainerState } from '../../../src/model/container.ts';
import type { ContainerId, PodId } from '../../../src/model/ids.ts';
import type { Pod, PodState } from '../../../src/model/pod.ts';
import type { Shim } from '../../../src/shim/index.ts';
import { Layout } from '../../../src/state/layout.ts';
import { Records } from '../../../src/state/records.ts';
import { container as containerConfig, host, specInput } from '../oci/inputs.ts';

const root = mkdtempSync(join(tmpdir(), 'berth-lifecycle-'));
after(() => rmSync(root, { recursive: true }));
let serial = 0;

export const podId = 'a'.repeat(64) as PodId;
export const containerId = 'c'.repeat(64) as ContainerId;
export const bootId = 'this boot';
const podConfig = { ...specInput().pod, cgroupParent: '' };
export const resolvedHandler = {
  name: 'crun',
  path: '/bin/crun',
  args: [],
  root: '/oci/crun',
  systemdCgroup: false,
  privilegedWithoutHostDevices: false,
  cniConfDir: '',
};

/** A pod whose cgroup is on no host. */
export const podIn = (state: PodState, changes: Partial<Pod> = {}): Pod => ({
  id: podId,
  config: podConfig,
  handler: '',
  cgroup: '/berth-unit/none',
  resolvedHandler,
  createdAt: 1,
  bootId,
  state,
  ...changes,
});

export const containerIn = (state: ContainerState, id = containerId, changes: Partial<Container> = {}): Container => ({
  id,
  podId,
  config: containerConfig,
  resolvedHandler,
  imageId: 'sha256:1' as Container['imageId'],
  imageRef: 'sha256:1',
  user: { uid: 0, gid: 0, groups: [] },
  mounts: [],
  stopSignal: 15,
  logPath: '',
  cgroupsPath: '/berth-unit/none/c',
  createdAt: 1,
  bootId,
  state,
  ...changes,
});

export const running: ContainerState = { phase: 'running', pid: 7, startedAt: 1 };
export const exited: ContainerState = {
  phase: 'exited',
  startedAt: 1,
  exit: { code: 3, reason: 'Error', message: '', at: 2 },
};
/** A process that is not there: no pid is as high. */
export const pausePid = 2 ** 23;
export const ready: PodState = { phase: 'ready', pausePid, network: null };

/** Waits for its answer, and hears it. */
export const patient: Caller = { signal: new AbortController().signal, deadline: Infinity, onUnheard: () => {} };

/** A shim that writes down what it is asked for; `answers` stand in for its calls. */
export function fakeShim(said: string[], answers: Partial<Shim> = {}): Shim {
  return {
    pid: 1,
    signal: async (key: string, signo: number, options?: { all?: boolean }) => {
      said.push(`signal ${signo}${options?.all ? ' to all' : ''}`);
      return key !== '';
    },
    list: async () => ({ pausePid, processes: [] }),
    ...answers,
  } as unknown as Shim;
}

/** Parts of a daemon write down here what they are asked for, and fail where a test says so. */
export class Script {
  readonly said: string[] = [];
  /** What fails, by what is said; it fails once. */
  readonly failures = new Map<string, unknown>();

  async say(what: string): Promise<void> {
    this.said.push(what);
    if (!this.failures.has(what)) return;
    const failure = this.failures.get(what);
    this.failures.delete(what);
    throw failure;
  }
}

/** A shim's exit of a container, as it is told. */
export const exitOf = (key: string, code: number) => ({ key, pid: 7, code, signal: 0, oomKilled: false, at: 5 });
export const nothingLost = { bytes: 0, lines: 0, error: '' };
const commandEnded = {
  code: 0,
  signal: 0,
  stdout: Buffer.alloc(0),
  stderr: Buffer.alloc(0),
  truncated: false,
  timedOut: false,
};
export const ended = (changes: Partial<typeof commandEnded> = {}) => ({ ...commandEnded, ...changes });

export type Held = { readonly pods?: readonly Pod[]; readonly containers?: readonly Container[] };

/**
 * A daemon that has these records, real ones with their locks. What is outside of it (shim, network, images, snapshots, OCI
 * runtime) writes down what it is asked for; a test exchanges what is to answer otherwise.
 */
export async function daemonWith({ pods = [podIn(ready)], containers = [] }: Held = {}, shim?: Shim | null) {
  const folder = join(root, `${serial++}`);
  const script = new Script();
  const say = (what: string) => script.say(what);
  const records = async <Id extends string, T extends { readonly id: Id }>(what: string, all: readonly T[]) => {
    const opened = await Records.open<Id, T>(folder, { what, parse: (json) => json as T });
    for (const record of all) await opened.put(record);
    return opened;
  };
  const layout = new Layout({ runDir: join(folder, 'run'), dataDir: join(folder, 'data') });
  mkdirSync(layout.pods, { recursive: true });
  for (const { id } of pods) mkdirSync(layout.pod(id));
  for (const { id, podId: pod } of containers) mkdirSync(layout.bundle(pod, id), { recursive: true });
  const ownShim = fakeShim(script.said, {
    run: async ({ argv }) => say(`run ${argv.join(' ')}`).then(() => ended()),
    start: async ({ key }) => say(`start ${key[0]}`).then(() => ({ ...ended(), pid: 42 })),
    hold: async () => say('hold').then(() => ({ uts: 1, ipc: 2, pid: 3, user: 0 })),
  });
  const there = shim === undefined ? ownShim : shim;
  const shims = {
    start: async () => say('shim start').then(() => there),
    ensure: async () => say('shim ensure').then(() => there),
    keeping: async () => there,
    find: async () => there,
    findOrKill: async () => say('shim find').then(() => there),
    killSilent: async () => say('shim killSilent').then(() => false),
    kill: async () => say('shim kill'),
    forget: async (_: PodId, key: string) => say(`forget ${key[0]}`),
    shutdown: async () => say('shim shutdown'),
  };
  const network = {
    up: async () => say('network up').then(() => ({ ips: ['10.1.2.3'], result: null })),
    down: async () => say('network down'),
    collectGarbage: async (live: () => readonly string[]) => say(`network gc ${live().length}`),
    settle: async (living: readonly string[]) => say(`network settle ${living.length}`),
  };
  const snapshots = {
    root: join(folder, 'snapshots'),
    prepare: async (key: string, parent: string | null) => say(`prepare ${parent}`).then(() => ({ key })),
    mount: async () => say('mount'),
    remove: async (key: string) => say(`remove layer ${key[0]}`),
    list: () => [],
  };
  const image = { ...specInput().image };
  const images = {
    find: () => ({
      id: 'sha256:1',
      tags: [],
      digests: [],
      config: image,
      artifactType: '',
      passedOver: [],
      layers: [],
      size: 0,
      pulledAt: 0,
    }),
    collect: async () => say('collect'),
    gc: async () => say('gc'),
  };
  const runtime = {
    name: 'crun',
    path: '/bin/crun',
    handler: resolvedHandler,
    missing: async () => null,
    knows: () => false,
    stateOf: (id: string) => join(folder, 'oci', id),
    createsFirst: false,
    make: () => ['/bin/crun', 'run'],
    start: () => ['/bin/crun', 'start'],
    state: () => ['/bin/crun', 'state'],
    update: () => ['/bin/crun', 'update'],
    delete: (_: string, { force = false } = {}) => ['/bin/crun', force ? 'delete --force' : 'delete'],
    features: async () => ({ version: 'crun version 1.8.1', recursiveReadOnly: false, userNamespaces: false }),
  };
  const deps = {
    settings: { ...defaults, timeouts: { ...defaults.timeouts, ociRuntime: 1 } },
    layout,
    bootId,
    host,
    locks: new Locks(),
    traces: new Traces(),
    mending: new Mending(),
    logLosses: new LogLosses(),
    podCreations: new Creations<PodId>(),
    containerCreations: new Creations<ContainerId>(),
    stopping: new Set<ContainerId>(),
    stoppingPods: new Set<PodId>(),
    containers: await records<ContainerId, Container>('container', containers),
    pods: await records<PodId, Pod>('pod', pods),
    shims,
    network,
    snapshots,
    images,
    ociRuntimes: { of: () => runtime, get: () => runtime },
  } as unknown as Deps;
  const recordsOf = (what: 'pod' | 'container') => join(folder, `${what}s`);
  return { deps, script, said: script.said, shims, network, snapshots, images, image, runtime, ownShim, recordsOf };
}

/** One container in a ready pod, and a shim (or none) that is given. */
export async function daemonOf(container: Container, shim: Shim | null) {
  const { deps, shims } = await daemonWith({ containers: [container] }, shim);
  const killed: unknown[] = [];
  Object.assign(shims, { kill: async (_: PodId, why: unknown) => void killed.push(why) });
  return { deps, killed };
}
