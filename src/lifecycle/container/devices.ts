import { join } from 'node:path';
import { failedPrecondition, isErrno, isFault } from '../../base/fault.ts';
import type { FileFacts } from '../../base/host-files.ts';
import type { Device } from '../../model/config.ts';
import { cleanPath, type ResolvedDevice } from '../../oci/index.ts';
import type { Looker } from '../../shim/index.ts';
import { atHostPath } from './host-path.ts';

/** What a runtime makes or mounts in every /dev, and what is not a device of the machine. */
const notOfTheHost = new Set(['pts', 'shm', 'fd', 'mqueue', 'console', 'ptmx', '.lxc', '.lxd-mounts', '.udev']);
/** Entries looked at for one request, devices or not: a request may name any directory of the host. */
const mostEntries = 16_384;

type Place = { readonly host: string; readonly path: string; readonly access: string };

/**
 * The device nodes that a request means: a directory stands for every device below it, links left out. FailedPrecondition
 * for a path that does not exist, holds no device, or holds too much to be a directory of devices.
 */
export async function resolveDevices(looker: Looker, devices: readonly Device[]): Promise<ResolvedDevice[]> {
  const found = await Promise.all(
    devices.map(async ({ hostPath, containerPath, permissions }) => {
      const place = { host: hostPath, path: cleanPath(containerPath || hostPath), access: permissions || 'rwm' };
      const nodes = await atHostPath('Device', hostPath, () => devicesAt(looker, place));
      if (nodes.length > 0) return nodes;
      throw failedPrecondition(`Device ${JSON.stringify(hostPath)} is no device and holds none`);
    }),
  );
  return found.flat();
}

/** Every device of the host's /dev, for a privileged container. */
export const hostDevices = (looker: Looker): Promise<ResolvedDevice[]> =>
  devicesBelow(looker, { host: '/dev', path: '/dev', access: 'rwm' }, (name) => !notOfTheHost.has(name));

async function devicesAt(looker: Looker, place: Place): Promise<ResolvedDevice[]> {
  const facts = await looker.stat(place.host);
  if (!facts) throw failedPrecondition(`Device ${JSON.stringify(place.host)} does not exist on this host`);
  return facts.kind === 'directory' ? devicesBelow(looker, place, () => true) : deviceOf(place, facts);
}

async function devicesBelow(looker: Looker, top: Place, wanted: (name: string) => boolean): Promise<ResolvedDevice[]> {
  const found: ResolvedDevice[] = [];
  const folders = [top];
  let left = mostEntries;
  for (let folder = folders.pop(); folder; folder = folders.pop()) {
    const entries = await entriesOf(looker, folder.host, left, top);
    left -= entries.length;
    for (const [name, facts] of entries) {
      if (folder === top && !wanted(name)) continue;
      const place = { ...folder, host: join(folder.host, name), path: join(folder.path, name) };
      if (facts.kind === 'directory') folders.push(place);
      else found.push(...deviceOf(place, facts));
    }
  }
  return found;
}

/** Nodes come and go: a folder that went between the listing and the look is empty. */
async function entriesOf(looker: Looker, folder: string, most: number, top: Place) {
  try {
    return (await looker.list(folder, most)) ?? [];
  } catch (error) {
    if (isErrno(error, 'EINVAL')) return []; // the network folder of a process that has ended, in /proc
    if (!isFault(error, 'ResourceExhausted')) throw error;
    throw failedPrecondition(`Device directory ${JSON.stringify(top.host)} holds over ${mostEntries} entries`);
  }
}

function deviceOf({ path, access }: Place, facts: FileFacts): ResolvedDevice[] {
  const { kind, mode: fileMode, uid, gid, major, minor } = facts;
  if (kind !== 'block' && kind !== 'character') return [];
  return [{ path, type: kind === 'block' ? 'b' : 'c', major, minor, fileMode, uid, gid, access }];
}
