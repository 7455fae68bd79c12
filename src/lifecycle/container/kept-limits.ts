import type { Pod } from '../../model/pod.ts';
import type { ResolvedMount } from '../../oci/index.ts';
import { mountOf, readMountTable } from '../../sys/mountinfo.ts';
import { podMaps } from '../pod/user-namespaces.ts';

const limits: readonly string[] = ['ro', 'nosuid', 'nodev', 'noexec'];

/**
 * What the mount of a host path forbids. In a user namespace nobody may take that away: who makes a mount read-only, say, without
 * naming it does so (EPERM; runc 1.1), or really takes it (crun 1.8, which has opened the source outside).
 */
export const limitsOf = (path: string, table: string): string[] =>
  (mountOf(path, table)?.options ?? []).filter((option) => limits.includes(option));

/** Those that the OCI runtime binds and then changes; what is of an image Berth has mounted itself. */
const isChanged = ({ image, readonly, mountOptions }: ResolvedMount): boolean =>
  image === '' && (readonly || (mountOptions ?? []).length > 0);

/** The request's mounts, in a user namespace with what the mounts of their sources forbid. */
export async function withKeptLimits(pod: Pod, mounts: readonly ResolvedMount[]): Promise<readonly ResolvedMount[]> {
  if (!podMaps(pod.config) || !mounts.some(isChanged)) return mounts;
  const table = await readMountTable();
  return mounts.map((mount) => (isChanged(mount) ? { ...mount, kept: limitsOf(mount.hostPath, table) } : mount));
}
