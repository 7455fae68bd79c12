import { capabilityNames } from '../base/capability-names.ts';
import { invalidArgument } from '../base/fault.ts';
import type { ContainerSecurity } from '../model/config.ts';
import type { OciCapabilities } from './spec.ts';

/** What a container gets when it asks for nothing: the peers' set. */
export const defaultCapabilities: readonly string[] = (
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL ' +
  'AUDIT_WRITE'
)
  .split(' ')
  .map((name) => `CAP_${name}`);

const all = 'ALL';

/**
 * The capability sets of a container, none beyond `permitted` (the daemon's own). A drop wins over an add of the same
 * name; ALL is widened before single names count, and dropping ALL leaves only what is added by name. Inheritable and
 * ambient stay empty but for requested ambient ones. InvalidArgument for an unknown name.
 */
export function resolveCapabilities(security: ContainerSecurity, permitted: readonly string[]): OciCapabilities {
  const ambient = security.capabilities.addAmbient.map(canonicalName);
  const wanted = security.privileged ? new Set(capabilityNames) : wantedSet(security.capabilities);
  if (!security.privileged) for (const name of expand(ambient)) wanted.add(name);
  const given = capabilityNames.filter((name) => wanted.has(name) && permitted.includes(name));
  const kept = given.filter((name) => expand(ambient).includes(name));
  return { bounding: given, effective: given, permitted: given, inheritable: kept, ambient: kept };
}

function wantedSet({ add, drop }: ContainerSecurity['capabilities']): Set<string> {
  const adds = add.map(canonicalName);
  const drops = drop.map(canonicalName);
  const start = drops.includes(all) ? [] : adds.includes(all) ? capabilityNames : defaultCapabilities;
  const wanted = new Set([...start, ...adds.filter((name) => name !== all)]);
  for (const name of drops) wanted.delete(name);
  return wanted;
}

const expand = (names: readonly string[]) => (names.includes(all) ? capabilityNames : names);

/** `net_admin`, `CAP_NET_ADMIN` and `NET_ADMIN` all name CAP_NET_ADMIN; `ALL` stays as it is. */
function canonicalName(text: string): string {
  const upper = text.toUpperCase();
  if (upper === all || upper === `CAP_${all}`) return all;
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (!capabilityNames.includes(name)) {
    throw invalidArgument(`Capability ${JSON.stringify(text.slice(0, 64))} is unknown: use a name such as NET_ADMIN`);
  }
  return name;
}
