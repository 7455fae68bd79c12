import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { failedPrecondition, isErrno } from '../base/fault.ts';
import type { Device } from '../model/config.ts';
import type { ResolvedDevice } from '../oci/index.ts';

/** What a runtime makes or mounts in every /dev, and what is not a device of the machine. */
const notOfTheHost = new Set(['pts', 'shm', 'fd', 'mqueue', 'console', 'ptmx', '.lxc', '.lxd-mounts', '.udev']);
const mostDevices = 4096;
const deepest = 16;

/**
 * The device nodes that a request means: a directory stands for every device below it. FailedPrecondition for a path
 * that does not exist or holds no device.
 */
export function resolveDevices(devices: readonly Device[]): ResolvedDevice[] {
  return devices.flatMap(({ hostPath, containerPath, permissions }) => {
    const found = devicesAt(hostPath, containerPath || hostPath, permissions || 'rwm', 0);
    if (found.length === 0) throw failedPrecondition(`Device ${JSON.stringify(hostPath)} is no device and holds none`);
    return found;
  });
}

/** Every device of the host's /dev, for a privileged container. */
export const hostDevices = (): ResolvedDevice[] =>
  readdirSync('/dev')
    .filter((name) => !notOfTheHost.has(name))
    .flatMap((name) => devicesIfPresent(`/dev/${name}`, `/dev/${name}`, 'rwm', 1));

function devicesAt(host: string, path: string, access: string, depth: number): ResolvedDevice[] {
  try {
    return readDevices(host, path, access, depth);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) {
      throw failedPrecondition(`Device ${JSON.stringify(host)} does not exist on this host`);
    }
    throw error;
  }
}

/** Nodes come and go below /dev: one that went between the listing and the look is not there. */
function devicesIfPresent(host: string, path: string, access: string, depth: number): ResolvedDevice[] {
  try {
    return readDevices(host, path, access, depth);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENXIO', 'ELOOP', 'EACCES')) return [];
    throw error;
  }
}

function readDevices(host: string, path: string, access: string, depth: number): ResolvedDevice[] {
  const stat = statSync(host, { bigint: true });
  if (stat.isDirectory()) {
    if (depth > deepest) return [];
    const found = readdirSync(host).flatMap((name) =>
      devicesIfPresent(join(host, name), join(path, name), access, depth + 1),
    );
    if (found.length > mostDevices) throw failedPrecondition(`${host} holds more than ${mostDevices} devices`);
    return found;
  }
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
