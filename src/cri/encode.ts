import type * as cri from '../api/runtime/v1/cri.ts';
import {
  ContainerStatus,
  ContainerState as CriContainerState,
  Image as CriImage,
  PodSandboxState,
  PodSandboxStatus,
} from '../api/runtime/v1/cri.ts';
import type { Mount, NamespaceMode, Namespaces, Resources } from '../model/config.ts';
import type { Container } from '../model/container.ts';
import type { Image } from '../model/image.ts';
import type { Pod } from '../model/pod.ts';
import { signalToCri } from '../model/signals.ts';
import { plainId } from '../model/users.ts';
import { int64, nanoseconds, uint64 } from './numbers.ts';

const modes = { pod: 0, container: 1, node: 2, target: 3 } as const satisfies Record<NamespaceMode, number>;
const propagations = { private: 0, hostToContainer: 1, bidirectional: 2 } as const;

export function namespaceOption(namespaces: Namespaces): cri.NamespaceOption {
  const { network, pid, ipc, targetId, user } = namespaces;
  return {
    network: modes[network],
    pid: modes[pid],
    ipc: modes[ipc],
    targetId,
    usernsOptions: user ? { mode: modes[user.mode], uids: [...user.uids], gids: [...user.gids] } : undefined,
  };
}

const podState = ({ state }: Pod): PodSandboxState =>
  state.phase === 'ready' ? PodSandboxState.SANDBOX_READY : PodSandboxState.SANDBOX_NOTREADY;

/** The fields that a pod's list entry and its status share. */
const podCommon = (pod: Pod) => ({
  id: pod.id,
  metadata: { ...pod.config.metadata },
  state: podState(pod),
  createdAt: nanoseconds(pod.createdAt),
  labels: { ...pod.config.labels },
  annotations: { ...pod.config.annotations },
  runtimeHandler: pod.handler,
});

export const encodePod = (pod: Pod): cri.PodSandbox => podCommon(pod);

export function encodePodStatus(pod: Pod): cri.PodSandboxStatus {
  const [ip = '', ...more] = 'network' in pod.state && pod.state.network ? pod.state.network.ips : [];
  return PodSandboxStatus.fromPartial({
    ...podCommon(pod),
    network: { ip, additionalIps: more.map((additional) => ({ ip: additional })) },
    linux: { namespaces: { options: namespaceOption(pod.config.security.namespaces) } },
  });
}

const containerStates = {
  creating: CriContainerState.CONTAINER_CREATED,
  created: CriContainerState.CONTAINER_CREATED,
  running: CriContainerState.CONTAINER_RUNNING,
  exited: CriContainerState.CONTAINER_EXITED,
  removing: CriContainerState.CONTAINER_EXITED,
} as const;

export const containerState = ({ state }: Container): cri.ContainerState =>
  containerStates[state.phase] ?? CriContainerState.CONTAINER_UNKNOWN;

const imageSpec = ({ config, imageId }: Container): cri.ImageSpec => ({
  image: config.image.image,
  annotations: { ...config.image.annotations },
  userSpecifiedImage: config.image.userSpecifiedImage,
  runtimeHandler: config.image.runtimeHandler,
  imageRef: imageId,
});

/** kubelet shows this name to users: what it sends to create a container is an id. In lists that stays, as with the peers. */
function shownImage(container: Container): cri.ImageSpec {
  const { image, userSpecifiedImage } = container.config.image;
  return { ...imageSpec(container), image: container.imageName ?? (userSpecifiedImage || image) };
}

/** The fields that a container's list entry and its status share. */
const containerCommon = (container: Container) => ({
  id: container.id,
  metadata: { ...container.config.metadata },
  image: imageSpec(container),
  imageRef: container.imageRef,
  imageId: container.imageId,
  state: containerState(container),
  createdAt: nanoseconds(container.createdAt),
  labels: { ...container.config.labels },
  annotations: { ...container.config.annotations },
});

export const encodeContainer = (container: Container): cri.Container => ({
  ...containerCommon(container),
  podSandboxId: container.podId,
});

export function encodeContainerStatus(container: Container): cri.ContainerStatus {
  const { state, user } = container;
  const exit = 'exit' in state ? state.exit : null;
  return ContainerStatus.fromPartial({
    ...containerCommon(container),
    image: shownImage(container),
    startedAt: nanoseconds('startedAt' in state ? state.startedAt : 0),
    finishedAt: nanoseconds(exit?.at ?? 0),
    exitCode: exit?.code ?? 0,
    reason: exit?.reason ?? '',
    message: exit?.message ?? '',
    mounts: container.mounts.map(encodeMount),
    logPath: container.logPath,
    resources: { linux: encodeResources(container.config.resources) },
    user: {
      linux: { uid: int64(user.uid), gid: int64(user.gid), supplementalGroups: user.groups.map((gid) => int64(gid)) },
    },
    stopSignal: signalToCri(container.stopSignal) as cri.Signal,
  });
}

export const encodeMount = (mount: Mount): cri.Mount => ({
  containerPath: mount.containerPath,
  hostPath: mount.hostPath,
  readonly: mount.readonly,
  selinuxRelabel: mount.selinuxRelabel,
  propagation: propagations[mount.propagation],
  uidMappings: [...mount.uidMappings],
  gidMappings: [...mount.gidMappings],
  recursiveReadOnly: mount.recursiveReadOnly,
  image: mount.image
    ? {
        image: mount.image,
        annotations: {},
        userSpecifiedImage: mount.userSpecifiedImage ?? '',
        runtimeHandler: '',
        imageRef: mount.imageRef ?? '',
      }
    : undefined,
  imageSubPath: mount.imageSubPath,
  mountOptions: [...(mount.mountOptions ?? [])],
});

export const encodeResources = (resources: Resources): cri.LinuxContainerResources => ({
  cpuPeriod: int64(resources.cpuPeriod),
  cpuQuota: int64(resources.cpuQuota),
  cpuShares: int64(resources.cpuShares),
  memoryLimitInBytes: int64(resources.memoryLimit),
  oomScoreAdj: int64(resources.oomScoreAdj),
  cpusetCpus: resources.cpusetCpus,
  cpusetMems: resources.cpusetMems,
  hugepageLimits: resources.hugepageLimits.map(({ pageSize, limit }) => ({ pageSize, limit: uint64(limit) })),
  unified: { ...resources.unified },
  memorySwapLimitInBytes: int64(resources.memorySwapLimit),
});

/** Of a user's name as it is shown; an image's config has no longer one, a record from before may. */
const mostUser = 256;

/**
 * `uid` and `username`: who the image's process is, for kubelet's runAsNonRoot check. What no Linux takes for an id is shown
 * as a name, which kubelet does not take for anybody but root.
 */
export function encodeImage(image: Image, pinned: boolean): cri.Image {
  const [user = ''] = image.config.user.split(':', 1);
  const uid = plainId(user);
  return CriImage.fromPartial({
    id: image.id,
    repoTags: [...image.tags],
    repoDigests: [...image.digests],
    size: uint64(image.size),
    uid: uid === null ? undefined : { value: int64(uid) },
    username: uid === null ? user.slice(0, mostUser) : '',
    spec: { image: image.id },
    pinned,
  });
}
