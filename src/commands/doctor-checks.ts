import { amount } from './amounts.ts';
import type { OtherRuntime } from './other-runtimes.ts';

/** What there is to know of a host and of Berth on it; `doctor-facts.ts` looks it up. */
export type NodeFacts = {
  /** `major.minor` and what the kernel calls itself. */
  readonly kernel: { readonly version: readonly [number, number]; readonly release: string };
  /** Types of file systems that the kernel has or can load. */
  readonly fileSystems: readonly string[];
  readonly cgroups: string;
  readonly controllers: readonly string[];
  readonly cgroupDriver: string;
  /** sd_booted(3). */
  readonly isSystemds: boolean;
  /** Of the file system of data_dir; inodes are 0 where it counts none. */
  readonly disk: {
    readonly path: string;
    readonly type: string;
    readonly bytes: Room;
    readonly inodes: Room;
  };
  readonly defaultHandler: string;
  /** `version`: the program's own first line, or empty if it gave none. */
  readonly ociRuntimes: readonly {
    readonly handler: string;
    readonly path: string;
    readonly installed: boolean;
    readonly version: string;
    readonly escapes: readonly string[];
  }[];
  readonly networks: {
    readonly folder: string;
    readonly names: readonly string[];
    readonly problems: readonly string[];
    /** Plugins of the lists that are in none of `binDirs`. */
    readonly missing: readonly string[];
    readonly binDirs: readonly string[];
  };
  readonly clock: {
    /** Null: nobody here says. */
    readonly isSynchronised: boolean | null;
    /** Milliseconds since the epoch: what it says, and when this program was made. */
    readonly now: number;
    readonly programMade: number;
  };
  /** What is on the host and no record names. */
  readonly leftovers: readonly { readonly what: string; readonly path: string }[];
  readonly quarantined: readonly string[];
  readonly others: readonly OtherRuntime[];
  /** Why the daemon does not answer, or null. */
  readonly daemon: { readonly socket: string; readonly problem: string | null };
};
type Room = { readonly free: number; readonly all: number };

/** `warning`: it works, but look at it; `unfit`: pods cannot run. */
export type Grade = 'well' | 'warning' | 'unfit';
export type Finding = {
  readonly check: string;
  readonly grade: Grade;
  /** What was found. */
  readonly value: string;
  /** What is wrong and what to do; empty where all is well. */
  readonly problem: string;
  readonly todo: string;
};
type Found = Omit<Finding, 'check'>;

const well = (value: string): Found => ({ grade: 'well', value, problem: '', todo: '' });
const bad = (grade: 'warning' | 'unfit', value: string, problem: string, todo: string): Found => ({
  grade,
  value,
  problem,
  todo,
});

/** What Berth uses of kernels, and what is not there below it. */
const kernelNeeds = [
  { since: [5, 6], grade: 'unfit', lacks: 'openat2, pidfd_open or the new mount calls' },
  { since: [5, 12], grade: 'warning', lacks: 'mount_setattr: no recursive read-only mounts' },
  { since: [5, 19], grade: 'warning', lacks: 'overlays with mapped owners: no pods with user namespaces' },
] as const;

function kernel({ kernel: { version, release } }: NodeFacts): Found[] {
  const isBelow = ([major, minor]: readonly [number, number]) =>
    version[0] < major || (version[0] === major && version[1] < minor);
  const need = kernelNeeds.find(({ since }) => isBelow(since));
  if (!need) return [well(release)];
  return [bad(need.grade, release, `it lacks ${need.lacks}`, `use a kernel from ${need.since.join('.')} on`)];
}

function overlay({ fileSystems }: NodeFacts): Found[] {
  if (fileSystems.includes('overlay')) return [well('the kernel has overlayfs')];
  return [bad('unfit', 'no overlayfs', 'containers have no root without it', 'modprobe overlay')];
}

const wantedControllers = ['cpu', 'memory', 'pids'];

function cgroups({ cgroups, controllers, cgroupDriver, isSystemds }: NodeFacts): Found[] {
  const missing = wantedControllers.filter((name) => !controllers.includes(name));
  if (missing.length === 0 && isSystemds && cgroupDriver !== 'systemd') {
    const problem = "systemd is not told of the pods' cgroups, and may take their limits away";
    const todo =
      'set cgroup_driver = "systemd" while the node has no pods; restart Berth, then kubelet, which asks for it';
    return [bad('warning', `${cgroups}, cgroup_driver = ${JSON.stringify(cgroupDriver)}`, problem, todo)];
  }
  if (missing.length === 0) return [well(cgroups)];
  const problem = `containers cannot be limited: no controller ${missing.join(', ')}`;
  return [
    bad('warning', cgroups, problem, 'see cgroup_disable in /proc/cmdline, and what the container this runs in has'),
  ];
}

const unfitFileSystems = ['overlay', 'ramfs', 'vfat', 'msdos', 'exfat', 'nfs', 'nfs4', '9p'];

function fileSystem({ disk: { path, type } }: NodeFacts): Found[] {
  const value = `${path} is on ${type}`;
  if (!unfitFileSystems.includes(type)) return [well(value)];
  return [bad('unfit', value, 'it cannot carry overlayfs', 'set data_dir to a directory on ext4, xfs or btrfs')];
}

