import { invalidArgument } from '../base/fault.ts';
import type { Namespaces } from '../model/config.ts';

/** What each namespace isolates (namespaces(7)); anything else would change the host. */
const namespaced: readonly { readonly pattern: RegExp; readonly owner: 'network' | 'ipc' }[] = [
  { pattern: /^net\./, owner: 'network' },
  { pattern: /^kernel\.domainname$/, owner: 'network' },
  { pattern: /^kernel\.(shm_rmid_forced|shmall|shmmax|shmmni|msgmax|msgmnb|msgmni|sem)$/, owner: 'ipc' },
  { pattern: /^kernel\.(msg|sem|shm)_next_id$/, owner: 'ipc' },
  { pattern: /^fs\.mqueue\./, owner: 'ipc' },
];
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
  if (!/^[A-Za-z0-9_-]+(\.\/*[A-Za-z0-9_-][A-Za-z0-9_/-]*)+$/.test(name) || name.length > 256) {
    throw invalidArgument(`Sysctl ${shown} is not the name of a sysctl`);
  }
  const rule = namespaced.find(({ pattern }) => pattern.test(name));
  if (!rule) throw invalidArgument(`Sysctl ${shown} is not namespaced: it would change the host`);
  if (namespaces[rule.owner] === 'node') {
    throw invalidArgument(`Sysctl ${shown} would change the host: the pod uses the host's ${rule.owner} namespace`);
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
