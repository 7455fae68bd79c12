import { failedPrecondition } from '../../base/fault.ts';
import type { ResolvedMount } from '../../oci/index.ts';
import { labelTree } from '../../sys/places.ts';

/** Trees whose labels the host lives by: a container that could change them would lock everybody out. */
const ofTheHost = new Set(
  '/ /bin /boot /dev /etc /home /lib /lib64 /proc /root /run /sbin /sys /tmp /usr /var'.split(' '),
);

/**
 * Gives what the request says to relabel the container's SELinux label, so that it may use it. An empty label (SELinux is
 * off, or the container is privileged) changes nothing. @throws Fault FailedPrecondition for a tree of the host's own.
 */
export async function relabelMounts(mounts: readonly ResolvedMount[], label: string): Promise<void> {
  if (label === '') return;
  for (const { selinuxRelabel, hostPath } of mounts) {
    if (!selinuxRelabel || hostPath === '') continue;
    if (ofTheHost.has(hostPath)) {
      throw failedPrecondition(`Host path ${hostPath} must not be relabelled: the host needs its own labels there`);
    }
    await labelTree(hostPath, 'security.selinux', label);
  }
}
