import { failedPrecondition, isErrno } from '../../base/fault.ts';
import type { Looker } from '../../shim/index.ts';

/** Trees whose labels the host lives by: a container that could change them would lock everybody out. */
const ofTheHost = new Set(
  '/ /bin /boot /dev /etc /home /lib /lib64 /proc /root /run /sbin /sys /tmp /usr /var'.split(' '),
);

/**
 * Gives these trees the container's SELinux label, so that it may use them. An empty label (SELinux is off, or the container
 * is privileged) changes nothing. @throws Fault FailedPrecondition for a tree of the host's own.
 */
export async function relabelTrees(looker: Looker, hostPaths: readonly string[], label: string): Promise<void> {
  if (label === '') return;
  for (const hostPath of hostPaths) {
    if (ofTheHost.has(hostPath)) {
      throw failedPrecondition(`Host path ${hostPath} must not be relabelled: the host needs its own labels there`);
    }
    await relabel(looker, hostPath, label);
  }
}

/** The path was canonical: if a link is there by now, somebody changed it. */
async function relabel(looker: Looker, path: string, label: string): Promise<void> {
  try {
    await looker.label(path, 'security.selinux', label);
  } catch (error) {
    if (!isErrno(error, 'ELOOP')) throw error;
    throw failedPrecondition(
      `${path} leads through a symbolic link by now: it is not relabelled; name what it leads to`,
    );
  }
}
