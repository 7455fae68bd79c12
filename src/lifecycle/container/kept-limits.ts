import type { Pod } from '../../model/pod.ts';
import type { ResolvedMount } from '../../oci/index.ts';
import { mountOf, readMountInfo } from '../../sys/mountinfo.ts';
import { podMaps } from '../pod/user-namespaces.ts';

const limits: readonly string[] = ['ro', 'nosuid', 'nodev', 'noexec'];

/** Those that the OCI runtime binds and then changes; what is of an image Berth has mounted itself. */
const isChanged = ({ image, readonly, mountOptions, nodev }: ResolvedMount): boolean =>
  image === '' && (readonly || nodev === true || (mountOptions ?? []).length > 0);

/**
 * The mounts of a container, in a user namespace with what the mounts of their sources forbid: nobody may take that away there,
 * and who makes a mount read-only, say, without naming it does so (EPERM; runc 1.1), or really takes it (crun 1.8, which has
 * opened the source outside).
 */
export function withKeptLimits(pod: Pod, mounts: readonly ResolvedMount[]): readonly ResolvedMount[] {
  if (!podMaps(pod.config) || !mounts.some(isChanged)) return mounts;
  const table = readMountInfo();
  const kept = ({ hostPath }: ResolvedMount) =>
    (mountOf(hostPath, table)?.options ?? []).filter((option) => limits.includes(option));
  return mounts.map((mount) => (isChanged(mount) ? { ...mount, kept: kept(mount) } : mount));
}
