import { createHash } from 'node:crypto';
import { invalidArgument } from '../base/fault.ts';
import type { SeLinuxOptions } from '../model/config.ts';
import type { PodId } from '../model/ids.ts';
import type { SpecInput } from './input.ts';

const processType = 'container_t';
const fileType = 'container_file_t';
const fields = ['user', 'role', 'type', 'level'] as const;
/** Parts of a context are separated by colons; only a level holds more of them. */
const plain = /^[A-Za-z0-9_.-]{0,64}$/;
const level = /^[A-Za-z0-9_.,:-]{0,128}$/;

/** The label of a container's process, or empty: SELinux is off, or the container is privileged. */
export function processLabel({ container, pod, podId, host }: SpecInput): string {
  const { selinux, privileged } = container.security;
  if (!host.selinux || privileged) return '';
  const options = checked(selinux ?? pod.security.selinux);
  return label(options, options?.role || 'system_r', options?.type || processType, podId);
}

/** The label of a container's files, or empty. */
export function mountLabel({ container, pod, podId, host }: SpecInput): string {
  const { selinux, privileged } = container.security;
  if (!host.selinux || privileged) return '';
  return label(checked(selinux ?? pod.security.selinux), 'object_r', fileType, podId);
}

const label = (options: SeLinuxOptions | null, role: string, type: string, podId: PodId) =>
  [options?.user || 'system_u', role, type, options?.level || podLevel(podId)].join(':');

/** Two different categories of 1024 from the pod's id: pods differ, containers of a pod agree, nothing is to be stored. */
function podLevel(podId: PodId): string {
  const hash = createHash('sha256').update(podId).digest();
  const first = hash.readUInt16BE(0) % 1023;
  const second = first + 1 + (hash.readUInt16BE(2) % (1023 - first));
  return `s0:c${first},c${second}`;
}

function checked(options: SeLinuxOptions | null): SeLinuxOptions | null {
  for (const field of options ? fields : []) {
    const value = options![field];
    if (!(field === 'level' ? level : plain).test(value)) {
      throw invalidArgument(`SELinux ${field} ${JSON.stringify(value.slice(0, 64))} is not part of a context`);
    }
  }
  return options;
}
