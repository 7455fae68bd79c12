import { invalidArgument, isErrno, isFault } from '../../base/fault.ts';
import type { Pod } from '../../model/pod.ts';
import { sysctlsOfPod } from '../../oci/index.ts';
import type { Deps } from '../deps.ts';

/** The sysctls of a pod, as `name=value`: those that it asks for, and those that pods have without asking. */
export const podSysctls = ({ settings }: Pick<Deps, 'settings'>, { config }: Pick<Pod, 'config'>): string[] =>
  sysctlsOfPod(settings.pods, config.sysctls, config.security.namespaces);

/** Runs what writes them. @throws Fault InvalidArgument for a value that the kernel does not take, which is the request's. */
export async function writingSysctls<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isFault(error, 'Internal') || !isErrno(error.cause, 'EINVAL', 'ERANGE', 'E2BIG')) throw error;
    throw error.message.includes('set the sysctl ') ? invalidArgument(error.message) : error;
  }
}
