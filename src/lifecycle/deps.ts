import { join } from 'node:path';
import type { HostFacts } from '../base/host-facts.ts';
import type { Locks } from '../base/locks.ts';
import type { Settings } from '../base/settings.ts';
import type { Traces } from '../base/trace.ts';
import type { Images } from '../image/index.ts';
import type { Container } from '../model/container.ts';
import type { ContainerId, PodId } from '../model/ids.ts';
import type { Pod } from '../model/pod.ts';
import type { Network } from '../network/index.ts';
import type { Snapshots } from '../snapshot/index.ts';
import type { Records } from '../state/records.ts';
import type { Creations } from './creations.ts';
import type { LogLosses } from './log-losses.ts';
import type { Mending } from './mending.ts';
import type { OciRuntimes } from './runtime/handlers.ts';
import type { Shims } from './runtime/shims.ts';

/** What the verbs work on; made once by main.ts. */
export type Deps = {
  readonly settings: Settings;
  readonly bootId: string;
  readonly host: HostFacts;
  readonly pods: Records<PodId, Pod>;
  readonly containers: Records<ContainerId, Container>;
  readonly snapshots: Snapshots;
  readonly images: Images;
  readonly network: Network;
  readonly ociRuntimes: OciRuntimes;
  readonly shims: Shims;
  readonly locks: Locks;
  readonly mending: Mending;
  readonly logLosses: LogLosses;
  readonly podCreations: Creations<PodId>;
  readonly containerCreations: Creations<ContainerId>;
  /** Containers with a StopContainer under way: its signal was sent. */
  readonly stopping: Set<ContainerId>;
  /** Pods with a StopPodSandbox or RemovePodSandbox under way: nothing is started in them. */
  readonly stoppingPods: Set<PodId>;
  readonly traces: Traces;
};

/** Where the files of a pod and of its containers are. All of it is gone after a reboot. */
export class RunPaths {
  readonly #runDir: string;

  constructor(runDir: string) {
    this.#runDir = runDir;
  }

  get pods(): string {
    return join(this.#runDir, 'pods');
  }

  pod(id: PodId): string {
    return join(this.pods, id);
  }

  /** The network namespace's pin. */
  netns(id: PodId): string {
    return join(this.pod(id), 'netns');
  }

  /** The tmpfs of what the pod's containers may write: /dev/shm, hosts, hostname, resolv.conf. */
  shared(id: PodId): string {
    return join(this.pod(id), 'shared');
  }

  /** The OCI bundle of a container. */
  bundle(podId: PodId, id: ContainerId): string {
    return join(this.pod(podId), 'containers', id);
  }

  rootfs(podId: PodId, id: ContainerId): string {
    return join(this.bundle(podId, id), 'rootfs');
  }

  /** Where the layers are seen with mapped owners while the root of a container is mounted. */
  layers(podId: PodId, id: ContainerId): string {
    return join(this.bundle(podId, id), 'layers');
  }

  /** What the OCI runtime binds for a mount that is more than a host path. */
  volume(podId: PodId, id: ContainerId, name: string): string {
    return join(this.bundle(podId, id), 'volumes', name);
  }

  /** The OCI process of the container, which exec starts from. */
  processFile(podId: PodId, id: ContainerId): string {
    return join(this.bundle(podId, id), 'process.json');
  }

  exitFile(podId: PodId, id: ContainerId): string {
    return join(this.bundle(podId, id), 'exit.json');
  }
}

export const runPaths = (deps: { readonly settings: Settings }): RunPaths => new RunPaths(deps.settings.runDir);

/** The containers of a pod, of every phase. */
export const containersOf = (deps: Pick<Deps, 'containers'>, podId: PodId): Container[] =>
  [...deps.containers.all()].filter((container) => container.podId === podId);
