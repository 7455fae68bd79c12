import type {
  ContainerConfig,
  ContainerSecurity,
  Mount,
  Namespaces,
  PodConfig,
  Resources,
} from '../../../src/model/config.ts';
import type { ContainerId, PodId } from '../../../src/model/ids.ts';
import type { HostFacts, ResolvedMount, SpecInput } from '../../../src/oci/index.ts';
import { capabilityNames } from '../../../src/oci/index.ts';

export const noResources: Resources = {
  cpuPeriod: 0,
  cpuQuota: 0,
  cpuShares: 0,
  memoryLimit: 0,
  oomScoreAdj: 0,
  cpusetCpus: '',
  cpusetMems: '',
  hugepageLimits: [],
  unified: {},
  memorySwapLimit: 0,
};

export const podNamespaces: Namespaces = { network: 'pod', pid: 'container', ipc: 'pod', targetId: '', user: null };
export const hostNamespaces: Namespaces = { network: 'node', pid: 'node', ipc: 'node', targetId: '', user: null };

export const security: ContainerSecurity = {
  capabilities: { add: [], drop: [], addAmbient: [] },
  privileged: false,
  namespaces: podNamespaces,
  selinux: null,
  runAsUser: null,
  runAsGroup: null,
  runAsUsername: '',
  readonlyRootfs: false,
  supplementalGroups: [],
  supplementalGroupsPolicy: 'merge',
  noNewPrivs: false,
  maskedPaths: ['/proc/kcore', '/proc/keys', '/sys/firmware'],
  readonlyPaths: ['/proc/sys', '/proc/sysrq-trigger'],
  seccomp: null,
  apparmor: null,
};

export const mount: Mount = {
  containerPath: '/data',
  hostPath: '/srv/data',
  readonly: false,
  recursiveReadOnly: false,
  selinuxRelabel: false,
  propagation: 'private',
  uidMappings: [],
  gidMappings: [],
  image: '',
  imageSubPath: '',
};

/** A mount as buildSpec takes it. */
export const bound = (changes: Partial<ResolvedMount> = {}): ResolvedMount => ({
  ...mount,
  source: changes.hostPath ?? mount.hostPath,
  ...changes,
});

const pod: PodConfig = {
  metadata: { name: 'web', uid: 'uid-1', namespace: 'default', attempt: 0 },
  hostname: 'web',
  logDirectory: '',
  dns: null,
  portMappings: [],
  labels: {},
  annotations: { 'run.oci.handler': 'krun' },
  cgroupParent: '/kubepods/pod1',
  security: {
    namespaces: podNamespaces,
    selinux: null,
    runAsUser: null,
    runAsGroup: null,
    readonlyRootfs: false,
    supplementalGroups: [],
    supplementalGroupsPolicy: 'merge',
    privileged: false,
    seccomp: null,
    apparmor: null,
  },
  sysctls: {},
  overhead: null,
  resources: null,
};

export const container: ContainerConfig = {
  metadata: { name: 'app', attempt: 0 },
  image: { image: 'sha256:1', annotations: {}, userSpecifiedImage: 'example.com/app:1', runtimeHandler: '' },
  command: [],
  args: [],
  workingDir: '',
  envs: [],
  mounts: [],
  devices: [],
  cdiDevices: [],
  labels: {},
  annotations: { 'run.oci.handler': 'krun' },
  logPath: '',
  stdin: false,
  stdinOnce: false,
  tty: false,
  resources: noResources,
  security,
  stopSignal: 0,
};

export const host: HostFacts = {
  cgroupMode: 'hybrid',
  controllers: ['cpu', 'cpuset', 'memory', 'pids'],
  capabilities: capabilityNames.filter((name) => name !== 'CAP_SYS_RESOURCE'),
  oomScoreAdjMin: -5,
  openFiles: 4096,
  apparmor: false,
  selinux: false,
  seccomp: true,
  swapAccounting: true,
  hugepageSizes: ['2MB'],
  architecture: 'x64',
  hostname: 'node-1',
  kernel: [6, 1],
};

export const hostV2: HostFacts = {
  ...host,
  cgroupMode: 'v2',
  controllers: ['cpu', 'cpuset', 'memory', 'pids', 'hugetlb'],
};

type Overrides = Partial<Omit<SpecInput, 'container' | 'image'>> & {
  container?: Partial<ContainerConfig>;
  security?: Partial<ContainerSecurity>;
  /** Of the pod, and of the container unless `security` says otherwise. */
  namespaces?: Namespaces;
  resources?: Partial<Resources>;
  image?: Partial<SpecInput['image']>;
};

/** The input of a plain container, with what a test changes. */
export function specInput(overrides: Overrides = {}): SpecInput {
  const {
    container: changes,
    security: securityChanges,
    namespaces = podNamespaces,
    resources,
    image,
    ...rest
  } = overrides;
  return {
    podId: 'p'.repeat(64) as PodId,
    containerId: 'c'.repeat(64) as ContainerId,
    pod: { ...pod, security: { ...pod.security, namespaces } },
    user: { uid: 0, gid: 0, additionalGids: [0], home: '/root' },
    host,
    rootfs: 'rootfs',
    namespacePaths: { network: '/proc/7/ns/net', ipc: '/proc/7/ns/ipc', uts: '/proc/7/ns/uts', pid: '' },
    cgroupsPath: '/kubepods/pod1/app',
    files: { hosts: '/p/hosts', hostname: '/p/hostname', resolvConf: '/p/resolv.conf', shm: '/p/shm' },
    mounts: [],
    devices: [],
    injected: null,
    localhostSeccomp: null,
    apparmorProfile: '',
    ociVersion: '1.0.2',
    ...rest,
    container: {
      ...container,
      ...changes,
      security: { ...security, namespaces, ...securityChanges },
      resources: { ...noResources, ...resources },
    },
    image: {
      os: 'linux',
      architecture: 'amd64',
      variant: '',
      env: ['PATH=/bin', 'FLAVOR=plain', 'HOSTNAME=wrong'],
      entrypoint: ['/entry'],
      cmd: ['serve'],
      user: '',
      workingDir: '',
      labels: {},
      volumes: [],
      stopSignal: '',
      ...image,
    },
  };
}
