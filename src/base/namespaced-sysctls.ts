/** What each namespace isolates (namespaces(7)); anything else would change the host. */
const namespaced: readonly { readonly pattern: RegExp; readonly owner: 'network' | 'ipc' }[] = [
  { pattern: /^net\./, owner: 'network' },
  { pattern: /^kernel\.domainname$/, owner: 'network' },
  { pattern: /^kernel\.(shm_rmid_forced|shmall|shmmax|shmmni|msgmax|msgmnb|msgmni|sem)$/, owner: 'ipc' },
  { pattern: /^kernel\.(msg|sem|shm)_next_id$/, owner: 'ipc' },
  { pattern: /^fs\.mqueue\./, owner: 'ipc' },
];

/** The namespace that a sysctl is of, by its name with dots; undefined: it is the host's. */
export const ownerOfSysctl = (name: string): 'network' | 'ipc' | undefined =>
  namespaced.find(({ pattern }) => pattern.test(name))?.owner;

/** The name of a sysctl: dots as separators, slashes for dots within names. */
export const isSysctlName = (name: string): boolean =>
  /^[A-Za-z0-9_-]+(\.\/*[A-Za-z0-9_-][A-Za-z0-9_/-]*)+$/.test(name) && name.length <= 256;
