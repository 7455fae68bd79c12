import { failedPrecondition, isErrno } from '../../base/fault.ts';
import type { Mount } from '../../model/config.ts';
import type { Looker } from '../../shim/index.ts';
import { mountOf, readMountTable } from '../../sys/mountinfo.ts';
import { atHostPath } from './host-path.ts';

/**
 * The request's mounts with canonical host paths, missing ones made as directories unless `refuseMissing`, and their
 * propagation checked against the mount that holds the source. Image volumes are left as they are.
 */
export async function resolveMounts(
  looker: Looker,
  mounts: readonly Mount[],
  { refuseMissing }: { refuseMissing: boolean },
): Promise<Mount[]> {
  // All are asked for at once: the looker takes them in their order.
  const resolved = await Promise.all(
    mounts.map(async (mount) => {
      const isImage = mount.image !== '';
      return isImage ? mount : { ...mount, hostPath: await resolvedPath(looker, mount.hostPath, refuseMissing) };
    }),
  );
  if (resolved.some(({ propagation }) => propagation !== 'private')) {
    const table = await readMountTable();
    for (const mount of resolved) checkPropagation(mount, table);
  }
  return resolved;
}

const resolvedPath = (looker: Looker, path: string, refuseMissing: boolean): Promise<string> =>
  atHostPath('Host path', path, () => existingPath(looker, path, refuseMissing));

async function existingPath(looker: Looker, path: string, refuseMissing: boolean): Promise<string> {
  try {
    return await looker.resolve(path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  if (refuseMissing) throw failedPrecondition(`Host path ${JSON.stringify(path)} does not exist: create it`);
  await looker.makePath(path, 0o755); // as the peers make them: the daemon's umask would keep a container's users out
  return looker.resolve(path);
}

/** mount_namespaces(7): a mount can only take part in what its source takes part in. */
export function checkPropagation({ hostPath, propagation }: Mount, table: string): void {
  if (propagation === 'private') return;
  const source = mountOf(hostPath, table);
  if (source?.shared) return;
  const at = `Host path ${JSON.stringify(hostPath)} is on mount ${JSON.stringify(source?.mountPoint ?? '/')}`;
  if (propagation === 'bidirectional') {
    throw failedPrecondition(
      `${at}, which is not a shared mount: run mount --make-rshared on it, or use no propagation`,
    );
  }
  if (!source?.slave) {
    throw failedPrecondition(
      `${at}, which is not a shared or slave mount: run mount --make-rshared on it, or use no propagation`,
    );
  }
}
