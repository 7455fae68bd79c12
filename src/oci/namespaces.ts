import { Fault } from '../base/fault.ts';
import type { NamespaceMode } from '../model/config.ts';
import type { SpecInput } from './input.ts';
import type { OciIdMapping, OciNamespace } from './spec.ts';

/**
 * The namespaces of a container: joined by path, new, or left out (the host's) as the request's modes say. UTS goes with
 * the network, as in the pod. On cgroup v2 only a privileged container sees the host's cgroup tree.
 */
export function buildNamespaces({ container, namespacePaths, host }: SpecInput): OciNamespace[] {
  const modes = container.security.namespaces;
  const paths = namespacePaths;
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

function namespace(type: OciNamespace['type'], mode: NamespaceMode, path: string): OciNamespace[] {
  if (mode === 'node') return [];
  if (mode === 'target' && path === '') {
    throw new Fault('Internal', `The ${type} namespace of the target container has no path`);
  }
  return [path === '' || mode === 'container' ? { type } : { type, path }];
}

/** The uid and gid maps of the pod's user namespace; nothing without one. */
export function idMappings({ container }: SpecInput): { uidMappings?: OciIdMapping[]; gidMappings?: OciIdMapping[] } {
  const user = container.security.namespaces.user;
  if (user?.mode !== 'pod') return {};
  return { uidMappings: ociMappings(user.uids), gidMappings: ociMappings(user.gids) };
}

/** CRI's mappings in the field names of OCI. */
export const ociMappings = (
  mappings: readonly { hostId: number; containerId: number; length: number }[],
): OciIdMapping[] =>
  mappings.map(({ hostId, containerId, length }) => ({ containerID: containerId, hostID: hostId, size: length }));
