import { failedPrecondition, invalidArgument, isErrno, isFault } from '../../base/fault.ts';
import type { ContainerConfig } from '../../model/config.ts';
import type { ImageConfig } from '../../model/image.ts';
import {
  mostUserFileBytes,
  type OciSeccomp,
  parseSeccompProfile,
  resolveApparmor,
  resolveUser,
  type SpecInput,
} from '../../oci/index.ts';
import type { Looker } from '../../shim/index.ts';
import { readFileInRoot } from '../../sys/files.ts';
import { ensureProfile } from './apparmor-profile.ts';
import { injectDevices } from './cdi-devices.ts';
import { hostDevices, resolveDevices } from './devices.ts';
import { atHostPath } from './host-path.ts';

/** What of SpecInput the caller knows; the rest is gathered from the host and the image's files. */
export type InputRequest = Omit<
  SpecInput,
  'user' | 'devices' | 'injected' | 'localhostSeccomp' | 'apparmorProfile' | 'rootfs'
> & {
  /** The mounted root file system, absolute; also what `root.path` of config.json will say. */
  readonly rootfs: string;
  /** False: the handler gives privileged containers no device that they do not ask for. */
  readonly hostDevicesIfPrivileged: boolean;
  /** True: devices of the request belong to the user and group that it asks for. */
  readonly devicesOfUser: boolean;
  readonly cdiDirs: readonly string[];
};

const mostProfileBytes = 1 << 20;

/**
 * Reads what buildSpec needs and only the host or the image knows: the user, devices, profiles. Nothing is created. Faults
 * name what could not be had.
 */
export async function gatherSpecInputs(looker: Looker, request: InputRequest): Promise<SpecInput> {
  const { hostDevicesIfPrivileged, devicesOfUser, cdiDirs, ...known } = request;
  const { security, devices } = request.container;
  const apparmorProfile = resolveApparmor(security, request.host);
  await ensureProfile(apparmorProfile);
  const user = readUser(request.container, request.image, request.rootfs);
  const injected = await injectDevices(looker, request.container, cdiDirs, user);
  const found = await resolveDevices(looker, devices);
  const own = devicesOfUser ? found.map((device) => ownedBy(device, security)) : found;
  const asked = unique([...own, ...(injected?.devices ?? [])]);
  return {
    ...known,
    user,
    devices:
      security.privileged && hostDevicesIfPrivileged ? unique([...asked, ...(await hostDevices(looker))]) : asked,
    injected,
    localhostSeccomp: await readLocalhostSeccomp(looker, request.container),
    apparmorProfile,
  };
}

const ownedBy = (
  device: SpecInput['devices'][number],
  { runAsUser, runAsGroup }: ContainerConfig['security'],
): SpecInput['devices'][number] => ({ ...device, uid: runAsUser ?? device.uid, gid: runAsGroup ?? device.gid });

/** A request's device stands in place of the host's at the same path. */
const unique = (devices: SpecInput['devices']) => [
  ...new Map(devices.toReversed().map((device) => [device.path, device])).values(),
];

function readUser({ security }: ContainerConfig, image: ImageConfig, rootfs: string): SpecInput['user'] {
  return resolveUser(
    {
      runAsUser: security.runAsUser,
      runAsGroup: security.runAsGroup,
      runAsUsername: security.runAsUsername,
      imageUser: image.user,
      supplementalGroups: security.supplementalGroups,
      policy: security.supplementalGroupsPolicy,
    },
    { passwd: userFile(rootfs, '/etc/passwd'), group: userFile(rootfs, '/etc/group') },
  );
}

function userFile(rootfs: string, path: string): string | null {
  try {
    return readFileInRoot(rootfs, path, mostUserFileBytes)?.toString('utf8') ?? '';
  } catch (error) {
    if (isFault(error, 'ResourceExhausted')) return null;
    throw error;
  }
}

async function readLocalhostSeccomp(looker: Looker, { security }: ContainerConfig): Promise<OciSeccomp | null> {
  const { seccomp } = security;
  if (seccomp?.type !== 'localhost' || security.privileged) return null;
  const path = seccomp.ref.replace(/^localhost\//, '');
  if (!path.startsWith('/')) {
    throw invalidArgument(`Seccomp profile ${JSON.stringify(seccomp.ref.slice(0, 200))} is not an absolute path`);
  }
  return parseSeccompProfile(path, await readProfile(looker, path));
}

const readProfile = (looker: Looker, path: string): Promise<string> =>
  atHostPath('Seccomp profile', path, async () => {
    const shown = `Seccomp profile ${JSON.stringify(path.slice(0, 200))}`;
    try {
      return await looker.readText(path, mostProfileBytes);
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) throw failedPrecondition(`${shown} does not exist: create it`);
      if (!isFault(error, 'ResourceExhausted') && !isFault(error, 'FailedPrecondition')) throw error;
      throw invalidArgument(`${shown} is not a file of at most 1 MiB`);
    }
  });
