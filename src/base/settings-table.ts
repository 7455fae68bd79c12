import { usualCapabilities } from './capability-names.ts';
import { maxLayers } from './limits.ts';
import {
  address,
  addressOrNone,
  assignment,
  capability,
  flag,
  type Kind,
  keyPattern,
  listOf,
  logLevel,
  name,
  namedOnce,
  oneOf,
  path,
  pathList,
  pathOrNone,
  searchedPath,
  seconds,
  share,
  shortPath,
  socketPath,
  socketPathOrNone,
  sysctl,
  ulimit,
  unitPart,
  webAddressOrNone,
  whole,
  word,
} from './setting-kinds.ts';

/** One setting: what it may be, what it is unless an operator says otherwise, and what it means, in the words of the reference. */
export class Setting<T> {
  readonly kind: Kind<T>;
  readonly value: T;
  readonly text: string;
  /** A reload puts it in force; others are read at the start only. */
  readonly live: boolean;

  constructor(kind: Kind<T>, value: T, text: string, live = false) {
    this.kind = kind;
    this.value = value;
    this.text = text;
    this.live = live;
  }
}

/** A table of settings, `[name]` in TOML. `open`: what a table under a name of the operator's own begins with. */
export class Table<M extends Members> {
  readonly members: M;
  readonly text: string;
  readonly open: Members | undefined;

  constructor(text: string, members: M, open?: Members) {
    this.text = text;
    this.members = members;
    this.open = open;
  }
}

// biome-ignore lint/suspicious/noExplicitAny: a table's members have types of their own, which ValuesOf gives back
export type Members = { readonly [name: string]: Setting<any> | Table<any> };
type ValuesOf<M> = { [K in keyof M]: ValueOf<M[K]> };
type ValueOf<D> = D extends Setting<infer T> ? T : D extends Table<infer M> ? ValuesOf<M> : never;

const setting = <T>(kind: Kind<T>, value: T, text: string): Setting<T> => new Setting(kind, value, text);
/** One that is looked up each time it is needed. */
const live = <T>(kind: Kind<T>, value: T, text: string): Setting<T> => new Setting(kind, value, text, true);

const bytes = whole(1, Number.MAX_SAFE_INTEGER);
/** Read as a whole, by a daemon that is to stay small. */
const bytesInMemory = whole(1024, 2 ** 30);

const handler = (program: string) => ({
  path: setting(path, program, "A program with runc's command line, by its absolute path."),
  args: setting(listOf(word), [], "Options for every command of it, before the command's name."),
  privilegedWithoutHostDevices: setting(flag, false, "True: privileged containers are not given the host's devices."),
  create: setting(
    oneOf('auto', 'always'),
    'auto',
    "always: the program makes a container by its command create and begins it by start, as other runtimes call it, for who waits for that word: Inspektor Gadget. auto: so too, as programs around an OCI runtime do (NVIDIA's), unless it is crun or runc by its name, whose run does both at once.",
  ),
  podAnnotations: setting(
    listOf(keyPattern),
    [],
    'Annotations of a pod that the program sees in the annotations of its containers. It may take some for orders, which whoever makes a pod then gives.',
  ),
  containerAnnotations: setting(listOf(keyPattern), [], 'The same of containers: those that device plugins give them.'),
  cniConfDir: setting(pathOrNone, '', 'Where the conflists for its pods are; empty: those of [cni].'),
});

const imageLimits = {
  maxBytes: setting(bytes, 256 * 2 ** 30, 'Bytes, unpacked.'),
  maxEntries: setting(whole(1, Number.MAX_SAFE_INTEGER), 4_000_000, 'Files, directories and links.'),
  maxRatio: setting(
    whole(1, Number.MAX_SAFE_INTEGER),
    200,
    'Unpacked bytes for each compressed one, of a layer that unpacks to more than a gigabyte. Long runs of zeros in files do not count: they become holes, which take no disk, and max_bytes bounds the time that they take.',
  ),
  maxLayers: setting(whole(1, maxLayers), maxLayers, 'Layers.'),
  maxManifestBytes: setting(bytesInMemory, 4 * 2 ** 20, 'Bytes of a manifest or an index.'),
  maxConfigBytes: setting(bytesInMemory, 8 * 2 ** 20, "Bytes of the image's config."),
};

const images = {
  certsDir: setting(
    pathList,
    '/etc/berth/certs.d:/etc/containerd/certs.d:/etc/containers/certs.d:/etc/docker/certs.d',
    'Registries: <host>/hosts.toml below these folders, in the format that containerd reads; of each registry the first folder that says something counts.',
  ),
  registriesConf: setting(
    pathOrNone,
    '',
    'A registries.conf as CRI-O reads it (version 2), with *.conf of its .d folder: its [[registry]] tables, for registries of which certs_dir says nothing, and what short names mean; empty: none. /etc/containers/registries.conf, say; read at each pull.',
  ),
  authFile: setting(
    pathOrNone,
    '',
    'Credentials for pulls that bring none, and for mirrors by their own names, as docker login writes them (config.json); read at each pull. Every pod of the node can then have what they open.',
  ),
  maxParallelLayers: setting(whole(1, 64), 3, 'Layers that are fetched and unpacked at once, over all pulls.'),
  connectionsPerLayer: setting(
    whole(1, 64),
    4,
    'Parts of one large layer that are fetched at once; 1: every layer over one connection.',
  ),
  pinned: live(listOf(word), [], 'References that are never removed by garbage collection.'),
  limits: new Table('What one image may take; above it a pull ends with ResourceExhausted.', imageLimits),
};

