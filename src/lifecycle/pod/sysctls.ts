import type { Pod } from '../../model/pod.ts';
import { sysctlsOfPod } from '../../oci/index.ts';
import type { Deps } from '../deps.ts';

/** The sysctls of a pod, as `name=value`: those that it asks for, and those that pods have without asking. */
export const podSysctls = ({ settings }: Pick<Deps, 'settings'>, { config }: Pick<Pod, 'config'>): string[] =>
  sysctlsOfPod(settings.pods, config.sysctls, config.security.namespaces);
