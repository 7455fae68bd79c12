import { invalidArgument } from '../base/fault.ts';
import { isSysctlName, ownerOfSysctl } from '../base/namespaced-sysctls.ts';
import type { Namespaces } from '../model/config.ts';

const longestValue = 4096;

/**
 * A pod's sysctls as `name=value`, dots as separators and slashes for dots within names, sorted by name. Only namespaced
 * ones, and only those of namespaces that the pod has for itself. InvalidArgument says which rule a name or value breaks.
 */
export function checkSysctls(sysctls: Readonly<Record<string, string>>, namespaces: Namespaces): string[] {
  return Object.entries(sysctls)
    .map(([name, value]) => `${checkedName(name, namespaces)}=${checkedValue(name, value)}`)
    .sort();
}

function checkedName(text: string, namespaces: Namespaces): string {
  const shown = JSON.stringify(text.slice(0, 128));
  const name = dotted(text);
  if (!isSysctlName(name)) throw invalidArgument(`Sysctl ${shown} is not the name of a sysctl`);
  const owner = ownerOfSysctl(name);
  if (!owner) throw invalidArgument(`Sysctl ${shown} is not namespaced: it would change the host`);
  if (namespaces[owner] === 'node') {
    throw invalidArgument(`Sysctl ${shown} would change the host: the pod uses the host's ${owner} namespace`);
  }
  return name;
}

/**
 * sysctl.d(5) takes `net/ipv4/conf/eth0.100/x` for `net.ipv4.conf.eth0/100.x`: whichever separator comes first is the one
 * in use, and the other one stands for it within a name.
 */
function dotted(text: string): string {
  if (/[./]/.exec(text)?.[0] !== '/') return text;
  return text.replace(/[./]/g, (separator) => (separator === '/' ? '.' : '/'));
}

function checkedValue(name: string, value: string): string {
  if (/[\0\n\r]/.test(value) || value.length > longestValue) {
    throw invalidArgument(
      `The value of sysctl ${JSON.stringify(name.slice(0, 128))} must be one line of at most 4096 characters`,
    );
  }
  return value;
}

/** What pods have without asking. */
export type UnaskedSysctls = {
  readonly unprivilegedPorts: boolean;
  readonly unprivilegedIcmp: boolean;
  /** `name=value` each. */
  readonly sysctls: readonly string[];
};

/**
 * The sysctls of a pod as checkSysctls gives them: what it asks for, and what it does not ask for as far as it has the
 * namespaces for itself. Groups that a user namespace does not map cannot be allowed to ping (EINVAL).
 */
export function sysctlsOfPod(
  { unprivilegedPorts, unprivilegedIcmp, sysctls }: UnaskedSysctls,
  asked: Readonly<Record<string, string>>,
  namespaces: Namespaces,
): string[] {
  const unasked = [
    ...(unprivilegedPorts ? ['net.ipv4.ip_unprivileged_port_start=0'] : []),
    ...(unprivilegedIcmp && namespaces.user?.mode !== 'pod' ? ['net.ipv4.ping_group_range=0 2147483647'] : []),
    ...sysctls,
  ].filter((setting) => isOwn(nameOf(setting), namespaces));
  const all = [...unasked, ...checkSysctls(asked, namespaces)];
  return [...new Map(all.map((setting) => [nameOf(setting), setting])).values()].sort();
}

const nameOf = (setting: string): string => setting.slice(0, setting.indexOf('='));

function isOwn(name: string, namespaces: Namespaces): boolean {
  const owner = ownerOfSysctl(name);
  return owner !== undefined && namespaces[owner] !== 'node';
}
