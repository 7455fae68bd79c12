import { type BigIntStats, lstatSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { failedPrecondition, isErrno } from '../../base/fault.ts';
import type { Device } from '../../model/config.ts';
import type { ResolvedDevice } from '../../oci/index.ts';

/** What a runtime makes or mounts in every /dev, and what is not a device of the machine. */
const notOfTheHost = new Set(['pts', 'shm', 'fd', 'mqueue', 'console', 'ptmx', '.lxc', '.lxd-mounts', '.udev']);
/** Entries looked at for one request, devices or not: a request may name any directory of the host. */
const mostEntries = 16_384;

type Place = { readonly host: string; readonly path: string; readonly access: string };

/**
 * The device nodes that a request means: a directory stands for every device below it, links left out. FailedPrecondition
 * for a path that does not exist, holds no device, or holds too much to be a directory of devices.
 */
export function resolveDevices(devices: readonly Device[]): ResolvedDevice[] {
  return devices.flatMap(({ hostPath, containerPath, permissions }) => {
    const found = devicesAt({ host: hostPath, path: containerPath || hostPath, access: permissions || 'rwm' });
    if (found.length === 0) throw failedPrecondition(`Device ${JSON.stringify(hostPath)} is no device and holds none`);
    return found;
  });
}

/** Every device of the host's /dev, for a privileged container. */
export const hostDevices = (): ResolvedDevice[] =>
  devicesBelow({ host: '/dev', path: '/dev', access: 'rwm' }, (name) => !notOfTheHost.has(name));

function devicesAt(place: Place): ResolvedDevice[] {
  try {
    const stat = statSync(place.host, { bigint: true });
    return stat.isDirectory() ? devicesBelow(place, () => true) : deviceOf(place, stat);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) {
      throw failedPrecondition(`Device ${JSON.stringify(place.host)} does not exist on this host`);
    }
    throw error;
  }
}

function devicesBelow(top: Place, wanted: (name: string) => boolean): ResolvedDevice[] {
  const found: ResolvedDevice[] = [];
  const folders = [top];
  let looked = 0;
  for (let folder = folders.pop(); folder; folder = folders.pop()) {
    for (const name of namesIn(folder.host)) {
      if (folder === top && !wanted(name)) continue;
      if (++looked > mostEntries) {
        throw failedPrecondition(`Device directory ${JSON.stringify(top.host)} holds over ${mostEntries} entries`);
      }
      const place = { ...folder, host: join(folder.host, name), path: join(folder.path, name) };
      const stat = lstatSync(place.host, { bigint: true, throwIfNoEntry: false });
      if (stat?.isDirectory()) folders.push(place);
      else if (stat) found.push(...deviceOf(place, stat));
    }
  }
  return found;
}

/** Nodes come and go: a folder that went between the listing and the look is empty. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return []; // ESRCH: a process' own directory
    throw error;
  }
}

function deviceOf({ path, access }: Place, stat: BigIntStats): ResolvedDevice[] {
  if (!stat.isBlockDevice() && !stat.isCharacterDevice()) return [];
  return [
    {
      path,
      type: stat.isBlockDevice() ? 'b' : 'c',
      ...deviceNumber(stat.rdev),
      fileMode: Number(stat.mode & 0o777n),
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      access,
    },
  ];
}

/** glibc's makedev(3) layout: 12 + 20 bits of major around 8 + 24 bits of minor. */
export const deviceNumber = (rdev: bigint): { major: number; minor: number } => ({
  major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
  minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
});
