import { chown, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { invalidArgument, isErrno } from '../base/fault.ts';
import { allOf } from '../base/run-all.ts';
import type { PodConfig } from '../model/config.ts';
import type { Pod } from '../model/pod.ts';
import { hostId } from '../sys/idmap.ts';
import { makeDirectory, writeNewFile } from '../sys/write-file.ts';
import { type Deps, runPaths } from './deps.ts';
import { podMaps } from './user-namespaces.ts';

export const usesHostNetwork = ({ security }: PodConfig): boolean => security.namespaces.network === 'node';
export const usesHostIpc = ({ security }: PodConfig): boolean => security.namespaces.ipc === 'node';

/** The name that the pod's processes see: with the host's network it is the host's. */
export const podHostname = (config: PodConfig): string =>
  usesHostNetwork(config) || !config.hostname ? hostname() : config.hostname;

/** Makes the pod's directory: not listable by others, yet to be passed through on the way to the files in it. */
export async function makePodDirectory(deps: Deps, pod: Pod): Promise<void> {
  await makePassable(runPaths(deps).pod(pod.id));
}

/** A directory that the root of a user namespace can go through; its parent exists. */
export const makePassable = (path: string): Promise<void> => makeDirectory(path, 0o711);

/** Makes a file of the pod's its root's own, where that is not the host's. */
export async function giveToPod({ config }: Pod, path: string): Promise<void> {
  const maps = podMaps(config);
  if (maps) await chown(path, hostId(maps.uids, 0)!, hostId(maps.gids, 0)!);
}

/** Writes what every container of the pod gets as /etc/hostname and /etc/resolv.conf. */
export async function writePodFiles(deps: Deps, pod: Pod): Promise<void> {
  const resolver = await resolvConf(pod.config);
  await allOf([
    writePodFile(deps, pod, 'hostname', `${podHostname(pod.config)}\n`),
    writePodFile(deps, pod, 'resolv.conf', resolver),
  ]);
}

/** Every user of a container may read it, whatever the daemon's umask is. */
async function writePodFile(deps: Deps, pod: Pod, name: string, text: string): Promise<void> {
  const path = runPaths(deps).file(pod.id, name);
  await writeNewFile(path, text, 0o644);
  await giveToPod(pod, path);
}

/** Writes /etc/hosts once the addresses are known; kubelet mounts its own over it. */
export async function writeHosts(deps: Deps, pod: Pod, ips: readonly string[]): Promise<void> {
  const { config } = pod;
  const text = usesHostNetwork(config) ? await readHostFile('/etc/hosts') : hostsText(podHostname(config), ips);
  await writePodFile(deps, pod, 'hosts', text);
}

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

async function readHostFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  }
}
