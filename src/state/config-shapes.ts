// The parts of records that hold what clients asked for (model/config.ts).
import {
  type ContainerConfig,
  type Device,
  type IdMapping,
  type Mount,
  mountOptions,
  type NamespaceMode,
  type Namespaces,
  type PodConfig,
  type PortMapping,
  type Resources,
  type SecurityProfile,
  type SeLinuxOptions,
} from '../model/config.ts';
import type { Handler } from '../model/handler.ts';
import { type Decode, flag, list, nullable, number, object, oneOf, optional, text, texts, variant } from './shapes.ts';

const idMapping: Decode<IdMapping> = object({ hostId: number(), containerId: number(), length: number() });
const mode = (fallback: NamespaceMode) => oneOf(['pod', 'container', 'node', 'target'], fallback);

const namespaces: Decode<Namespaces> = object({
  network: mode('pod'),
  pid: mode('pod'),
  ipc: mode('pod'),
  targetId: text(),
  user: nullable(object({ mode: oneOf(['pod', 'node'], 'node'), uids: list(idMapping), gids: list(idMapping) })),
});

const selinux: Decode<SeLinuxOptions> = object({ user: text(), role: text(), type: text(), level: text() });

const profile: Decode<SecurityProfile> = variant<SecurityProfile>('type', {
  runtimeDefault: object({ type: oneOf(['runtimeDefault']) }),
  unconfined: object({ type: oneOf(['unconfined']) }),
  localhost: object({ type: oneOf(['localhost']), ref: text() }),
});

const policy = oneOf(['merge', 'strict'], 'merge');

const resources: Decode<Resources> = object({
  cpuPeriod: number(),
  cpuQuota: number(),
  cpuShares: number(),
  memoryLimit: number(),
  oomScoreAdj: number(),
  cpusetCpus: text(),
  cpusetMems: text(),
  hugepageLimits: list(object({ pageSize: text(), limit: number() })),
  unified: texts,
  memorySwapLimit: number(),
});

const portMapping: Decode<PortMapping> = object({
  protocol: oneOf(['tcp', 'udp', 'sctp'], 'tcp'),
  containerPort: number(),
  hostPort: number(),
  hostIp: text(),
});

export const podConfig: Decode<PodConfig> = object({
  metadata: object({ name: text(), uid: text(), namespace: text(), attempt: number() }),
  hostname: text(),
  logDirectory: text(),
  dns: nullable(object({ servers: list(text()), searches: list(text()), options: list(text()) })),
  portMappings: list(portMapping),
  labels: texts,
  annotations: texts,
  cgroupParent: text(),
  security: object({
    namespaces,
    selinux: nullable(selinux),
    runAsUser: nullable(number()),
    runAsGroup: nullable(number()),
    readonlyRootfs: flag(),
    supplementalGroups: list(number()),
    supplementalGroupsPolicy: policy,
    privileged: flag(),
    seccomp: nullable(profile),
    apparmor: nullable(profile),
  }),
  sysctls: texts,
  overhead: nullable(resources),
  resources: nullable(resources),
});

export const mount: Decode<Mount> = object({
  containerPath: text(),
  hostPath: text(),
  readonly: flag(),
  recursiveReadOnly: flag(),
  selinuxRelabel: flag(),
  propagation: oneOf(['private', 'hostToContainer', 'bidirectional'], 'private'),
  uidMappings: list(idMapping),
  gidMappings: list(idMapping),
  image: text(),
  userSpecifiedImage: optional(text()),
  imageRef: optional(text()),
  imageSubPath: text(),
  mountOptions: optional(list(oneOf(mountOptions))),
});

const device: Decode<Device> = object({ containerPath: text(), hostPath: text(), permissions: text() });

export const containerConfig: Decode<ContainerConfig> = object({
  metadata: object({ name: text(), attempt: number() }),
  image: object({ image: text(), annotations: texts, userSpecifiedImage: text(), runtimeHandler: text() }),
  command: list(text()),
  args: list(text()),
  workingDir: text(),
  envs: list(object({ key: text(), value: text(), encoding: optional(oneOf(['latin1'] as const)) })),
  mounts: list(mount),
  devices: list(device),
  cdiDevices: list(text()),
  labels: texts,
  annotations: texts,
  logPath: text(),
  stdin: flag(),
  stdinOnce: flag(),
  tty: flag(),
  resources,
  security: object({
    capabilities: object({ add: list(text()), drop: list(text()), addAmbient: list(text()) }),
    privileged: flag(),
    namespaces,
    selinux: nullable(selinux),
    runAsUser: nullable(number()),
    runAsGroup: nullable(number()),
    runAsUsername: text(),
    readonlyRootfs: flag(),
    supplementalGroups: list(number()),
    supplementalGroupsPolicy: policy,
    noNewPrivs: flag(),
    maskedPaths: list(text()),
    readonlyPaths: list(text()),
    seccomp: nullable(profile),
    apparmor: nullable(profile),
  }),
  stopSignal: number(),
});

export const handler: Decode<Handler> = object({
  name: text(),
  path: text(),
  args: list(text()),
  root: text(),
  systemdCgroup: flag(),
  privilegedWithoutHostDevices: flag(),
  cniConfDir: text(),
});
