import { Fault, invalidArgument } from '../../base/fault.ts';
import type { IdMapping, PodConfig } from '../../model/config.ts';
import type { IdMaps } from '../../sys/idmap.ts';
import type { HandlerFeatures } from '../runtime/handler-features.ts';

/** The maps of the pod's own user namespace, or null: it has none. */
export function podMaps({ security }: PodConfig): IdMaps | null {
  const { user } = security.namespaces;
  return user?.mode === 'pod' ? { uids: user.uids, gids: user.gids } : null;
}

/**
 * Checks that a pod can have the user namespace that it asks for.
 * @throws Fault InvalidArgument for maps that CRI does not allow or namespaces that do not go together,
 * FailedPrecondition if the handler cannot do it.
 */
export function checkUserNamespace(config: PodConfig, handler: string, features: HandlerFeatures): void {
  const maps = podMaps(config);
  if (!maps) return;
  const [uids, gids] = [onlyMap('uids', maps.uids), onlyMap('gids', maps.gids)];
  if (uids.hostId !== gids.hostId || uids.length !== gids.length) {
    throw invalidArgument('userns_options: uids and gids differ, they must map the same range');
  }
  for (const name of ['pid', 'ipc'] as const) {
    if (config.security.namespaces[name] !== 'node') continue;
    throw invalidArgument(`userns_options: a pod with a user namespace cannot use the host's ${name} namespace`);
  }
  if (features.userNamespaces) return;
  throw new Fault(
    'FailedPrecondition',
    `Handler ${JSON.stringify(handler)} (${features.version || 'unknown version'}) cannot run pods with a user ` +
      'namespace: it takes an OCI runtime that joins one and Linux 5.19',
  );
}

/** CRI: one range that starts with root (UserNamespace.uids). */
function onlyMap(field: string, ranges: readonly IdMapping[]): IdMapping {
  const [first, ...more] = ranges;
  if (!first || more.length > 0) throw invalidArgument(`userns_options.${field} must have exactly one mapping`);
  if (first.containerId !== 0) throw invalidArgument(`userns_options.${field} must map container id 0`);
  return first;
}
