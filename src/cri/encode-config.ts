import type * as cri from '../api/runtime/v1/cri.ts';
import {
  ContainerConfig as CriContainerConfig,
  PodSandboxConfig as CriPodSandboxConfig,
} from '../api/runtime/v1/cri.ts';
import { wholeNumber } from '../base/exact-json.ts';
import type { ContainerConfig, ContainerSecurity, PodConfig, PodSecurity, SecurityProfile } from '../model/config.ts';
import { signalToCri } from '../model/signals.ts';
import { encodeMount, encodeResources, namespaceOption } from './encode.ts';
import { int64 } from './numbers.ts';

const protocols = { tcp: 0, udp: 1, sctp: 2 } as const;
const profileTypes = { runtimeDefault: 0, unconfined: 1, localhost: 2 } as const;
const policies = { merge: 0, strict: 1 } as const;

/** What a pod was asked for, as the request said it. */
export const encodePodConfig = (config: PodConfig): cri.PodSandboxConfig =>
  CriPodSandboxConfig.fromPartial({
    metadata: { ...config.metadata },
    hostname: config.hostname,
    logDirectory: config.logDirectory,
    dnsConfig: config.dns && {
      servers: [...config.dns.servers],
      searches: [...config.dns.searches],
      options: [...config.dns.options],
    },
    portMappings: config.portMappings.map((mapping) => ({ ...mapping, protocol: protocols[mapping.protocol] })),
    labels: { ...config.labels },
    annotations: { ...config.annotations },
    linux: {
      cgroupParent: config.cgroupParent,
      sysctls: { ...config.sysctls },
      overhead: config.overhead && encodeResources(config.overhead),
      resources: config.resources && encodeResources(config.resources),
      securityContext: security(config.security),
    },
  } as Parameters<typeof CriPodSandboxConfig.fromPartial>[0]);

/** What a container was asked for. */
export const encodeContainerConfig = (config: ContainerConfig): cri.ContainerConfig =>
  CriContainerConfig.fromPartial({
    metadata: { ...config.metadata },
    image: { ...config.image },
    command: [...config.command],
    args: [...config.args],
    workingDir: config.workingDir,
    envs: config.envs.map(({ key, value, encoding }) => ({ key, value: Buffer.from(value, encoding) })),
    mounts: config.mounts.map(encodeMount),
    devices: [...config.devices],
    CDIDevices: config.cdiDevices.map((name) => ({ name })),
    labels: { ...config.labels },
    annotations: { ...config.annotations },
    logPath: config.logPath,
    stdin: config.stdin,
    stdinOnce: config.stdinOnce,
    tty: config.tty,
    linux: { resources: encodeResources(config.resources), securityContext: containerSecurity(config.security) },
    stopSignal: signalToCri(config.stopSignal) as cri.Signal,
  });

const containerSecurity = (given: ContainerSecurity) => ({
  ...security(given),
  capabilities: {
    addCapabilities: [...given.capabilities.add],
    dropCapabilities: [...given.capabilities.drop],
    addAmbientCapabilities: [...given.capabilities.addAmbient],
  },
  runAsUsername: given.runAsUsername,
  noNewPrivs: given.noNewPrivs,
  maskedPaths: [...given.maskedPaths],
  readonlyPaths: [...given.readonlyPaths],
});

const security = (given: PodSecurity | ContainerSecurity) => ({
  privileged: given.privileged,
  namespaceOptions: namespaceOption(given.namespaces),
  selinuxOptions: given.selinux ?? undefined,
  runAsUser: id(given.runAsUser),
  runAsGroup: id(given.runAsGroup),
  readonlyRootfs: given.readonlyRootfs,
  supplementalGroups: given.supplementalGroups.map((gid) => int64(gid)),
  supplementalGroupsPolicy: policies[given.supplementalGroupsPolicy],
  seccomp: profile(given.seccomp),
  apparmor: profile(given.apparmor),
});

const id = (value: number | null) => (value === null ? undefined : { value: int64(value) });

const profile = (given: SecurityProfile | null) =>
  given
    ? { profileType: profileTypes[given.type], localhostRef: given.type === 'localhost' ? given.ref : '' }
    : undefined;

/** Fields whose keys are the client's own. */
const maps = new Set(['labels', 'annotations', 'sysctls', 'unified']);
/** Those that the interface itself does not spell with underscores. */
const asTheyAre = new Set(['uidMappings', 'gidMappings']);

/**
 * A message as the peers print it, which is as Go does: the interface's own names, numbers for enums, and nothing that is
 * empty. Values of variables are text, as they were before they were bytes.
 */
export function asPrinted(value: unknown): unknown {
  if (typeof value === 'bigint') return wholeNumber(value);
  if (Buffer.isBuffer(value)) return value.toString();
  if (Array.isArray(value)) return value.map(asPrinted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([key, each]) => !isEmpty(each) && !(maps.has(key) && isEmptyMap(each)));
  return Object.fromEntries(entries.map(([key, each]) => [spelled(key), maps.has(key) ? each : asPrinted(each)]));
}

const spelled = (key: string): string =>
  key === 'CDIDevices'
    ? 'CDI_devices'
    : asTheyAre.has(key)
      ? key
      : key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const isEmptyMap = (value: object): boolean => Object.keys(value).length === 0;

/** A message without fields is none: it was there. */
function isEmpty(value: unknown): boolean {
  if (Array.isArray(value) || Buffer.isBuffer(value)) return value.length === 0;
  return value === undefined || value === null || value === '' || value === false || value === 0 || value === 0n;
}
