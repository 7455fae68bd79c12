import type { Duplex } from 'node:stream';
import { connectLoopback } from '../sys/sockets.ts';
import type { Deps } from './deps.ts';
import { usesHostNetwork } from './pod/files.ts';
import { netnsOf } from './pod/netns.ts';
import { readyPod } from './ready.ts';

/** A connection to this port on the pod's loopback, IPv4 before IPv6. @throws Fault; Error with an errno code. */
export async function portForward(deps: Pick<Deps, 'layout' | 'pods'>, id: string, port: number): Promise<Duplex> {
  const pod = readyPod(deps, id);
  return connectLoopback(usesHostNetwork(pod.config) ? '' : netnsOf(deps, pod), port);
}
