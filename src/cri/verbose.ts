import { readFile } from 'node:fs/promises';
import { exactJsonOf } from '../base/exact-json.ts';
import { isObject } from '../base/json.ts';
import type { Deps } from '../lifecycle/deps.ts';
import { pauseCgroup } from '../lifecycle/pod/cgroups.ts';
import { podHostname, usesHostIpc, usesHostNetwork } from '../lifecycle/pod/files.ts';
import { isNetnsGone, netnsOf } from '../lifecycle/pod/netns.ts';
import { podSysctls } from '../lifecycle/pod/sysctls.ts';
import { podMaps } from '../lifecycle/pod/user-namespaces.ts';
import type { Resources } from '../model/config.ts';
import type { Container } from '../model/container.ts';
import type { Pod } from '../model/pod.ts';
import { cniResultOf } from './cni-result.ts';
import { encodeResources } from './encode.ts';
import { asPrinted, encodeContainerConfig, encodePodConfig } from './encode-config.ts';

// What verbose statuses say: the keys that tools read of the peers, as far as they are true here.

export function podInfo(deps: Pick<Deps, 'layout' | 'settings'>, pod: Pod) {
  const isReady = pod.state.phase === 'ready';
  const network = 'network' in pod.state ? pod.state.network : null;
  const cniResult = cniResultOf(network?.result);
  const config = asPrinted(encodePodConfig(pod.config));
  return {
    pid: pod.state.phase === 'ready' ? pod.state.pausePid : 0,
    processStatus: isReady ? 'running' : 'deleted',
    image: '', // no pause image: the shim forks the pause process
    runtimeHandler: pod.resolvedHandler.name,
    runtimeType: 'berth',
    runtimeOptions: null,
    netNamespaceClosed: isNetnsGone(deps, pod),
    privileged: pod.config.security.privileged,
    cniResult,
    config,
    runtimeSpec: podSpec(deps, pod),
    sandboxMetadata: { Version: 'v1', Metadata: { ...podMetadata(deps, pod), Config: config, CNIResult: cniResult } },
    ...podResources('overhead', pod.config.overhead),
    ...podResources('resources', pod.config.resources),
  };
}

/** What containerd keeps of a pod, in the words of its record. */
function podMetadata(deps: Pick<Deps, 'layout' | 'settings'>, pod: Pod) {
  const { name, namespace, uid, attempt } = pod.config.metadata;
  const [ip = '', ...more] = ('network' in pod.state && pod.state.network?.ips) || [];
  return {
    ID: pod.id,
    Name: [name, namespace, uid, attempt].join('_'),
    NetNSPath: usesHostNetwork(pod.config) ? '' : netnsOf(deps, pod),
    IP: ip,
    AdditionalIPs: more,
    RuntimeHandler: pod.handler,
    ProcessLabel: '',
  };
}

const podResources = (key: string, given: Resources | null): object =>
  given === null ? {} : { [key]: { linux: asPrinted(encodeResources(given)) } };

/** No OCI runtime makes a pod: this is what a specification of it would say. */
export function podSpec(deps: Pick<Deps, 'layout' | 'settings'>, pod: Pod) {
  const { config } = pod;
  const { namespace, name, uid } = config.metadata;
  return {
    ociVersion: '1.0.2',
    hostname: podHostname(config),
    annotations: {
      'io.kubernetes.cri.container-type': 'sandbox',
      'io.kubernetes.cri.sandbox-id': pod.id,
      'io.kubernetes.cri.sandbox-name': name,
      'io.kubernetes.cri.sandbox-namespace': namespace,
      'io.kubernetes.cri.sandbox-uid': uid,
      'io.kubernetes.cri.sandbox-log-directory': config.logDirectory,
    },
    linux: {
      namespaces: podNamespaces(deps, pod),
      cgroupsPath: pauseCgroup(pod),
      sysctl: Object.fromEntries(podSysctls(deps, pod).map((each) => each.split(/=(.*)/s, 2))),
    },
  };
}

/** Of a pod that is not ready there are none. */
function podNamespaces(deps: Pick<Deps, 'layout'>, pod: Pod): { type: string; path: string }[] {
  const { config, state } = pod;
  if (state.phase !== 'ready') return [];
  const of = (type: string) => ({ type, path: `/proc/${state.pausePid}/ns/${type}` });
  return [
    { type: 'mount', path: `/proc/${state.pausePid}/ns/mnt` },
    ...(usesHostNetwork(config) ? [] : [{ type: 'network', path: netnsOf(deps, pod) }, of('uts')]),
    ...(usesHostIpc(config) ? [] : [of('ipc')]),
    ...(config.security.namespaces.pid === 'pod' ? [of('pid')] : []),
    ...(podMaps(config) ? [of('user')] : []),
  ];
}

/**
 * What the log lost is told here, by the metrics and in the daemon's log, and not in the status' `message`: kubelet puts
 * that before the container's own termination message, which controllers parse.
 */
export async function containerInfo(deps: Pick<Deps, 'layout' | 'logLosses'>, container: Container) {
  return {
    sandboxID: container.podId,
    pid: container.state.phase === 'running' ? container.state.pid : 0,
    removing: container.state.phase === 'removing',
    snapshotKey: container.id,
    snapshotter: 'overlayfs',
    runtimeHandler: container.resolvedHandler.name,
    runtimeType: 'berth',
    runtimeOptions: null,
    privileged: container.config.security.privileged,
    logLoss: deps.logLosses.of(container.id) ?? null,
    config: asPrinted(encodeContainerConfig(container.config)),
    runtimeSpec: await readSpec(deps.layout.configFile(container.podId, container.id)),
  };
}

/** Null once the pod is stopped, as the bundle is gone, and where others spoiled it: the rest is true all the same. */
export async function readSpec(path: string): Promise<object | null> {
  try {
    const spec = exactJsonOf(await readFile(path, 'utf8'));
    return isObject(spec) ? spec : null;
  } catch {
    return null;
  }
}
