import { sameJson } from '../base/json.ts';
import type { ContainerConfig, Mount } from './config.ts';
import type { Handler } from './handler.ts';
import type { ContainerId, ImageId, PodId } from './ids.ts';

/** Why a container ended, in the words that kubelet shows. */
export const exitReasons = ['Completed', 'Error', 'OOMKilled', 'StartError', 'ContainerStatusUnknown'] as const;
export type ExitReason = (typeof exitReasons)[number];

export type Exit = {
  /** 0-255; 128 + signal when a signal ended it. */
  readonly code: number;
  readonly reason: ExitReason;
  readonly message: string;
  /** Milliseconds since the epoch, fractional. */
  readonly at: number;
};

export type ContainerState =
  | { readonly phase: 'creating' }
  /** Its bundle is ready; the process is made by StartContainer. */
  | { readonly phase: 'created' }
  | { readonly phase: 'running'; readonly pid: number; readonly startedAt: number }
  /** `startedAt` is 0 for one that never ran. */
  | { readonly phase: 'exited'; readonly startedAt: number; readonly exit: Exit }
  | { readonly phase: 'removing'; readonly startedAt: number; readonly exit: Exit };

export type ContainerUser = { readonly uid: number; readonly gid: number; readonly groups: readonly number[] };

export type Container = {
  readonly id: ContainerId;
  readonly podId: PodId;
  readonly config: ContainerConfig;
  /** The pod's: with it the container can be undone when the pod's record is lost. */
  readonly resolvedHandler: Handler;
  readonly imageId: ImageId;
  /** `repo@digest` of the image at creation, in the repository that was named; its id when it has none. */
  readonly imageRef: string;
  /** What its status calls the image, fixed at creation: names move. Absent in records of before. */
  readonly imageName?: string;
  readonly user: ContainerUser;
  /** The request's mounts with host paths as resolved. */
  readonly mounts: readonly Mount[];
  /** Images that are mounted as volumes; they stay as long as the container. Absent in records of before. */
  readonly volumeImages?: readonly ImageId[];
  /** Linux signal number that StopContainer sends first. */
  readonly stopSignal: number;
  /** Absolute, or empty: no log. */
  readonly logPath: string;
  /** Relative to the cgroup root (cgroupfs driver), or as the systemd driver names it. */
  readonly cgroupsPath: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly bootId: string;
  readonly state: ContainerState;
};

export type ContainerEvent =
  | { readonly type: 'created' }
  | { readonly type: 'started'; readonly pid: number; readonly at: number }
  | { readonly type: 'ended'; readonly exit: Exit }
  | { readonly type: 'remove' };

/** The container after `event`. Throws on an event that its phase does not allow: a mistake of the caller. */
export function containerAfter(container: Container, event: ContainerEvent): Container {
  const { state } = container;
  switch (event.type) {
    case 'created':
      if (state.phase !== 'creating') throw impossible(container, event);
      return { ...container, state: { phase: 'created' } };
    case 'started':
      if (state.phase !== 'created') throw impossible(container, event);
      return { ...container, state: { phase: 'running', pid: event.pid, startedAt: event.at } };
    case 'ended':
      if (state.phase === 'exited' || state.phase === 'removing') return container;
      // A process can end before its start is on record: then it started no later than it ended.
      return {
        ...container,
        state: { phase: 'exited', startedAt: Math.min(startedAt(state), event.exit.at), exit: event.exit },
      };
    case 'remove':
      return { ...container, state: { phase: 'removing', startedAt: startedAt(state), exit: exitOf(state) } };
    default:
      throw impossible(container, event satisfies never);
  }
}

const startedAt = (state: ContainerState): number => ('startedAt' in state ? state.startedAt : 0);

const exitOf = (state: ContainerState): Exit =>
  'exit' in state ? state.exit : { code: 255, reason: 'ContainerStatusUnknown', message: 'never ran', at: 0 };

const impossible = (container: Container, event: ContainerEvent) =>
  new Error(`Container ${container.id} is ${container.state.phase}: ${event.type} cannot happen`);

/** Where kubelet says which of the mounts is for the container's last words. */
const terminationAnnotation = 'io.kubernetes.container.terminationMessagePath';

/**
 * A request without what kubelet makes anew each time that it asks for the same: the file for the container's last words,
 * which it later finds by the container's status, and the order of the variables that name services.
 */
function comparable(config: ContainerConfig): unknown {
  const lastWords = config.annotations[terminationAnnotation];
  return {
    ...config,
    envs: config.envs.toSorted((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key))),
    mounts: config.mounts.map((mount) => (mount.containerPath === lastWords ? { ...mount, hostPath: '' } : mount)),
  };
}

/** True if a CreateContainer request asks for this container, which was not started yet. */
export const isWhatIsAsked = (container: Container, config: ContainerConfig): boolean =>
  container.state.phase === 'created' && sameJson(comparable(container.config), comparable(config));

/** What two CreateContainer requests for one container have in common. */
export const containerKey = (podId: PodId, { metadata: m }: ContainerConfig): string =>
  JSON.stringify([podId, m.name, m.attempt]);
