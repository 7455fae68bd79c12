import type * as cri from '../api/runtime/v1/cri.ts';
import { CgroupDriver } from '../api/runtime/v1/cri.ts';
import { createContainer } from '../lifecycle/create-container.ts';
import type { Deps } from '../lifecycle/deps.ts';
import { execSync } from '../lifecycle/exec/sync.ts';
import { removeContainer } from '../lifecycle/remove-container.ts';
import { reopenLog } from '../lifecycle/reopen-log.ts';
import { runPod } from '../lifecycle/run-pod.ts';
import { startContainer } from '../lifecycle/start-container.ts';
import { stopContainer } from '../lifecycle/stop-container.ts';
import { removePod, stopPod } from '../lifecycle/stop-pod.ts';
import { updateContainerResources, updatePodResources } from '../lifecycle/update-resources.ts';
import type { Call, Handlers } from './calls.ts';
import { id, integer, line, required } from './check.ts';
import { resources, texts } from './decode-common.ts';
import { decodeContainerConfig } from './decode-container.ts';
import { decodePodConfig } from './decode-pod.ts';
import { listBytes } from './list-bytes.ts';
import { nodeStatus } from './node-status.ts';
import { containerItems, containerStatus, podItems, podStatus } from './reads.ts';

/** What VersionResponse names; also `berth version`. */
export const berthVersion: string = '0.1.0';

/** Every call of RuntimeService that is served. */
export function runtimeHandlers(deps: Deps) {
  return { ...nodeHandlers(deps), ...podHandlers(deps), ...containerHandlers(deps) } satisfies Handlers;
}

function nodeHandlers(deps: Deps) {
  return {
    version: (): cri.VersionResponse => ({
      version: '0.1.0', // of the kubelet runtime API, as every runtime answers
      runtimeName: deps.settings.compat.runtimeName,
      runtimeVersion: berthVersion,
      runtimeApiVersion: 'v1',
    }),
    status: (request: cri.StatusRequest) => nodeStatus(deps, request),
    updateRuntimeConfig: async (request: cri.UpdateRuntimeConfigRequest): Promise<cri.UpdateRuntimeConfigResponse> => {
      const cidr = request.runtimeConfig?.networkConfig?.podCidr ?? '';
      await deps.network.setPodCidrs(line('runtime_config.network_config.pod_cidr', cidr));
      return {};
    },
    runtimeConfig: (): cri.RuntimeConfigResponse => ({
      linux: {
        cgroupDriver: deps.settings.cgroupDriver === 'systemd' ? CgroupDriver.SYSTEMD : CgroupDriver.CGROUPFS,
      },
    }),
  };
}

function podHandlers(deps: Deps) {
  return {
    runPodSandbox: async (request: cri.RunPodSandboxRequest, call: Call): Promise<cri.RunPodSandboxResponse> => {
      const config = decodePodConfig(request.config);
      const handler = line('runtime_handler', request.runtimeHandler);
      return { podSandboxId: await runPod(deps, { config, handler }, call) };
    },
    stopPodSandbox: async (request: cri.StopPodSandboxRequest): Promise<cri.StopPodSandboxResponse> => {
      await stopPod(deps, id('pod_sandbox_id', request.podSandboxId));
      return {};
    },
    removePodSandbox: async (request: cri.RemovePodSandboxRequest): Promise<cri.RemovePodSandboxResponse> => {
      await removePod(deps, id('pod_sandbox_id', request.podSandboxId));
      return {};
    },
    updatePodSandboxResources: async (
      request: cri.UpdatePodSandboxResourcesRequest,
    ): Promise<cri.UpdatePodSandboxResourcesResponse> => {
      const overhead = request.overhead ? resources('overhead', request.overhead) : null;
      const own = request.resources ? resources('resources', request.resources) : null;
      await updatePodResources(deps, id('pod_sandbox_id', request.podSandboxId), overhead, own);
      return {};
    },
    podSandboxStatus: (request: cri.PodSandboxStatusRequest) => podStatus(deps, request),
    listPodSandbox: (request: cri.ListPodSandboxRequest) => listBytes(podItems(deps, request.filter)),
  };
}

function containerHandlers(deps: Deps) {
  return {
    createContainer: async (request: cri.CreateContainerRequest, call: Call): Promise<cri.CreateContainerResponse> => {
      const podId = id('pod_sandbox_id', request.podSandboxId);
      return {
        containerId: await createContainer(deps, { podId, config: decodeContainerConfig(request.config) }, call),
      };
    },
    startContainer: async (request: cri.StartContainerRequest): Promise<cri.StartContainerResponse> => {
      await startContainer(deps, id('container_id', request.containerId));
      return {};
    },
    stopContainer: async (request: cri.StopContainerRequest, { signal }: Call): Promise<cri.StopContainerResponse> => {
      const timeout = integer('timeout', request.timeout, 0);
      await stopContainer(deps, id('container_id', request.containerId), timeout * 1000, signal);
      return {};
    },
    removeContainer: async (request: cri.RemoveContainerRequest): Promise<cri.RemoveContainerResponse> => {
      await removeContainer(deps, id('container_id', request.containerId));
      return {};
    },
    listContainers: (request: cri.ListContainersRequest) => listBytes(containerItems(deps, request.filter)),
    containerStatus: (request: cri.ContainerStatusRequest) => containerStatus(deps, request),
    reopenContainerLog: async (request: cri.ReopenContainerLogRequest): Promise<cri.ReopenContainerLogResponse> => {
      await reopenLog(deps, id('container_id', request.containerId));
      return {};
    },
    updateContainerResources: async (
      request: cri.UpdateContainerResourcesRequest,
    ): Promise<cri.UpdateContainerResourcesResponse> => {
      const containerId = id('container_id', request.containerId);
      await updateContainerResources(deps, containerId, resources('linux', required('linux', request.linux)));
      return {};
    },
    execSync: async (request: cri.ExecSyncRequest, { signal }: Call): Promise<cri.ExecSyncResponse> => {
      const containerId = id('container_id', request.containerId);
      const timeoutMs = integer('timeout', request.timeout, 0) * 1000;
      const { stdout, stderr, code } = await execSync(deps, containerId, texts('cmd', request.cmd), timeoutMs, signal);
      return { stdout, stderr, exitCode: code };
    },
  };
}
