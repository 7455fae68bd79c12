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
import type { Layout } from '../state/layout.ts';
import type { Records } from '../state/records.ts';
import type { Creations } from './creations.ts';
import type { LogLosses } from './log-losses.ts';
import type { Mending } from './mending.ts';
import type { OciRuntimes } from './runtime/handlers.ts';
import type { Shims } from './runtime/shims.ts';

/** What the verbs work on; made once by main.ts. */
export type Deps = {
  readonly settings: Settings;
  readonly layout: Layout;
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

/** The containers of a pod, of every phase. */
export const containersOf = (deps: Pick<Deps, 'containers'>, podId: PodId): Container[] =>
  [...deps.containers.all()].filter((container) => container.podId === podId);
