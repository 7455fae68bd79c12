import { chmod, mkdir, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { failedPrecondition, isErrno } from '../../base/fault.ts';
import type { Mount } from '../../model/config.ts';
import { type MountEntry, mountOf, readMountInfo } from '../../sys/mountinfo.ts';

/**
 * The request's mounts with canonical host paths, missing ones made as directories unless `refuseMissing`, and their
 * propagation checked against the mount that holds the source. Image volumes are left as they are. A path may lie on a
 * file server that hangs: that costs a thread, not the event loop.
 */
export async function resolveMounts(
  mounts: readonly Mount[],
  { refuseMissing }: { refuseMissing: boolean },
): Promise<Mount[]> {
  const resolved: Mount[] = [];
  for (const mount of mounts) {
    const isImage = mount.image !== '';
    resolved.push(isImage ? mount : { ...mount, hostPath: await existingPath(mount.hostPath, refuseMissing) });
  }
  if (resolved.some(({ propagation }) => propagation !== 'private')) {
    const table = readMountInfo();
    for (const mount of resolved) checkPropagation(mount, table);
  }
  return resolved;
}

async function existingPath(path: string, refuseMissing: boolean): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  if (refuseMissing) throw failedPrecondition(`Host path ${JSON.stringify(path)} does not exist: create it`);
  const first = await mkdir(path, { recursive: true });
  if (first !== undefined) await openToAll(first, path);
  return realpath(path);
}

/** As the peers make them: the daemon's umask would keep a container's users out. */
async function openToAll(first: string, last: string): Promise<void> {
  for (let path = last; path.length >= first.length; path = dirname(path)) await chmod(path, 0o755);
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
