import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Fault, messageOf } from '../base/fault.ts';
import { Locks } from '../base/locks.ts';
import { log, logThrough, setLogLevel } from '../base/log.ts';
import type { Settings } from '../base/settings.ts';
import { tracingOf } from '../base/settings-environment.ts';
import { Traces } from '../base/trace.ts';
import { CallStats } from '../cri/call-stats.ts';
import { berthVersion } from '../cri/runtime-service.ts';
import { type CriServer, listen } from '../cri/server.ts';
import { dial, hostAuthorities, openImages } from '../image/index.ts';
import { Creations } from '../lifecycle/creations.ts';
import type { Deps } from '../lifecycle/deps.ts';
import { onExit, onLogLost, onShimLost, podDown } from '../lifecycle/exits.ts';
import { LastingFiles, readersOf } from '../lifecycle/lasting-files.ts';
import { LogLosses } from '../lifecycle/log-losses.ts';
import { Mending } from '../lifecycle/mending.ts';
import { newPodCgroup, prepareCgroups } from '../lifecycle/pod/cgroups.ts';
import { openWay } from '../lifecycle/pod/files.ts';
import { prepareNetnsFolder } from '../lifecycle/pod/netns.ts';
import { podMaps } from '../lifecycle/pod/user-namespaces.ts';
import { recover } from '../lifecycle/recover.ts';
import { OciRuntimes } from '../lifecycle/runtime/handlers.ts';
import { Shims } from '../lifecycle/runtime/shims.ts';
import { keepScopeFiles } from '../lifecycle/scope-files.ts';
import { logUnderWay } from '../lifecycle/under-way.ts';
import { watchUnseenEnds } from '../lifecycle/unseen-ends.ts';
import type { Container } from '../model/container.ts';
import type { ContainerId, PodId } from '../model/ids.ts';
import type { Pod } from '../model/pod.ts';
import { Network } from '../network/index.ts';
import { openSnapshots, probeOverlay } from '../snapshot/index.ts';
import { Layout } from '../state/layout.ts';
import { decodeContainer, decodePod } from '../state/object-records.ts';
import { Records } from '../state/records.ts';
import { Stats } from '../stats/index.ts';
import { lockDirectories } from '../sys/directory-lock.ts';
import { endProcess } from '../sys/end-process.ts';
import { bootId, gatherHostFacts } from '../sys/host.ts';
import { standardError } from '../sys/log-output.ts';
import { makeNamedDirectory } from '../sys/named-directory.ts';
import { superviseUs, tellSupervisor } from '../sys/supervisor.ts';
import { closeToOthers } from '../sys/tidy.ts';
import { Tracing } from '../tracing/index.ts';
import { bootAnswerMs } from './host-files.ts';
import { noteInForce, refuseOtherPlaces } from './in-force.ts';
import { serveMetrics } from './metrics-server.ts';
import { keepSmall } from './node-flags.ts';
import { ownMetrics, type StartTimes } from './own-metrics.ts';
import { mustAnswer } from './reach.ts';
import { type Reload, reloading, reloadOnSignal } from './reload.ts';
import { logWarnings, surviveSignals, tellOnSignal, toldToEnd } from './signals.ts';

/**
 * What mends at once is mended before the first call: reads are then true from the first moment. What is stuck (a plugin,
 * a shim, a disk) keeps nobody else waiting: its calls wait for it, all others are served.
 */
const untilServingMs = 1000;
/** How long calls in flight may take to end after SIGTERM. */
const graceMs = 4000;

/** What tests look for in the log: nobody waited for this promise. */
export const strayRejection = 'A rejection that nobody handled';

type Serving = { readonly server: CriServer; readonly deps: Deps };

/** Reads the configuration, in so many milliseconds; `below` counts where it says nothing. */
type Load = (ms?: number, below?: object) => Promise<Settings>;

