import { capabilityNames, usualCapabilities } from '../base/capability-names.ts';
import { invalidArgument } from '../base/fault.ts';
import type { ContainerSecurity } from '../model/config.ts';
import type { OciCapabilities } from './spec.ts';

/** What a container gets when it asks for nothing and the operator says nothing. */
export const defaultCapabilities: readonly string[] = usualCapabilities.map((name) => `CAP_${name}`);

const all = 'ALL';

/**
 * The capability sets of a container, none beyond `permitted` (the daemon's own). A drop wins over an add of the same
 * name; ALL is widened before single names count, and dropping ALL leaves only what is added by name. Inheritable and
 * ambient stay empty but for requested ambient ones. `unasked`: what one gets that asks for nothing. InvalidArgument for an
 * unknown name.
 */
export function resolveCapabilities(
  security: ContainerSecurity,
  permitted: readonly string[],
  unasked: readonly string[] = usualCapabilities,
): OciCapabilities {
  const ambient = security.capabilities.addAmbient.map(canonicalName);
  const usual = unasked.map(canonicalName);
  const wanted = security.privileged ? new Set(capabilityNames) : wantedSet(security.capabilities, usual);
  if (!security.privileged) for (const name of expand(ambient)) wanted.add(name);
  const given = capabilityNames.filter((name) => wanted.has(name) && permitted.includes(name));
  const kept = given.filter((name) => expand(ambient).includes(name));
  return { bounding: given, effective: given, permitted: given, inheritable: kept, ambient: kept };
}

function wantedSet({ add, drop }: ContainerSecurity['capabilities'], usual: readonly string[]): Set<string> {
  const adds = add.map(canonicalName);
  const drops = drop.map(canonicalName);
  const start = drops.includes(all) ? [] : adds.includes(all) ? capabilityNames : usual;
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
