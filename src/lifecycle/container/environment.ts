import { chmod, copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Container } from '../../model/container.ts';
import { environmentProgram, type ResolvedMount } from '../../oci/index.ts';
import { nativePath } from '../../sys/addon.ts';
import { bindMount } from '../../sys/mounts.ts';
import { makeDirectory } from '../../sys/write-file.ts';
import type { Deps } from '../deps.ts';

/**
 * The program that makes bytes of variables that are no UTF-8, for a container that has such. A copy of its own: who may
 * mount could write to it. It is mounted on itself, as programs cannot be run from where /run is noexec.
 */
export async function environmentMount(
  { layout }: Pick<Deps, 'layout'>,
  { id, podId, config }: Container,
): Promise<ResolvedMount[]> {
  if (!config.envs.some(({ encoding }) => encoding)) return [];
  const target = layout.volume(podId, id, 'environment');
  await makeDirectory(join(target, '..'), 0o700);
  await copyFile(nativePath('berth-environment'), target);
  await chmod(target, 0o555);
  bindMount(target, target, { nosuid: true, nodev: true });
  const nothing = { uidMappings: [], gidMappings: [], image: '', imageSubPath: '', recursiveReadOnly: false };
  return [
    {
      ...nothing,
      containerPath: environmentProgram,
      hostPath: target,
      source: target,
      readonly: true,
      selinuxRelabel: true,
      propagation: 'private',
      mountOptions: ['nosuid', 'nodev'],
    },
  ];
}
