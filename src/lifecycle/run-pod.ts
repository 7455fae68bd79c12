import type { Caller } from '../base/caller.ts';
import { messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { allOf } from '../base/run-all.ts';
import { step, traced } from '../base/trace.ts';
import type { PodConfig } from '../model/config.ts';
import { newPodId, type PodId } from '../model/ids.ts';
import { isWhatIsAsked, type Pod, type PodNetwork, podAfter, podKey } from '../model/pod.ts';
import { bandwidthsOf } from '../network/index.ts';
import { checkSysctls } from '../oci/index.ts';
import type { Shim } from '../shim/index.ts';
import { mapLines } from '../sys/idmap.ts';
import { crashPoint } from './crash-point.ts';
import { creationTime } from './creations.ts';
import type { Deps } from './deps.ts';
import {
  checkCgroupParent,
  makePauseCgroup,
  newPodCgroup,
  ownsPodCgroup,
  pauseEntrance,
  placePause,
} from './pod/cgroups.ts';
import { makePodDirectory, makeShared, podHostname, usesHostIpc, usesHostNetwork, writeHosts } from './pod/files.ts';
import { keepNetnsFolder, netnsOf, newNetns } from './pod/netns.ts';
import { podSysctls } from './pod/sysctls.ts';
import { checkUserNamespace, podMaps } from './pod/user-namespaces.ts';
import { teardownPod } from './teardown.ts';

/** kubelet's value for a pod's infrastructure: the last to be killed. */
const pauseOomScoreAdj = -998;

export type RunPodRequest = { readonly config: PodConfig; readonly handler: string };

/**
 * Makes a pod and waits until it is ready. A retry joins the run in flight, or is given what the first call made.
 * @throws Fault InvalidArgument for an unknown handler, a forbidden sysctl or a bandwidth that is none, AlreadyExists for a
 * duplicate.
 */
export async function runPod(deps: Deps, request: RunPodRequest, caller: Caller): Promise<PodId> {
  deps.ociRuntimes.get(request.handler);
  checkSysctls(request.config.sysctls, request.config.security.namespaces);
  checkCgroupParent(deps, request.config);
  if (!usesHostNetwork(request.config)) bandwidthsOf(request.config.annotations); // throws
  const key = podKey(request.config);
  const { namespace, name } = request.config.metadata;
  const existing = () => {
    const pod = [...deps.pods.all()].find(({ config }) => podKey(config) === key);
    if (!pod) return undefined;
    const stays = !deps.stoppingPods.has(pod.id);
    return { id: pod.id, same: stays && isWhatIsAsked(pod, request.config, request.handler) };
  };
  const halfMade = existing();
  if (halfMade) await deps.mending.settled(halfMade.id, caller.signal); // it may be gone then
  const what = `Pod ${namespace}/${name}`;
  return deps.podCreations.create({ what, key, existing, make: () => makePod(deps, request) }, caller);
}

async function makePod(deps: Deps, { config, handler }: RunPodRequest): Promise<PodId> {
  const runtime = deps.ociRuntimes.get(handler);
  if (podMaps(config)) checkUserNamespace(config, runtime.name, await runtime.features());
  const id = newPodId();
  const pod: Pod = {
    id,
    config,
    handler,
    resolvedHandler: runtime.handler,
    cgroup: newPodCgroup(deps, id, config),
    scopePrefix: deps.settings.systemdScopePrefix,
    netns: newNetns(deps, id),
    createdAt: creationTime(earlierAttempts(deps, config)),
    bootId: deps.bootId,
    state: { phase: 'creating' },
  };
  traced(id, id);
  await deps.pods.put(pod);
  crashPoint('run-pod:record');
  try {
    await bringUp(deps, pod);
    return id;
  } catch (error) {
    await teardownPod(deps, id).catch(async (failure: unknown) => {
      // It stays listed as NotReady, so that the client's RemovePodSandbox can try again.
      log.error({ pod: id, reason: messageOf(failure) }, 'A pod that failed to start could not be torn down');
    });
    throw error;
  }
}

function earlierAttempts(deps: Pick<Deps, 'pods'>, { metadata: { namespace, name } }: PodConfig): Pod[] {
  return [...deps.pods.all()].filter(({ config: { metadata: m } }) => m.namespace === namespace && m.name === name);
}

async function bringUp(deps: Deps, pod: Pod): Promise<void> {
  await step('file: pod directory', () => makePodDirectory(deps, pod));
  crashPoint('run-pod:directory');
  // What only containers need is made while the way to the network, the longest, is gone.
  const [{ pausePid, network }] = await allOf([
    isolate(deps, pod),
    step('mount: /dev/shm, hosts, hostname, resolv.conf', () => makeShared(deps, pod)),
  ]);
  crashPoint('run-pod:network');
  if (network) await step('file: hosts', () => writeHosts(deps, pod, network.ips));
  await deps.pods.put(podAfter(pod, { type: 'up', pausePid, network }));
  crashPoint('run-pod:ready');
}

/** Shim, namespaces, network. */
async function isolate(
  deps: Pick<Deps, 'host' | 'layout' | 'network' | 'settings' | 'shims'>,
  pod: Pod,
): Promise<{ pausePid: number; network: PodNetwork | null }> {
  const [shim] = await allOf([deps.shims.start(pod.id), step('cgroup: make', () => makePauseCgroup(pod))]);
  crashPoint('run-pod:shim');
  const pausePid = await startPause(deps, pod, shim);
  crashPoint('run-pod:pause');
  const [network] = await allOf([joinNetwork(deps, pod, shim), step('cgroup: place', () => placePause(pod, pausePid))]);
  return { pausePid, network };
}

async function startPause(deps: Pick<Deps, 'host' | 'layout' | 'settings'>, pod: Pod, shim: Shim): Promise<number> {
  const { config } = pod;
  const maps = podMaps(config);
  const ownNetwork = !usesHostNetwork(config);
  if (ownNetwork) keepNetnsFolder(deps);
  const cgroup = pauseEntrance(pod);
  const made = await shim.sandbox({
    network: ownNetwork,
    ipc: !usesHostIpc(config),
    uts: ownNetwork, // with the host's network the name is the host's too
    pid: config.security.namespaces.pid === 'pod',
    hostname: ownNetwork ? podHostname(config) : '',
    netnsPath: ownNetwork ? netnsOf(deps, pod) : '',
    sysctls: podSysctls(deps, pod).filter((setting) => !isAfterPlugins(setting)),
    cgroupTasks: cgroup.tasks,
    cgroupFolder: cgroup.folder,
    oomScoreAdj: Math.max(pauseOomScoreAdj, deps.host.oomScoreAdjMin),
    ...(maps && { userMaps: { uids: mapLines(maps.uids), gids: mapLines(maps.gids) } }),
  });
  return made.pausePid;
}

/** Sysctls of interfaces, and those that plugins set too, are the pod's own once the plugins are done. */
async function joinNetwork(
  deps: Pick<Deps, 'layout' | 'network' | 'settings'>,
  pod: Pod,
  shim: Shim,
): Promise<PodNetwork | null> {
  const network = await attach(deps, pod, shim);
  const settings = podSysctls(deps, pod).filter(isAfterPlugins);
  if (settings.length > 0) await step('sysctls: of the network', () => shim.setSysctls(settings));
  return network;
}

/** No plugin sets who may listen and ping. */
const isAfterPlugins = (setting: string): boolean =>
  setting.startsWith('net.') && !/^net\.ipv4\.(ip_unprivileged_port_start|ping_group_range)=/.test(setting);

async function attach(deps: Pick<Deps, 'layout' | 'network'>, pod: Pod, shim: Shim): Promise<PodNetwork | null> {
  if (usesHostNetwork(pod.config)) return null;
  return deps.network.up((command) => shim.run(command), {
    podId: pod.id,
    config: pod.config,
    netns: netnsOf(deps, pod),
    cgroupPath: ownsPodCgroup(pod) ? '' : pod.config.cgroupParent,
    confDir: pod.resolvedHandler.cniConfDir,
  });
}