/** `berth serve`: lock -> state -> recover -> listen; ends the process after SIGTERM or SIGINT. Containers go on. */
export async function serveForEver(load: Load): Promise<void> {
  logThrough(standardError());
  logWarnings();
  const { given, problems } = tracingOf(process.env);
  const settings = await load(bootAnswerMs, given);
  setLogLevel(settings.logLevel);
  if (given.tracing) log.info(given, 'The environment says this, where the configuration says nothing');
  for (const problem of problems)
    log.warn({ problem }, "A variable of OpenTelemetry's in the environment counts for nothing");
  if (process.geteuid?.() !== 0)
    throw new Fault('PermissionDenied', 'berth serve makes namespaces, mounts and cgroups: run it as root, with sudo');
  await mustAnswer(needed(settings), bootAnswerMs);
  const tracing = new Tracing({ dial, authorities: hostAuthorities }, berthVersion);
  const reload = reloading(
    settings,
    () => load(undefined, given),
    () => tracing.follow(settings.tracing),
  );
  keepSmall();
  surviveSignals();
  const told = tellOnSignal();
  reloadOnSignal(reload);
  const end = toldToEnd();
  const serving = await Promise.race([start(settings, { reload, told, tracing }), end]);
  await end;
  tellSupervisor('STOPPING=1');
  log.info('Berth ends; containers go on');
  await serving?.server.close(graceMs); // told before it served: as a crash there, the next start goes on
  await Promise.all([serving?.deps.images.close(), tracing.close()]);
  endProcess(0); // connections to shims and timers of calls cut off must not hold it up
}

/** What a start touches itself, and cannot do without. */
function needed({ dataDir, runDir, socket, compat, cni, handlers }: Settings): string[] {
  const programs = Object.values(handlers).map(({ path }) => path);
  const own = [dataDir, runDir, socket, compat.containerdSocket, cni.netnsDir, cni.cacheDir];
  return [...own.filter((path) => path !== ''), ...programs];
}

type FromOutside = { readonly reload: Reload; readonly told: { tell: () => void }; readonly tracing: Tracing };

async function start(settings: Settings, { reload, told, tracing }: FromOutside): Promise<Serving> {
  const begin = performance.now();
  process.umask(0o077);
  // A mistake of ours, yet of one call: it must not end the daemon for all the others.
  process.on('unhandledRejection', (error) =>
    log.error({ reason: messageOf(error), stack: (error as Error | null)?.stack }, strayRejection),
  );
  await takeDirectories(settings);
  const deps = await openDeps(settings);
  await refuseOtherPlaces(settings, deps);
  told.tell = () => logUnderWay(deps);
  const recovered = recover(deps);
  await Promise.race([recovered, delay(untilServingMs)]);
  watchUnseenEnds(deps);
  keepScopeFiles(deps);
  const stats = new Stats({ ...deps, logLoss: (id) => deps.logLosses.of(id) });
  const callStats = new CallStats();
  const startTimes: StartTimes = {};
  const imageMountpoint = deps.snapshots.root;
  const server = await listen({ ...deps, stats, imageMountpoint, reload, callStats, tracing });
  await noteInForce(settings);
  const tookMs = Math.round(performance.now() - begin);
  startTimes.serving = tookMs / 1000;
  log.info(
    { version: berthVersion, socket: settings.socket, pods: deps.pods.size, containers: deps.containers.size, tookMs },
    'Berth is serving',
  );
  superviseUs(`${deps.pods.size} pods at the start`);
  void recovered.then(() => {
    const tookMs = Math.round(performance.now() - begin);
    startTimes.mended = tookMs / 1000;
    log.info({ tookMs }, 'All is mended');
  });
  tracing.follow(settings.tracing); // once it serves: loading OpenTelemetry holds up no start
  if (settings.metrics.address !== '')
    await serveMetrics(settings.metrics.address, ownMetrics(deps, { callStats, tracing, startTimes }));
  for (const runtime of deps.ociRuntimes.all()) void runtime.features(); // it warns of what is known of its version
  return { server, deps };
}

/** Before anything in them is read, let alone changed: a second daemon would undo the pods in flight of the first. */
async function takeDirectories({ dataDir, runDir }: Settings): Promise<void> {
  const directories = [
    { setting: 'data_dir', path: dataDir },
    { setting: 'run_dir', path: runDir },
  ];
  for (const { setting, path } of directories) makeNamedDirectory(setting, path);
  await lockDirectories(directories);
}

