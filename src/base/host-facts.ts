/** cgroup v1, v1 with a v2 tree beside it ("hybrid"), or v2 alone. */
export type CgroupMode = 'v1' | 'hybrid' | 'v2';

/** What this host and this daemon's privileges permit. Gathered once at start (`sys/host.ts`), used by `oci/`. */
export type HostFacts = {
  readonly cgroupMode: CgroupMode;
  /** Controllers that containers can be limited with: `cpu`, `memory`, `hugetlb`, ... */
  readonly controllers: readonly string[];
  /** `CAP_*` names in the daemon's bounding and permitted sets: the most that a container can be given. */
  readonly capabilities: readonly string[];
  /** The lowest oom_score_adj the daemon may set, -1000..1000; without CAP_SYS_RESOURCE its own value. */
  readonly oomScoreAdjMin: number;
  /** The daemon's hard limit of open files; Node raises the soft one to it. */
  readonly openFiles: number;
  readonly apparmor: boolean;
  readonly selinux: boolean;
  readonly seccomp: boolean;
  /** True if memory+swap can be limited: `memory.memsw.*` on v1, `memory.swap.max` on v2. */
  readonly swapAccounting: boolean;
  /** As the hugetlb controller names them: `2MB`, `1GB`. */
  readonly hugepageSizes: readonly string[];
  /** Node's name of the processor: `x64`, `arm64`. */
  readonly architecture: string;
  readonly hostname: string;
  /** `major.minor` of the running kernel. */
  readonly kernel: readonly [major: number, minor: number];
};
