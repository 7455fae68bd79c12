import { isObject } from '../base/json.ts';
import { defaultInterface } from '../stats/index.ts';

/** In the order of the result; a plugin's output is what it may be, so that whatever is no list is none. */
const listed = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value.filter(isObject) : []);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/**
 * The CNI result of a pod's network as containerd's verbose status has it (go-cni's Result): addresses, without the lengths
 * of prefixes, by interface. Null for a pod that has none.
 */
export function cniResultOf(result: unknown): object | null {
  if (!isObject(result)) return null;
  const all = listed(result.interfaces);
  const interfaces = new Map<string, object>();
  const addresses = new Map<string, object[]>([[defaultInterface, []]]);
  for (const { name, mac, sandbox } of all) {
    addresses.set(text(name), []);
    interfaces.set(text(name), { Mac: text(mac), Sandbox: text(sandbox) });
  }
  for (const { address, gateway, interface: index } of listed(result.ips)) {
    const name = typeof index === 'number' ? text(all[index]?.name) : defaultInterface; // what names none is meant
    addresses.get(name)?.push({ IP: text(address).replace(/\/.*$/, ''), Gateway: text(gateway) });
  }
  const entries = [...addresses].map(([name, ips]) => [
    name,
    { IPConfigs: ips.length > 0 ? ips : null, Mac: '', Sandbox: '', ...interfaces.get(name) },
  ]);
  return {
    Interfaces: Object.fromEntries(entries),
    DNS: [isObject(result.dns) ? result.dns : {}],
    Routes: listed(result.routes),
  };
}