/**
 * Nobody but root finds anything in them: a user of the host would run the set-user-id programs of containers. Another mode
 * is mended at every start, a backup or an operator may have changed it; that of the way to the pods is openWay's.
 */
function makeDirectories(layout: Layout, { socket, compat }: Settings): void {
  const closed = [layout.dataDir, layout.state, layout.anonymousVolumes, layout.ociState, layout.keptNetns];
  makeNamedDirectory('socket', dirname(socket));
  if (compat.containerdSocket !== '') makeNamedDirectory('compat.containerd_socket', dirname(compat.containerdSocket));
  for (const path of [layout.pods, ...closed]) mkdirSync(path, { recursive: true, mode: 0o700 });
  for (const path of closed) closeToOthers(path);
}

async function openDeps(settings: Settings): Promise<Deps> {
  const layout = new Layout(settings);
  makeDirectories(layout, settings);
  await prepareCgroups({ settings });
  prepareNetnsFolder({ settings });
  probeOverlay(layout.overlayProbe); // rather than at the first container
  const snapshots = await openSnapshots(layout.snapshots);
  const { images, timeouts } = settings;
  const handled = (what: string, work: Promise<void>) =>
    work.catch((error: unknown) => log.error({ what, reason: messageOf(error) }, 'An event could not be handled'));
  const reader = (what: string) => new LastingFiles(() => timeouts.hostPath * 1000, what);
  const hostFiles = () => reader(readersOf.operator);
  const ociRuntimes = await OciRuntimes.open(settings, layout, () => reader(readersOf.ociRuntimes));
  const pods = await Records.open<PodId, Pod>(layout.state, {
    what: 'pod',
    parse: (json) =>
      decodePod(json, {
        handler: (name) => ociRuntimes.formerly(name),
        cgroup: (id, config) => newPodCgroup({ settings }, id, config),
      }),
  });
  const containers = await Records.open<ContainerId, Container>(layout.state, {
    what: 'container',
    parse: (json) => decodeContainer(json, (podId) => pods.get(podId)?.resolvedHandler ?? ociRuntimes.formerly('')),
  });
  const deps: Deps = {
    settings,
    layout,
    bootId: bootId(),
    host: gatherHostFacts(),
    pods,
    containers,
    snapshots,
    images: await openImages(
      {
        dataDir: layout.state,
        ...images,
        hostFiles,
        firstByteTimeoutMs: timeouts.pullFirstByte * 1000,
        progressTimeoutMs: timeouts.pullProgress * 1000,
      },
      snapshots,
    ),
    network: new Network(settings, layout.keptNetns, {
      files: reader(readersOf.networks),
      programs: reader(readersOf.plugins),
      hostFiles,
    }),
    ociRuntimes,
    shims: new Shims((id) => layout.pod(id), {
      onExit: (_, exit) => handled(`exit of ${exit.key}`, onExit(deps, exit)),
      onPauseExit: (podId) => handled(`pause of ${podId}`, podDown(deps, podId, 'its pause process ended')),
      onLogLost: (_, key, loss) => onLogLost(deps, key, loss),
      onLost: (podId) => handled(`lost shim of ${podId}`, onShimLost(deps, podId)),
    }),
    locks: new Locks(),
    mending: new Mending(),
    logLosses: new LogLosses(),
    podCreations: new Creations(),
    containerCreations: new Creations(),
    stopping: new Set(),
    stoppingPods: new Set(),
    traces: new Traces(),
  };
  openWay(deps);
  pods.listen((after, before) => {
    if (podMaps((after ?? before)!.config)) whenPodsChanged(deps);
  });
  return deps;
}

/** A pod with a user namespace came or went. Its making opens the way itself, and fails if that fails. */
function whenPodsChanged(deps: Deps): void {
  try {
    openWay(deps);
  } catch (error) {
    log.error({ reason: messageOf(error) }, 'The way to the pods could not be closed to who needs it no more');
  }
}
