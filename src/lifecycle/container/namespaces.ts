import { failedPrecondition, isFault, notFound } from '../../base/fault.ts';
import type { Container } from '../../model/container.ts';
import type { Pod } from '../../model/pod.ts';
import type { NamespacePaths } from '../../oci/index.ts';
import type { Shim } from '../../shim/index.ts';
import type { Deps } from '../deps.ts';
import { usesHostIpc, usesHostNetwork } from '../pod/files.ts';
import { netnsOf } from '../pod/netns.ts';
import { podMaps } from '../pod/user-namespaces.ts';

/**
 * What the container shares with its pod. The paths are descriptors of the shim: a path by the pid of the pause process, or
 * of the container whose PID namespace is wanted, might be a stranger's by the time that the OCI runtime opens it.
 * @throws Fault NotFound, FailedPrecondition for a target that is not a running container of the pod.
 */
export async function namespacePaths(
  deps: Pick<Deps, 'containers' | 'layout' | 'shims'>,
  pod: Pod,
  { config }: Container,
): Promise<NamespacePaths> {
  if (pod.state.phase !== 'ready') throw failedPrecondition(`Pod ${pod.id} is not ready`);
  const shim = await deps.shims.ensure(pod.id);
  const of = await held(shim, pod.state.pausePid);
  const { pid: pidMode, targetId } = config.security.namespaces;
  return {
    network: usesHostNetwork(pod.config) ? '' : netnsOf(deps, pod),
    uts: usesHostNetwork(pod.config) ? '' : of('uts'),
    ipc: usesHostIpc(pod.config) ? '' : of('ipc'),
    user: podMaps(pod.config) ? of('user') : '',
    pid: pidMode === 'target' ? await ofTarget(deps, pod, shim, targetId) : pidMode === 'pod' ? of('pid') : '',
  };
}

type Type = 'uts' | 'ipc' | 'pid' | 'user';

async function held(shim: Shim, pausePid: number): Promise<(type: Type) => string> {
  const namespaces = await holdIn(shim);
  return (type) => (namespaces ? descriptorPath(shim, namespaces[type]) : `/proc/${pausePid}/ns/${type}`);
}

async function ofTarget(deps: Pick<Deps, 'containers'>, pod: Pod, shim: Shim, targetId: string): Promise<string> {
  const target = deps.containers.find(targetId);
  if (!target || target.podId !== pod.id) throw notFound(`container of pod ${pod.id}`, targetId);
  if (target.state.phase !== 'running') {
    throw failedPrecondition(`Container ${target.id}, whose PID namespace is wanted, is ${target.state.phase}`);
  }
  const namespaces = await holdIn(shim, target.id);
  return namespaces ? descriptorPath(shim, namespaces.pid) : `/proc/${target.state.pid}/ns/pid`;
}

/** Two slashes: runc 1.5 takes whatever starts as /proc/<pid> for a path of that process' own user namespace. */
const descriptorPath = (shim: Shim, fd: number): string => `/proc//${shim.pid}/fd/${fd}`;

/** Null: the pod's shim is of an earlier build. */
async function holdIn(shim: Shim, key?: string) {
  try {
    return await shim.hold(key);
  } catch (error) {
    if (isFault(error, 'Unimplemented')) return null;
    throw error;
  }
}