const cni = {
  confDir: setting(
    path,
    '/etc/cni/net.d',
    'Where network configurations (conflists) are; plugins of a network may be in files of their own, in its folder there (NETWORK/*.conf).',
  ),
  binDirs: setting(
    listOf(searchedPath, 1),
    ['/opt/cni/bin', '/usr/lib/cni', '/usr/libexec/cni'],
    'Where plugins are looked for, the first directory first.',
  ),
  cacheDir: setting(
    path,
    '/var/lib/cni',
    "What plugins answered is kept in its folder results, as CNI's own library keeps it.",
  ),
  confTemplate: setting(
    pathOrNone,
    '',
    "A conflist as containerd's templates are written, with {{.PodCIDR}}, {{.PodCIDRRanges}} and {{.Routes}}, filled in when kubelet tells the node's, unless another file of conf_dir describes a network; empty: none.",
  ),
  netnsDir: setting(
    path,
    '/var/run/netns',
    'Where the network namespaces of pods are pinned, for network agents and ip netns.',
  ),
  maxNetworks: setting(whole(1, 64), 1, 'How many networks a pod joins: the first valid conflists by name.'),
};

const pods = {
  unprivilegedPorts: live(
    flag,
    true,
    'True: who is not root listens at ports below 1024 too, in pods with a network of their own.',
  ),
  unprivilegedIcmp: live(
    flag,
    true,
    'True: who is not root may ping, in pods with a network of their own and without a user namespace.',
  ),
  sysctls: live(
    namedOnce(sysctl),
    [],
    'What pods have that say nothing else, where they have the namespace for themselves: NAME=value.',
  ),
};

const containers = {
  capabilities: live(listOf(capability), [...usualCapabilities], 'What a container has that asks for none.'),
  env: live(
    namedOnce(assignment),
    [],
    "Variables of every container, NAME=value; the image's and the request's go before.",
  ),
  ulimits: live(
    namedOnce(ulimit),
    [],
    'Limits of every container: nproc=1024:4096. What is not named here is the limit of the daemon, but for nofile: see soft_open_files.',
  ),
  deviceOwnershipFromSecurityContext: live(
    flag,
    false,
    'True: devices that a container asks for belong to its run_as_user and run_as_group; false: to whom they do on the host.',
  ),
};

const compat = {
  containerdSocket: setting(
    socketPathOrNone,
    '',
    'Where Berth listens too, with all of CRI and the calls of containerd that kubelet needs for the labels of /metrics/cadvisor: /run/containerd/containerd.sock, as that address is fixed in kubelet. It may be the socket itself. Empty: nowhere.',
  ),
  runtimeName: live(
    name,
    'berth',
    "What Version calls the runtime, and with it the node's containerRuntimeVersion: containerd, for agents that refuse a name that they do not know.",
  ),
};

const tracing = {
  endpoint: live(
    webAddressOrNone,
    '',
    'Where OTLP is taken: http://127.0.0.1:4318, say, or another path than /v1/traces at its end; empty: nowhere, and nothing of OpenTelemetry is loaded.',
  ),
  protocol: live(
    oneOf('http/protobuf', 'grpc'),
    'http/protobuf',
    'How it is spoken. grpc has no path, and usually port 4317.',
  ),
  sampling: live(
    share,
    1,
    "Which part of the calls is told of that come in no trace of the caller's. For others the caller has decided: kubelet, by its own tracing settings.",
  ),
  serviceName: live(name, 'berth', 'service.name of all spans.'),
};

const timeouts = {
  ociRuntime: live(seconds, 60, 'A command of the OCI runtime; `create` and `start` of a container together.'),
  cniPlugin: setting(seconds, 90, 'A CNI plugin.'),
  pullFirstByte: setting(seconds, 300, 'The answer of a registry: a pull-through cache fetches the image meanwhile.'),
  pullProgress: setting(seconds, 60, 'A pull that neither receives nor writes a byte.'),
  execDrain: live(seconds, 2, 'Output of a command after its end, while what it started holds it open.'),
  hostPath: live(
    seconds,
    10,
    'Each look at a path of the host that a request names, at what the settings name for pulls and networks, and the opening of a log.',
  ),
};

