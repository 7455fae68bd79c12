import type { HostFacts } from '../base/host-facts.ts';
import type { ContainerConfig, Mount, PodConfig } from '../model/config.ts';
import type { ContainerId, PodId } from '../model/ids.ts';
import type { ImageConfig } from '../model/image.ts';
import type { OciHooks, OciMount, OciRlimit, OciSeccomp } from './spec.ts';

/** Who the container's process is; ids are 0..2^32-2. */
export type ResolvedUser = {
  readonly uid: number;
  readonly gid: number;
  /** Every supplementary group, the primary one included when the image or the request lists it. */
  readonly additionalGids: readonly number[];
  readonly home: string;
};

/** A mount whose source exists: `hostPath` is canonical, and its propagation was checked. */
export type ResolvedMount = Mount & {
  /** What to bind: the host path, or a mount that Berth made of an image or with mapped owners. */
  readonly source: string;
  /** It is no directory: nothing can be mounted below it. */
  readonly single?: boolean;
  /** What the mount of the source forbids, where the kernel does not let the OCI runtime take it away. */
  readonly kept?: readonly string[];
};

/** A device node as it shall appear in the container; `access` is a subset of `rwm`, which may be empty. */
export type ResolvedDevice = {
  readonly path: string;
  readonly type: 'b' | 'c';
  readonly major: number;
  readonly minor: number;
  readonly fileMode: number;
  readonly uid: number;
  readonly gid: number;
  readonly access: string;
};

/** Paths of namespaces to join; empty: a new one, or the host's where the request's mode says so. */
export type NamespacePaths = {
  readonly network: string;
  readonly ipc: string;
  readonly uts: string;
  readonly pid: string;
  readonly user?: string;
};

/** Everything that config.json depends on. `buildSpec` reads nothing else. */
export type SpecInput = {
  readonly podId: PodId;
  readonly containerId: ContainerId;
  readonly pod: PodConfig;
  readonly container: ContainerConfig;
  readonly image: ImageConfig;
  readonly user: ResolvedUser;
  readonly host: HostFacts;
  /** Absolute path of the mounted root file system, or one relative to the bundle. */
  readonly rootfs: string;
  readonly namespacePaths: NamespacePaths;
  readonly cgroupsPath: string;
  /** What the operator gives every container; absent: what is usual. */
  readonly unasked?: {
    readonly capabilities: readonly string[];
    /** `NAME=value` each. */
    readonly env: readonly string[];
  };
  /** Patterns of keys of annotations that the handler's OCI runtime is to see; absent: none. */
  readonly passed?: { readonly podAnnotations: readonly string[]; readonly containerAnnotations: readonly string[] };
  /** Limits of the process that are not to be the daemon's own. */
  readonly rlimits?: readonly OciRlimit[];
  /**
   * Files of the pod that containers get unless a mount of the request covers them; empty: none, but a pod on the host's
   * IPC namespace has the host's /dev/shm.
   */
  readonly files: {
    readonly hosts: string;
    readonly hostname: string;
    readonly resolvConf: string;
    readonly shm: string;
  };
  /** Of the request. */
  readonly mounts: readonly ResolvedMount[];
  readonly devices: readonly ResolvedDevice[];
  /** What CDI devices bring besides their nodes, or null. */
  readonly injected: {
    readonly env: readonly string[];
    readonly mounts: readonly OciMount[];
    readonly hooks: OciHooks;
    readonly additionalGids: readonly number[];
  } | null;
  /** The localhost seccomp profile, read and checked, or null when the request names none. */
  readonly localhostSeccomp: OciSeccomp | null;
  /** A loaded AppArmor profile, or empty. */
  readonly apparmorProfile: string;
  /** The version that the OCI runtime accepts: crun 1.8 takes 1.0.x only. */
  readonly ociVersion: string;
};
