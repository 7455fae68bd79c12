import { Fault, invalidArgument } from '../base/fault.ts';
import { sameJson } from '../base/json.ts';
import type { NamespaceMode, Namespaces, UserNamespace } from '../model/config.ts';
import type { SpecInput } from './input.ts';
import type { OciIdMapping, OciNamespace } from './spec.ts';

const hostNamespaces = { network: 'network', ipc: 'IPC', pid: 'PID' } as const;

/**
 * Whose namespaces a container uses. Network, IPC and user are the pod's; the PID namespace is the container's own choice.
 * InvalidArgument where the container asks for what its pod has not: the host's, or other owners.
 */
function effectiveNamespaces({ pod, container }: SpecInput): Namespaces {
  const shared = pod.security.namespaces;
  const asked = container.security.namespaces;
  for (const [key, name] of Object.entries(hostNamespaces) as ['network' | 'ipc' | 'pid', string][]) {
    if (asked[key] === 'node' && shared[key] !== 'node') {
      throw invalidArgument(
        `The container asks for the host's ${name} namespace, its pod does not: ask for it in both`,
      );
    }
  }
  if (asked.user && !sameOwners(asked.user, shared.user)) {
    throw invalidArgument(
      'The userns_options of the container are not those of its pod: give it the same ones, or none',
    );
  }
  const { pid, targetId } = asked;
  // A pod without a shared PID namespace has none to join: its pause process is in the host's.
  const joined = shared.pid === 'node' || shared.pid === 'pod' ? shared.pid : 'container';
  return { ...shared, pid: pid === 'pod' ? joined : pid, targetId };
}

/**
 * The namespaces of a container: joined by path, new, or left out (the host's). UTS goes with the network, as in the pod.
 * On cgroup v2 only a privileged container sees the host's cgroup tree.
 */
export function buildNamespaces(input: SpecInput): OciNamespace[] {
  const { container, namespacePaths: paths, host } = input;
  const modes = effectiveNamespaces(input);
  return [
    { type: 'mount' },
    ...namespace('network', modes.network, paths.network),
    ...namespace('ipc', modes.ipc, paths.ipc),
    ...namespace('uts', modes.network, paths.uts),
    ...namespace('pid', modes.pid, paths.pid),
    ...(host.cgroupMode === 'v2' && !container.security.privileged ? [{ type: 'cgroup' } as const] : []),
    ...(modes.user?.mode === 'pod' ? namespace('user', 'pod', paths.user ?? '') : []),
  ];
}

/** None of the pod's own is the host's. */
function sameOwners(asked: UserNamespace, pod: UserNamespace | null): boolean {
  if (asked.mode === 'node' || pod?.mode !== 'pod') return asked.mode === (pod?.mode ?? 'node');
  return sameJson([asked.uids, asked.gids], [pod.uids, pod.gids]);
}

function namespace(type: OciNamespace['type'], mode: NamespaceMode, path: string): OciNamespace[] {
  if (mode === 'node') return [];
  if (mode === 'target' && path === '') {
    throw new Fault('Internal', `The ${type} namespace of the target container has no path`);
  }
  return [path === '' || mode === 'container' ? { type } : { type, path }];
}

/** The uid and gid maps of the pod's user namespace; nothing without one. */
export function idMappings({ pod }: SpecInput): { uidMappings?: OciIdMapping[]; gidMappings?: OciIdMapping[] } {
  const { user } = pod.security.namespaces;
  if (user?.mode !== 'pod') return {};
  return { uidMappings: ociMappings(user.uids), gidMappings: ociMappings(user.gids) };
}

/** CRI's mappings in the field names of OCI. */
const ociMappings = (mappings: readonly { hostId: number; containerId: number; length: number }[]): OciIdMapping[] =>
  mappings.map(({ hostId, containerId, length }) => ({ containerID: containerId, hostID: hostId, size: length }));
