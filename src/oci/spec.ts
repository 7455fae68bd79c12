import type { RawNumber } from '../base/exact-json.ts';

// The parts of the OCI runtime specification (config.md, config-linux.md) that Berth writes, in its field names.

export type OciIdMapping = { containerID: number; hostID: number; size: number };

export type OciMount = {
  destination: string;
  type: string;
  source: string;
  options: string[];
};

export type OciNamespace = {
  type: 'mount' | 'network' | 'ipc' | 'uts' | 'pid' | 'cgroup' | 'user';
  path?: string;
};

export type OciDevice = {
  path: string;
  type: string;
  major: number;
  minor: number;
  fileMode: number;
  uid: number;
  gid: number;
};

export type OciDeviceRule = { allow: boolean; type?: string; major?: number; minor?: number; access: string };

export type OciResources = {
  devices?: OciDeviceRule[];
  memory?: { limit?: number; swap?: number };
  cpu?: { shares?: number; quota?: number; period?: number; cpus?: string; mems?: string };
  hugepageLimits?: { pageSize: string; limit: number }[];
  unified?: Record<string, string>;
};

export type SeccompArg = { index: number; value: number; valueTwo?: number; op: string };
export type SeccompRule = { names: string[]; action: string; errnoRet?: number; args?: SeccompArg[] };
export type OciSeccomp = {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: string[];
  flags?: string[];
  syscalls?: SeccompRule[];
};

export type OciCapabilities = {
  bounding: string[];
  effective: string[];
  permitted: string[];
  inheritable: string[];
  ambient: string[];
};

export type OciRlimit = { type: string; soft: number | RawNumber; hard: number | RawNumber };

export type OciProcess = {
  terminal: boolean;
  user: { uid: number; gid: number; additionalGids?: number[] };
  args: string[];
  env: string[];
  cwd: string;
  capabilities: OciCapabilities;
  noNewPrivileges: boolean;
  oomScoreAdj: number;
  rlimits?: OciRlimit[];
  apparmorProfile?: string;
  selinuxLabel?: string;
};

export type OciHook = { path: string; args?: string[]; env?: string[]; timeout?: number };
type HookName = 'prestart' | 'createRuntime' | 'createContainer' | 'startContainer' | 'poststart' | 'poststop';
/** Programs that the OCI runtime runs at these points (config.md, POSIX-platform Hooks). */
export type OciHooks = { readonly [Name in HookName]?: readonly OciHook[] };

/** What config.json of a bundle holds. */
export type OciSpec = {
  ociVersion: string;
  process: OciProcess;
  root: { path: string; readonly: boolean };
  hostname?: string;
  mounts: OciMount[];
  hooks?: OciHooks;
  annotations: Record<string, string>;
  linux: {
    namespaces: OciNamespace[];
    uidMappings?: OciIdMapping[];
    gidMappings?: OciIdMapping[];
    devices?: OciDevice[];
    resources: OciResources;
    cgroupsPath: string;
    rootfsPropagation?: 'rslave' | 'rshared';
    seccomp?: OciSeccomp;
    maskedPaths?: string[];
    readonlyPaths?: string[];
    mountLabel?: string;
  };
};