/** kubelet evicts pods at 15 and at 5 percent by default. */
const lowShare = 0.15;
const rooms = { bytes: amount, inodes: String };

function space({ disk }: NodeFacts): Found[] {
  return (['bytes', 'inodes'] as const)
    .filter((what) => disk[what].all > 0)
    .map((what) => {
      const { free, all } = disk[what];
      const value = `${disk.path}: ${rooms[what](free)} of ${rooms[what](all)}${what === 'inodes' ? ' inodes' : ''} free`;
      if (free === 0) return bad('unfit', value, 'the disk is full', 'berth gc, or make room');
      return free < all * lowShare
        ? bad('warning', value, 'the disk is nearly full', 'berth gc, or make room')
        : well(value);
    });
}

function ociRuntimes({ ociRuntimes, defaultHandler }: NodeFacts): Found[] {
  return ociRuntimes.map(({ handler, path, installed, version, escapes }) => {
    const grade = handler === defaultHandler ? 'unfit' : 'warning';
    const value = `${handler}: ${path}${version && ` (${version})`}`;
    if (!installed) return bad(grade, value, 'there is no such program', `install it, or set handlers.${handler}.path`);
    if (version === '') return bad(grade, value, 'it does not say its version', `see what ${path} --version says`);
    if (escapes.length === 0) return well(value);
    return bad(
      'warning',
      value,
      escapes.join('; '),
      'update it, or see whether the distribution has mended its package',
    );
  });
}

function networks({ networks: { folder, names, problems, missing, binDirs } }: NodeFacts): Found[] {
  const value = names.length > 0 ? `${folder}: ${names.join(', ')}` : folder;
  const grade = names.length === 0 ? 'unfit' : 'warning';
  const absent = missing.map((type) =>
    bad('unfit', `plugin ${type}`, `it is in none of ${binDirs.join(', ')}`, 'install it, or set cni.bin_dirs'),
  );
  const wrong = problems.map((problem) => bad(grade, value, problem, 'mend it, or have a network add-on write it'));
  return wrong.length + absent.length > 0 ? [...wrong, ...absent] : [well(value)];
}

/** Of a file's time, which a copy may have from another zone. */
const dayMs = 86_400_000;

function clock({ clock: { isSynchronised, now, programMade } }: NodeFacts): Found[] {
  const todo = 'run systemd-timesyncd or chrony';
  if (now < programMade - dayMs) {
    const problem = 'this program was made later than that; no certificate is valid yet';
    return [bad('unfit', `it says ${new Date(now).toISOString()}`, problem, `set it (date --set), and ${todo}`)];
  }
  if (isSynchronised === true) return [well('synchronised')];
  const value = isSynchronised === null ? 'nothing here says whether it is synchronised' : 'not synchronised';
  return [bad('warning', value, 'certificates and logs need the right time', todo)];
}

function leftovers({ leftovers }: NodeFacts): Found[] {
  if (leftovers.length === 0) return [well('nothing that no record names')];
  const todo = 'restart the daemon: a start removes what it finds; see its log for what it cannot';
  return leftovers.map(({ what, path }) => bad('warning', path, `${what} of a pod that no record names`, todo));
}

function quarantine({ quarantined }: NodeFacts): Found[] {
  if (quarantined.length === 0) return [well('every record was read')];
  const todo = 'look what it was of; remove the file then';
  return quarantined.map((path) => bad('warning', path, 'a record that could not be read', todo));
}

/** kubelet asks one runtime only: what another one left would run beside its copy, and could not be ended. */
function others({ others }: NodeFacts): Found[] {
  if (others.length === 0) return [well('no other one has pods here')];
  return others.map(({ runtime, socket, keepers }) => {
    const todo = `start ${runtime} and have it remove them: crictl -r unix://${socket} rmp --all --force`;
    return bad(
      'warning',
      `${runtime}: ${keepers} of its shims run`,
      'its pods go on, and kubelet knows nothing of them',
      todo,
    );
  });
}

function daemon({ daemon: { socket, problem } }: NodeFacts): Found[] {
  if (problem === null) return [well(`answers at ${socket}`)];
  return [bad('warning', socket, problem, 'systemctl restart berth, which starts it too: containers go on')];
}

/** In the order that they are told. */
const checks: Readonly<Record<string, (facts: NodeFacts) => Found[]>> = {
  kernel,
  overlayfs: overlay,
  cgroups,
  'file system': fileSystem,
  space,
  'OCI runtimes': ociRuntimes,
  networks,
  clock,
  leftovers,
  records: quarantine,
  'other runtimes': others,
  daemon,
};

/** What every check says of these facts. */
export const examine = (facts: NodeFacts): Finding[] =>
  Object.entries(checks).flatMap(([check, look]) => look(facts).map((found) => ({ check, ...found })));

const codes = { well: 0, warning: 1, unfit: 2 } as const satisfies Record<Grade, number>;

/** The worst of them as an exit code. */
export const exitCodeOf = (findings: readonly Finding[]): number =>
  Math.max(0, ...findings.map(({ grade }) => codes[grade]));
