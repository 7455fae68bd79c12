import { chmodSync, mkdirSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import { failedPrecondition, isErrno } from '../base/fault.ts';
import type { Mount } from '../model/config.ts';
import { type MountEntry, mountOf, readMountInfo } from '../sys/mountinfo.ts';

/**
 * The request's mounts with canonical host paths, missing ones made as directories unless `refuseMissing`, and their
 * propagation checked against the mount that holds the source. Image volumes are left as they are.
 */
export function resolveMounts(mounts: readonly Mount[], options: { refuseMissing: boolean }): Mount[] {
  const resolved = mounts.map((mount) =>
    mount.image === '' ? { ...mount, hostPath: existingPath(mount.hostPath, options.refuseMissing) } : mount,
  );
  if (resolved.some(({ propagation }) => propagation !== 'private')) {
    const table = readMountInfo();
    for (const mount of resolved) checkPropagation(mount, table);
  }
  return resolved;
}

function existingPath(path: string, refuseMissing: boolean): string {
  try {
    return realpathSync(path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  if (refuseMissing) throw failedPrecondition(`Host path ${JSON.stringify(path)} does not exist: create it`);
  const first = mkdirSync(path, { recursive: true });
  if (first !== undefined) openToAll(first, path);
  return realpathSync(path);
}

/** As the peers make them: the daemon's umask would keep a container's users out. */
function openToAll(first: string, last: string): void {
  for (let path = last; path.length >= first.length; path = dirname(path)) chmodSync(path, 0o755);
}

/** mount_namespaces(7): a mount can only take part in what its source takes part in. */
export function checkPropagation({ hostPath, propagation }: Mount, table: readonly MountEntry[]): void {
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