/** Everything an operator can set, what it is by default, and what it means. The TOML keys are these names in snake_case. */
export const settingsTable = new Table('', {
  socket: setting(socketPath, '/run/berth/berth.sock', 'The CRI socket.'),
  dataDir: setting(path, '/var/lib/berth', 'Records, images, writable layers: what survives a reboot.'),
  runDir: setting(
    shortPath(40),
    '/run/berth',
    'Sockets, bundles, exit files: what does not. It is short, as the names of sockets below it have to be.',
  ),
  cgroupDriver: setting(
    oneOf('cgroupfs', 'systemd'),
    'cgroupfs',
    'What makes the cgroups of pods. kubelet asks for it and follows.',
  ),
  systemdScopePrefix: setting(
    unitPart,
    'cri-containerd',
    'With the systemd driver: pods and containers are scopes PREFIX-ID.scope. Agents on a node know that of containerd.',
  ),
  cgroupParent: setting(path, '/berth', 'Where pods without a cgroup parent go.'),
  defaultHandler: setting(name, 'crun', 'The handler, of [handlers], for pods that name none.'),
  refuseMissingHostPaths: live(
    flag,
    false,
    'True: a host path that does not exist makes CreateContainer fail; false: it is made as a directory.',
  ),
  softOpenFiles: live(
    whole(0, 2 ** 30),
    1024,
    "How many files a process of a container may have open before it raises its own limit; the most that it may raise it to is the daemon's. 0: that at once.",
  ),
  logLevel: live(logLevel, 'info', 'What is logged: this and what is worse. BERTH_LOG in the environment goes before.'),
  handlers: new Table(
    'OCI runtimes under the names of RuntimeClass handlers. Others are added as [handlers.NAME].',
    { crun: new Table('', handler('/usr/bin/crun')), runc: new Table('', handler('/usr/sbin/runc')) },
    handler(''),
  ),
  cni: new Table('The network of pods.', cni),
  cdi: new Table('Devices by the Container Device Interface.', {
    specDirs: setting(
      listOf(path),
      ['/etc/cdi', '/var/run/cdi'],
      'Where descriptions of devices are; a later directory comes before an earlier one.',
    ),
  }),
  streaming: new Table('Where exec, attach and port-forward are served.', {
    address: setting(address, '127.0.0.1:0', 'An IP address and a port, 0 for any. kubelet is the way to it.'),
  }),
  metrics: new Table('Figures of Berth for Prometheus.', {
    address: setting(
      addressOrNone,
      '',
      'Where /metrics is served, to whoever reaches it; empty: nowhere. 127.0.0.1:9102, say.',
    ),
  }),
  tracing: new Table('Spans of calls, for OpenTelemetry.', tracing),
  pods: new Table('What pods have without asking.', pods),
  containers: new Table('What containers have without asking.', containers),
  images: new Table('Images and registries.', images),
  compat: new Table('What of other runtimes is imitated, for agents that know only those.', compat),
  timeouts: new Table('Seconds that something else is waited for.', timeouts),
});

type HandlerSettings = ValuesOf<ReturnType<typeof handler>>;
export type Settings = Omit<ValueOf<typeof settingsTable>, 'handlers'> & { handlers: Record<string, HandlerSettings> };

/** The values of a table as it is by default, each time anew. */
export const valuesOf = <M extends Members>(members: M): ValuesOf<M> =>
  Object.fromEntries(
    Object.entries(members).map(([name, each]) => [
      name,
      each instanceof Table ? valuesOf(each.members) : structuredClone(each.value),
    ]),
  ) as ValuesOf<M>;

export const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** One line of a table as it is to be printed. */
export type Shown = {
  readonly key: string;
  readonly value: unknown;
  readonly mayBe: string;
  readonly text: string;
  readonly live: boolean;
};
/** A table as it is to be printed: its path, what it is for, and its settings. */
export type ShownTable = {
  readonly path: readonly string[];
  readonly text: string;
  readonly settings: readonly Shown[];
};

/** Tables with their settings, the one that has no name first, and each with the values of `given`. */
export function* shownTables(
  given: Readonly<Record<string, unknown>>,
  table: Table<Members> = settingsTable,
  path: readonly string[] = [],
): Generator<ShownTable> {
  const names = new Set([...Object.keys(table.members), ...Object.keys(given)]);
  const all = [...names].map(
    (name) => [name, ownMember(table.members, name) ?? new Table('', table.open ?? {})] as const,
  );
  const settings = all.flatMap(([name, each]) =>
    each instanceof Setting
      ? [{ key: snake(name), value: given[name], mayBe: each.kind.what, text: each.text, live: each.live }]
      : [],
  );
  yield { path, text: table.text, settings };
  for (const [name, each] of all) {
    if (each instanceof Setting) continue;
    const key = table.open ? name : snake(name); // a handler's name is the operator's own
    yield* shownTables(given[name] as Record<string, unknown>, each, [...path, key]);
  }
}

/** An operator may name a handler as what every object has: constructor. */
export const ownMember = <T>(table: Readonly<Record<string, T>>, key: string): T | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined;
