import type { Duplex } from 'node:stream';
import { failedPrecondition, notFound } from '../base/fault.ts';
import type { Pod } from '../model/pod.ts';
import { connectLoopback } from '../sys/sockets.ts';
import { type Deps, runPaths } from './deps.ts';
import { usesHostNetwork } from './pod/files.ts';

/** @throws Fault NotFound; FailedPrecondition unless it is ready. */
export function readyPod(deps: Deps, id: string): Pod {
  const pod = deps.pods.find(id);
  if (!pod) throw notFound('pod', id);
  if (pod.state.phase !== 'ready') throw failedPrecondition(`Pod ${pod.id} is ${pod.state.phase}, not ready`);
  return pod;
}

/** A connection to this port on the pod's loopback, IPv4 before IPv6. @throws Fault; Error with an errno code. */
export async function portForward(deps: Deps, id: string, port: number): Promise<Duplex> {
  const pod = readyPod(deps, id);
  return connectLoopback(usesHostNetwork(pod.config) ? '' : runPaths(deps).netns(pod.id), port);
}
