import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { Fault, isErrno, messageOf } from './fault.ts';

/** An OCI runtime under the name of a RuntimeClass handler. */
const handlerDefaults = {
  /** A program with runc's command line. */
  path: '',
  /** Options for every command of it, before the command's name. */
  args: [] as string[],
  /** True: privileged containers are not given the host's devices. */
  privilegedWithoutHostDevices: false,
  /** Conflists for its pods; empty: those of [cni]. */
  cniConfDir: '',
};

export type HandlerSettings = typeof handlerDefaults;

/** Everything an operator can set. The TOML keys are the names here in snake_case. */
export const defaults = {
  /** The CRI socket. */
  socket: '/run/berth/berth.sock',
  /** Records, snapshots: what survives a reboot. */
  dataDir: '/var/lib/berth',
  /** Sockets, bundles, exit files: what does not. At most 40 characters, a unix socket's name is short. */
  runDir: '/run/berth',
  /** `cgroupfs` or `systemd`; must be kubelet's. */
  cgroupDriver: 'cgroupfs',
  /** Where pods without a cgroup parent go. */
  cgroupParent: '/berth',
  /** The handler for pods that name none. */
  defaultHandler: 'crun',
  /** True: a host path that does not exist makes CreateContainer fail; false: it is made as a directory. */
  refuseMissingHostPaths: false,
  /**
   * How many files a process of a container may have open before it raises its own limit; the most that it may raise it to is
   * the daemon's. 0: that at once.
   */
  softOpenFiles: 1024,
  handlers: {
    crun: { ...handlerDefaults, path: '/usr/bin/crun' },
    runc: { ...handlerDefaults, path: '/usr/sbin/runc' },
  } as Record<string, HandlerSettings>,
  cni: {
    confDir: '/etc/cni/net.d',
    binDirs: ['/opt/cni/bin', '/usr/lib/cni', '/usr/libexec/cni'],
    cacheDir: '/var/lib/cni',
    /** A conflist with {{.PodCIDR}} or {{.PodCIDRRanges}}, filled in when kubelet tells the node's; empty: none. */
    confTemplate: '',
    /** How many networks a pod joins: the first valid conflists by name. */
    maxNetworks: 1,
  },
  /** Where descriptions of devices are (CDI); a later directory comes before an earlier one. */
  cdi: { specDirs: ['/etc/cdi', '/var/run/cdi'] },
  /** Where exec, attach and port-forward are served: an IP address and a port, 0 for any. Kubelet is the way to it. */
  streaming: { address: '127.0.0.1:0' },
  images: {
    certsDir: '/etc/berth/certs.d',
    /** Layers that are fetched and unpacked at once, over all pulls. */
    maxParallelLayers: 3,
    /** Parts of one large layer that are fetched at once; 1: every layer over one connection. */
    connectionsPerLayer: 4,
    /** What one image may take; above, a pull is ResourceExhausted. Ratio: unpacked bytes for each compressed one. */
    limits: {
      maxBytes: 256 * 2 ** 30,
      maxEntries: 4_000_000,
      maxRatio: 200,
      maxLayers: 500,
      maxManifestBytes: 4 * 2 ** 20,
      maxConfigBytes: 8 * 2 ** 20,
    },
    /** References that are never removed by garbage collection. */
    pinned: [] as string[],
  },
  /**
   * Seconds; every wait on something else has one. `hostPath`: for each look at a path of the host that a request names, and
   * for the opening of a log.
   */
  timeouts: { ociRuntime: 60, cniPlugin: 90, pullProgress: 60, shim: 30, execDrain: 2, hostPath: 10 },
};

export type Settings = typeof defaults;

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/**
 * Settings from one TOML file and the `*.toml` files of `<file>.d`, in name order, over the defaults. A file that
 * does not exist counts as empty. InvalidArgument names the file and the key for an unknown key or a wrong type.
 */
export function loadSettings(file: string): Settings {
  const files = [file, ...dropIns(`${file}.d`)];
  const settings = files.reduce((so, path) => merge(so, readToml(path), path, ''), structuredClone(defaults));
  check(settings);
  return settings;
}

function dropIns(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => name.endsWith('.toml'));
    return names.sort().map((name) => join(folder, name));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

function readToml(path: string): Record<string, unknown> {
  try {
    return parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return {};
    throw new Fault('InvalidArgument', `Cannot read configuration ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Lays `given` over `base`; only keys that `base` knows, only values of the same type. */
function merge<T extends object>(base: T, given: Record<string, unknown>, path: string, under: string): T {
  const names = new Map(Object.keys(base).map((name) => [snake(name), name]));
  const open = under === 'handlers.'; // the only table whose keys are the operator's own
  const result: Record<string, unknown> = { ...(base as Record<string, unknown>) };
  for (const [key, value] of Object.entries(given)) {
    const name = names.get(key) ?? (open ? key : undefined);
    const fault = (why: string) => new Fault('InvalidArgument', `Configuration ${path}: ${under}${key} ${why}`);
    if (name === undefined) throw fault(`is unknown; known here are ${[...names.keys()].join(', ')}`);
    const known = result[name] ?? handlerDefaults;
    if (kindOf(known) !== kindOf(value)) throw fault(`is ${kindOf(value)}, it must be ${kindOf(known)}`);
    const table = kindOf(known) === 'table';
    result[name] = table ? merge(known, value as Record<string, unknown>, path, `${under}${key}.`) : value;
  }
  return result as T;
}

const kindOf = (value: unknown): string =>
  Array.isArray(value) ? 'array' : typeof value === 'object' ? 'table' : typeof value;

function check(settings: Settings): void {
  const wrong = (why: string) => new Fault('InvalidArgument', `Configuration: ${why}`);
  for (const key of ['socket', 'dataDir', 'runDir', 'cgroupParent'] as const) {
    if (!settings[key].startsWith('/')) throw wrong(`${snake(key)} = "${settings[key]}" must be an absolute path`);
  }
  if (settings.runDir.length > 40) throw wrong(`run_dir = "${settings.runDir}" is longer than 40 characters`);
  if (!['cgroupfs', 'systemd'].includes(settings.cgroupDriver)) {
    throw wrong(`cgroup_driver = "${settings.cgroupDriver}" must be cgroupfs or systemd`);
  }
  for (const [name, { path, cniConfDir }] of Object.entries(settings.handlers)) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name)) throw wrong(`handlers."${name}" is not a handler's name`);
    if (!path.startsWith('/')) throw wrong(`handlers.${name}.path = "${path}" must be an absolute path`);
    if (!/^(\/|$)/.test(cniConfDir)) throw wrong(`handlers.${name}.cni_conf_dir = "${cniConfDir}" must be absolute`);
  }
  if (!settings.handlers[settings.defaultHandler]) {
    throw wrong(`default_handler = "${settings.defaultHandler}" is not in [handlers]`);
  }
}

/** The settings as TOML, for `berth config`. */
export { stringify as toToml } from 'smol-toml';
