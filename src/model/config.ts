// What a client asked for, checked and in Berth's own shapes: `cri/` decodes requests into these, records keep them,
// `oci/` turns them into config.json. All of it is plain JSON; 64-bit numbers above 2^53-1 are held as 2^53-1.

/** Whose namespace a container or pod uses. */
export type NamespaceMode = 'pod' | 'container' | 'node' | 'target';

export type IdMapping = { readonly hostId: number; readonly containerId: number; readonly length: number };

export type UserNamespace = {
  readonly mode: 'pod' | 'node';
  readonly uids: readonly IdMapping[];
  readonly gids: readonly IdMapping[];
};

export type Namespaces = {
  readonly network: NamespaceMode;
  readonly pid: NamespaceMode;
  readonly ipc: NamespaceMode;
  /** The container whose PID namespace to join when pid is `target`, else empty. */
  readonly targetId: string;
  readonly user: UserNamespace | null;
};

export type SeLinuxOptions = {
  readonly user: string;
  readonly role: string;
  readonly type: string;
  readonly level: string;
};

/** A seccomp or AppArmor choice; `localhost` names a file (seccomp) or a loaded profile (AppArmor). */
export type SecurityProfile =
  | { readonly type: 'runtimeDefault' }
  | { readonly type: 'unconfined' }
  | { readonly type: 'localhost'; readonly ref: string };

export type SupplementalGroupsPolicy = 'merge' | 'strict';

/** CRI LinuxContainerResources; 0 and empty mean "not set", as they do on the wire. */
export type Resources = {
  readonly cpuPeriod: number;
  readonly cpuQuota: number;
  readonly cpuShares: number;
  readonly memoryLimit: number;
  readonly oomScoreAdj: number;
  readonly cpusetCpus: string;
  readonly cpusetMems: string;
  readonly hugepageLimits: readonly { readonly pageSize: string; readonly limit: number }[];
  readonly unified: Readonly<Record<string, string>>;
  readonly memorySwapLimit: number;
};

export type PodMetadata = {
  readonly name: string;
  readonly uid: string;
  readonly namespace: string;
  readonly attempt: number;
};

export type DnsConfig = {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
};

export type PortMapping = {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly containerPort: number;
  readonly hostPort: number;
  readonly hostIp: string;
};

export type PodSecurity = {
  readonly namespaces: Namespaces;
  readonly selinux: SeLinuxOptions | null;
  readonly runAsUser: number | null;
  readonly runAsGroup: number | null;
  readonly readonlyRootfs: boolean;
  readonly supplementalGroups: readonly number[];
  readonly supplementalGroupsPolicy: SupplementalGroupsPolicy;
  readonly privileged: boolean;
  readonly seccomp: SecurityProfile | null;
  readonly apparmor: SecurityProfile | null;
};

export type PodConfig = {
  readonly metadata: PodMetadata;
  readonly hostname: string;
  readonly logDirectory: string;
  readonly dns: DnsConfig | null;
  readonly portMappings: readonly PortMapping[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly cgroupParent: string;
  readonly security: PodSecurity;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly overhead: Resources | null;
  readonly resources: Resources | null;
};

export type MountPropagation = 'private' | 'hostToContainer' | 'bidirectional';

/** What a request may add to a bind mount. */
export const mountOptions = ['noexec', 'nodev', 'nosuid'] as const;

export type Mount = {
  readonly containerPath: string;
  /** Empty for an image volume. */
  readonly hostPath: string;
  readonly readonly: boolean;
  readonly recursiveReadOnly: boolean;
  readonly selinuxRelabel: boolean;
  readonly propagation: MountPropagation;
  readonly uidMappings: readonly IdMapping[];
  readonly gidMappings: readonly IdMapping[];
  /** The image whose tree is mounted (reference or id), or empty. */
  readonly image: string;
  /** What the user called it; absent in records of before. */
  readonly userSpecifiedImage?: string;
  /** The id of the image that was mounted; absent in requests and for host paths. */
  readonly imageRef?: string;
  readonly imageSubPath: string;
  /** Absent in records of before. */
  readonly mountOptions?: readonly (typeof mountOptions)[number][];
};

export type Device = { readonly containerPath: string; readonly hostPath: string; readonly permissions: string };

export type Capabilities = {
  readonly add: readonly string[];
  readonly drop: readonly string[];
  readonly addAmbient: readonly string[];
};

export type ContainerSecurity = {
  readonly capabilities: Capabilities;
  readonly privileged: boolean;
  readonly namespaces: Namespaces;
  readonly selinux: SeLinuxOptions | null;
  readonly runAsUser: number | null;
  readonly runAsGroup: number | null;
  readonly runAsUsername: string;
  readonly readonlyRootfs: boolean;
  readonly supplementalGroups: readonly number[];
  readonly supplementalGroupsPolicy: SupplementalGroupsPolicy;
  readonly noNewPrivs: boolean;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly seccomp: SecurityProfile | null;
  readonly apparmor: SecurityProfile | null;
};

export type ImageRequest = {
  readonly image: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly userSpecifiedImage: string;
  readonly runtimeHandler: string;
};

/** A variable of the environment. `latin1`: bytes that are no UTF-8, each as the character of its number. */
export type Variable = { readonly key: string; readonly value: string; readonly encoding?: 'latin1' };

export type ContainerConfig = {
  readonly metadata: { readonly name: string; readonly attempt: number };
  readonly image: ImageRequest;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly workingDir: string;
  readonly envs: readonly Variable[];
  readonly mounts: readonly Mount[];
  readonly devices: readonly Device[];
  readonly cdiDevices: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Relative to the pod's log directory, or empty: no log. */
  readonly logPath: string;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  readonly tty: boolean;
  readonly resources: Resources;
  readonly security: ContainerSecurity;
  /** Linux signal number, or 0 for the image's or the default one. */
  readonly stopSignal: number;
};
