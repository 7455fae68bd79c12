import { chmodSync, existsSync } from 'node:fs';
import { chown } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { invalidArgument, isErrno } from '../../base/fault.ts';
import { allOf } from '../../base/run-all.ts';
import type { PodConfig } from '../../model/config.ts';
import type { PodId } from '../../model/ids.ts';
import type { Pod } from '../../model/pod.ts';
import { letGroupsThrough } from '../../sys/access.ts';
import { hostId } from '../../sys/idmap.ts';
import { bindMount, mountTmpfs } from '../../sys/mounts.ts';
import { readText } from '../../sys/read-file.ts';
import { makeDirectory, writeNewFile } from '../../sys/write-file.ts';
import type { Deps } from '../deps.ts';
import { podMaps } from './user-namespaces.ts';

export const usesHostNetwork = ({ security }: PodConfig): boolean => security.namespaces.network === 'node';
export const usesHostIpc = ({ security }: PodConfig): boolean => security.namespaces.ipc === 'node';

/** The name that the pod's processes see: with the host's network it is the host's. */
export const podHostname = (config: PodConfig): string =>
  usesHostNetwork(config) || !config.hostname ? hostname() : config.hostname;

/** Makes the pod's directory, or closes one of before to all others. */
export async function makePodDirectory(deps: Pick<Deps, 'layout' | 'pods'>, pod: Pod): Promise<void> {
  if (podMaps(pod.config)) openWay(deps);
  await makePassable(pod, deps.layout.pod(pod.id));
}

/**
 * A directory on the way to a container's root, which the OCI runtime goes as the root of the pod's user namespace: it
 * may pass, without looking into it. Where there is none, nobody may. The parent exists.
 */
export async function makePassable({ config }: Pod, path: string): Promise<void> {
  const maps = podMaps(config);
  await makeDirectory(path, maps ? 0o710 : 0o700);
  if (maps) await chown(path, 0, hostId(maps.gids, 0)!);
}

/** The directories above those of the pods are passed by the roots of the user namespaces that there are, and nobody else. */
export function openWay(deps: Pick<Deps, 'layout' | 'pods'>): void {
  const gids = [...deps.pods.all()]
    .filter(({ state }) => !(state.phase === 'notReady' && state.released))
    .flatMap(({ config }) => hostId(podMaps(config)?.gids ?? [], 0) ?? []);
  for (const path of [deps.layout.runDir, deps.layout.pods]) {
    try {
      letGroupsThrough(path, gids);
    } catch (error) {
      if (!isErrno(error, 'EOPNOTSUPP')) throw error;
      chmodSync(path, gids.length > 0 ? 0o711 : 0o700); // what is below is closed all the same
    }
  }
}

/** Makes a file of the pod's its root's own, where that is not the host's. */
export async function giveToPod({ config }: Pod, path: string): Promise<void> {
  const maps = podMaps(config);
  if (maps) await chown(path, hostId(maps.uids, 0)!, hostId(maps.gids, 0)!);
}

/** As the peers: /dev/shm of a pod that has its own IPC namespace. */
const sharedBytes = 64 * 1024 * 1024;

/**
 * Makes what every container of the pod gets as /dev/shm, /etc/hostname, /etc/resolv.conf and, with the host's network,
 * /etc/hosts; for a network of its own writeHosts follows. They may be written from inside, so they are on a tmpfs of the
 * pod's own: on /run one container would fill it for the host.
 */
export async function makeShared(deps: Pick<Deps, 'layout'>, pod: Pod): Promise<void> {
  const [resolver, hosts] = await allOf([resolvConf(pod.config), hostsOfHost(pod.config)]);
  const target = deps.layout.shared(pod.id);
  await makeDirectory(target, 0o700);
  // Without flags of its own: an OCI runtime that makes a bind mount of it read-only in a user namespace may not drop them,
  // and runc 1.1 does not know. Each mount of it has those that it needs.
  mountTmpfs(target, { size: sharedBytes, mode: 0o700 }, {});
  await allOf([
    makeShm(pod, join(target, 'shm')),
    writePodFile(deps, pod, 'hostname', `${podHostname(pod.config)}\n`),
    writePodFile(deps, pod, 'resolv.conf', resolver),
    ...(hosts === null ? [] : [writePodFile(deps, pod, 'hosts', hosts)]),
  ]);
}

const hostsOfHost = async (config: PodConfig): Promise<string | null> =>
  usesHostNetwork(config) ? readHostFile('/etc/hosts') : null;

async function makeShm(pod: Pod, path: string): Promise<void> {
  if (usesHostIpc(pod.config)) return;
  await makeDirectory(path, 0o1777);
  await giveToPod(pod, path);
  // In a user namespace crun 1.8 limits no mount that can be written to.
  if (podMaps(pod.config)) bindMount(path, path, { nosuid: true, nodev: true, noexec: true });
}

export type SharedName = 'shm' | 'hosts' | 'hostname' | 'resolv.conf';

/** Where one of them is; in a pod of an earlier build each lies in the pod's directory itself. */
export function sharedPath(deps: Pick<Deps, 'layout'>, id: PodId, name: SharedName): string {
  const path = join(deps.layout.shared(id), name);
  return existsSync(path) ? path : join(deps.layout.pod(id), name);
}

/** Every user of a container may read it, whatever the daemon's umask is. */
async function writePodFile(deps: Pick<Deps, 'layout'>, pod: Pod, name: SharedName, text: string): Promise<void> {
  const path = join(deps.layout.shared(pod.id), name);
  await writeNewFile(path, text, 0o644);
  await giveToPod(pod, path);
}

/** Writes /etc/hosts once the addresses are known; kubelet mounts its own over it. */
export const writeHosts = (deps: Pick<Deps, 'layout'>, pod: Pod, ips: readonly string[]): Promise<void> =>
  writePodFile(deps, pod, 'hosts', hostsText(podHostname(pod.config), ips));

const hostsText = (name: string, ips: readonly string[]): string =>
  [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'fe00::0\tip6-mcastprefix',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
    ...ips.map((ip) => `${ip}\t${name}`),
    '',
  ].join('\n');

async function resolvConf({ dns }: PodConfig): Promise<string> {
  if (!dns || dns.servers.length + dns.searches.length + dns.options.length === 0)
    return readHostFile('/etc/resolv.conf');
  for (const word of [...dns.servers, ...dns.searches, ...dns.options]) {
    if (/\s/.test(word)) throw invalidArgument(`config.dns_config: ${JSON.stringify(word)} contains white space`);
  }
  const lines = dns.servers.map((server) => `nameserver ${server}`);
  if (dns.searches.length > 0) lines.unshift(`search ${dns.searches.join(' ')}`);
  if (dns.options.length > 0) lines.push(`options ${dns.options.join(' ')}`);
  return `${lines.join('\n')}\n`;
}

const mostHostFileBytes = 1 << 20;

async function readHostFile(path: string): Promise<string> {
  try {
    return await readText(path, mostHostFileBytes);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  }
}
