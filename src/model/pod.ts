import { sameJson } from '../base/json.ts';
import type { PodConfig } from './config.ts';
import type { Handler } from './handler.ts';
import type { PodId } from './ids.ts';

/** What CNI gave the pod. */
export type PodNetwork = {
  /** Without prefix length; the first is the pod's IP, the rest are its additional IPs. */
  readonly ips: readonly string[];
  /** The CNI result of the first network, as the last plugin printed it. */
  readonly result: unknown;
};

export type PodState =
  | { readonly phase: 'creating' }
  | { readonly phase: 'ready'; readonly pausePid: number; readonly network: PodNetwork | null }
  /** `released`: nothing of the pod is left on the host but its record. */
  | {
      readonly phase: 'notReady';
      readonly released: boolean;
      readonly reason: string;
      readonly network: PodNetwork | null;
    };

export type Pod = {
  readonly id: PodId;
  readonly config: PodConfig;
  /** The RuntimeClass handler as requested: empty is the default. */
  readonly handler: string;
  /** What that was when the pod was made. */
  readonly resolvedHandler: Handler;
  /** The cgroup that holds all of it: a path from the root, or a slice where the handler's cgroups are systemd's. */
  readonly cgroup: string;
  /** What systemd's scopes of the pod and its containers begin with. Absent in records of before: `berth`. */
  readonly scopePrefix?: string;
  /** Where its network namespace is pinned. Absent in records of before: in the pod's directory. */
  readonly netns?: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** The boot in which its processes live: in any other they are gone. */
  readonly bootId: string;
  readonly state: PodState;
};

export type PodEvent =
  | { readonly type: 'up'; readonly pausePid: number; readonly network: PodNetwork | null }
  /** The pause process ended, the shim was lost, or the host rebooted. */
  | { readonly type: 'down'; readonly reason: string }
  | { readonly type: 'released'; readonly reason: string };

/** The pod after `event`. Throws on an event that its phase does not allow: that is a mistake of the caller. */
export function podAfter(pod: Pod, event: PodEvent): Pod {
  const { state } = pod;
  const network = 'network' in state ? state.network : null;
  switch (event.type) {
    case 'up':
      if (state.phase !== 'creating') throw impossible(pod, event);
      return { ...pod, state: { phase: 'ready', pausePid: event.pausePid, network: event.network } };
    case 'down':
      if (state.phase !== 'ready') return pod;
      return { ...pod, state: { phase: 'notReady', released: false, reason: event.reason, network } };
    case 'released':
      return { ...pod, state: { phase: 'notReady', released: true, reason: event.reason, network } };
    default:
      throw impossible(pod, event satisfies never);
  }
}

const impossible = (pod: Pod, event: PodEvent) =>
  new Error(`Pod ${pod.id} is ${pod.state.phase}: ${event.type} cannot happen`);

/** True if a RunPodSandbox request asks for this pod, ready as it is. */
export const isWhatIsAsked = (pod: Pod, config: PodConfig, handler: string): boolean =>
  pod.state.phase === 'ready' && pod.handler === handler && sameJson(pod.config, config);

/** What two RunPodSandbox requests for one pod have in common. */
export const podKey = ({ metadata: m }: PodConfig): string => JSON.stringify([m.namespace, m.name, m.uid, m.attempt]);
