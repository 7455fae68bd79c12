import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import type { Caller } from '../base/caller.ts';
import { unlimited } from '../base/exact-json.ts';
import { failedPrecondition, invalidArgument, messageOf, notFound } from '../base/fault.ts';
import { longestPath } from '../base/limits.ts';
import { log } from '../base/log.ts';
import { allOf } from '../base/run-all.ts';
import { unlimitedWord } from '../base/setting-kinds.ts';
import { step, traced } from '../base/trace.ts';
import { imageNames } from '../image/index.ts';
import type { ContainerConfig } from '../model/config.ts';
import { type Container, containerAfter, containerKey, isWhatIsAsked } from '../model/container.ts';
import { type ContainerId, newContainerId, type PodId } from '../model/ids.ts';
import type { Image } from '../model/image.ts';
import type { Pod } from '../model/pod.ts';
import {
  buildSpec,
  mountLabel,
  type NamespacePaths,
  type OciRlimit,
  type OciSpec,
  planMounts,
  type ResolvedMount,
  type SpecInput,
  stopSignal,
} from '../oci/index.ts';
import { Looker } from '../shim/index.ts';
import { readyToMove } from '../sys/cgroups.ts';
import { writeNewFile } from '../sys/write-file.ts';
import { isVolume, makeAnonymousVolumes } from './container/anonymous-volumes.ts';
import { environmentMount } from './container/environment.ts';
import { gatherSpecInputs } from './container/inputs.ts';
import { withKeptLimits } from './container/kept-limits.ts';
import { checkLandings, checkTops, landMounts } from './container/landings.ts';
import { makeLogFolder } from './container/log-path.ts';
import { namespacePaths } from './container/namespaces.ts';
import { relabelTrees } from './container/relabel.ts';
import { mountRoot } from './container/root-mount.ts';
import { RootView } from './container/root-view.ts';
import { findMounts, prepareMounts, volumeImages } from './container/volumes.ts';
import { crashPoint } from './crash-point.ts';
import { creationTime } from './creations.ts';
import { containersOf, type Deps } from './deps.ts';
import { containerCgroup } from './pod/cgroups.ts';
import { makePassable, type SharedName, sharedPath, usesHostIpc } from './pod/files.ts';
import { readyPod } from './ready.ts';
import { teardownContainer } from './teardown.ts';

export type CreateContainerRequest = { readonly podId: string; readonly config: ContainerConfig };

/** crun 1.8 takes no version of the runtime specification after 1.0; nothing of a later one is used. */
const ociVersion = '1.0.2';

/**
 * Prepares a container: writable layer, mounted root, bundle. Its process is StartContainer's work.
 * @throws Fault NotFound (pod, image), FailedPrecondition (pod not ready), AlreadyExists, InvalidArgument.
 */
export function createContainer(deps: Deps, request: CreateContainerRequest, caller: Caller): Promise<ContainerId> {
  const pod = readyPod(deps, request.podId);
  const key = containerKey(pod.id, request.config);
  const existing = () => {
    const container = containersOf(deps, pod.id).find(({ config }) => containerKey(pod.id, config) === key);
    if (!container) return undefined;
    const sameImage = deps.images.find(request.config.image.image)?.id === container.imageId; // a tag may have moved
    return { id: container.id, same: sameImage && isWhatIsAsked(container, request.config) };
  };
  const what = `Container ${request.config.metadata.name} of pod ${pod.id}`;
  deps.podCreations.claimed(pod.id);
  return deps.containerCreations.create(
    { what, key, existing, make: () => make(deps, pod.id, request.config) },
    caller,
  );
}

async function make(deps: Deps, podId: PodId, config: ContainerConfig): Promise<ContainerId> {
  using _pod = await deps.locks.hold(podId);
  const pod = readyPod(deps, podId);
  if (config.security.privileged && !pod.config.security.privileged) {
    throw failedPrecondition(`Container ${config.metadata.name} is privileged, its pod ${pod.id} is not`);
  }
  const image = deps.images.find(config.image.image);
  if (!image) throw notFound('image', config.image.image);
  if (image.artifactType !== '') {
    throw failedPrecondition(
      `Image ${config.image.image} is an artifact (${image.artifactType}), nothing to run: mount it as an image volume`,
    );
  }
  void readyToMove(); // its process will be moved by the time it starts
  const id = newContainerId();
  using _container = await deps.locks.hold(id);
  traced(podId, id);
  const container = newRecord(deps, pod, image, config, id);
  await deps.containers.put(container);
  crashPoint('create-container:record');
  try {
    await prepare(deps, pod, image, container);
    return id;
  } catch (error) {
    await teardownContainer(deps, container).catch((failure: unknown) => {
      // Its record stays as removing: RemoveContainer and the next start of the daemon try again.
      log.error({ container: id, reason: messageOf(failure) }, 'A container that failed could not be torn down');
    });
    throw error;
  }
}

function newRecord(deps: Deps, pod: Pod, image: Image, config: ContainerConfig, id: ContainerId): Container {
  const { name, ref } = imageNames(image, config.image);
  return {
    id,
    podId: pod.id,
    config,
    resolvedHandler: pod.resolvedHandler,
    imageId: image.id,
    imageRef: ref,
    imageName: name,
    user: { uid: 0, gid: 0, groups: [] },
    mounts: config.mounts,
    volumeImages: volumeImages(deps, config.mounts),
    stopSignal: stopSignal(config.stopSignal, image.config.stopSignal),
    logPath: logPathOf(pod, config),
    cgroupsPath: containerCgroup(pod, id),
    createdAt: creationTime(earlierAttempts(deps, pod, config)),
    bootId: deps.bootId,
    state: { phase: 'creating' },
  };
}

function logPathOf(pod: Pod, { logPath }: ContainerConfig): string {
  if (logPath === '' || pod.config.logDirectory === '') return '';
  const path = join(pod.config.logDirectory, logPath);
  const size = Buffer.byteLength(path);
  if (size <= longestPath) return path;
  throw invalidArgument(`The log path has ${size} bytes, at most ${longestPath} are possible: ${path.slice(0, 99)}...`);
}

function earlierAttempts(deps: Deps, pod: Pod, { metadata: { name } }: ContainerConfig): Container[] {
  return containersOf(deps, pod.id).filter(({ config }) => config.metadata.name === name);
}

async function prepare(deps: Deps, pod: Pod, image: Image, container: Container): Promise<void> {
  const { id } = container;
  const paths = deps.layout;
  using looker = new Looker(deps.settings.timeouts.hostPath * 1000);
  // The looker's process starts, and goes its ways, while the root is made.
  const [, found] = await allOf([
    makeRoot(deps, pod, image, container),
    step('look: host paths of mounts', () => findMounts(deps, pod, container, looker)),
    step('look: folder of the log', () => makeLogFolder(looker, pod, container)),
  ]);
  const mounts = await step('mount: volumes', () => prepareMounts(deps, pod, container, found, looker));
  crashPoint('create-container:volumes');
  const program = await environmentMount(deps, container);
  const { input, spec } = await makeSpec(deps, pod, image, container, { mounts: [...mounts, ...program], looker });
  await step('file: config.json, process.json', () =>
    allOf([
      writeNewFile(paths.configFile(pod.id, id), JSON.stringify(spec)),
      writeNewFile(paths.processFile(pod.id, id), JSON.stringify(spec.process)),
    ]),
  );
  crashPoint('create-container:bundle');
  const { uid, gid, additionalGids } = input.user;
  const shown = mounts.map(({ source: _, single: __, ...mount }) => mount);
  const known: Container = { ...container, mounts: shown, user: { uid, gid, groups: additionalGids } };
  await deps.containers.put(containerAfter(known, { type: 'created' }));
  crashPoint('create-container:created');
}

/** What the OCI runtime is told. Directories for VOLUMEs are made, and what is to be relabelled is. */
async function makeSpec(
  deps: Deps,
  pod: Pod,
  image: Image,
  container: Container,
  { mounts, looker }: { readonly mounts: readonly ResolvedMount[]; readonly looker: Looker },
): Promise<{ readonly input: SpecInput; readonly spec: OciSpec }> {
  const namespaces = await step('shim: namespaces', () => namespacePaths(deps, pod, container));
  const kept = await withKeptLimits(pod, mounts);
  const request = { ...specRequest(deps, pod, image, container, namespaces), mounts: kept };
  const input = await step('spec: look at the host and the image', () => gatherSpecInputs(looker, request));
  const view = new RootView(input.rootfs, looker);
  const planned = await step('spec: where mounts land', () => landMounts(view, planMounts(input)));
  const landed = await step('file: anonymous volumes', async () =>
    landMounts(view, await makeAnonymousVolumes(deps, pod, container, input.rootfs, planned)),
  );
  const spec = step('spec: build', () => buildSpec(input, landed));
  const { privileged } = container.config.security;
  const where = { view, mounts: landed, image: container.imageName ?? image.id, privileged };
  await step('spec: where it lands', () => checkLandings(looker, where, spec));
  const named = mounts.filter(({ selinuxRelabel, hostPath }) => selinuxRelabel && hostPath !== '');
  const trees = [...named.map(({ hostPath }) => hostPath), ...landed.filter(isVolume).map(({ source }) => source)];
  await step('mount: labels', () => relabelTrees(looker, trees, mountLabel(input)));
  return { input, spec };
}

/** The bundle with the image's root, and a layer of its own to write to. */
async function makeRoot(deps: Deps, pod: Pod, image: Image, container: Container): Promise<void> {
  const { id } = container;
  const bundle = deps.layout.bundle(pod.id, id);
  const rootfs = deps.layout.rootfs(pod.id, id);
  await step('file: bundle', async () => {
    for (const folder of [dirname(bundle), bundle, rootfs]) await makePassable(pod, folder);
  });
  await step('snapshot: writable layer', () => deps.snapshots.prepare(id, image.layers.at(-1) ?? null));
  crashPoint('create-container:snapshot');
  await step('mount: root', () => mountRoot(deps, pod, container));
  crashPoint('create-container:mounted');
  checkTops(rootfs, container.imageName ?? image.id);
}

/** Of equal names the operator's. */
function limits(deps: Deps): OciRlimit[] {
  const own = deps.settings.containers.ulimits.map((text) => {
    const [name = '', soft = '', hard = soft] = text.split(/[=:]/);
    return { type: `RLIMIT_${name.toUpperCase()}`, soft: amountOf(soft), hard: amountOf(hard) };
  });
  return [...new Map([openFilesLimit(deps), ...own].map((each) => [each.type, each])).values()];
}

const amountOf = (text: string): OciRlimit['soft'] => (text === unlimitedWord ? unlimited : Number(text));

/** Without it a container would inherit what Node made of the daemon's limit. */
function openFilesLimit({ settings: { softOpenFiles }, host: { openFiles: hard } }: Deps) {
  return { type: 'RLIMIT_NOFILE', soft: softOpenFiles === 0 ? hard : Math.min(softOpenFiles, hard), hard };
}

function specRequest(deps: Deps, pod: Pod, image: Image, container: Container, namespacePaths: NamespacePaths) {
  const paths = deps.layout;
  const file = (name: SharedName) => sharedPath(deps, pod.id, name);
  return {
    podId: pod.id,
    containerId: container.id,
    pod: pod.config,
    container: container.config,
    image: image.config,
    host: { ...deps.host, hostname: hostname() }, // many a host gets its name after its services
    rootfs: paths.rootfs(pod.id, container.id),
    namespacePaths,
    cgroupsPath: container.cgroupsPath,
    files: {
      hosts: file('hosts'),
      hostname: file('hostname'),
      resolvConf: file('resolv.conf'),
      shm: usesHostIpc(pod.config) ? '' : file('shm'),
    },
    ociVersion,
    unasked: deps.settings.containers,
    passed: deps.settings.handlers[pod.resolvedHandler.name],
    rlimits: limits(deps),
    cdiDirs: deps.settings.cdi.specDirs,
    devicesOfUser: deps.settings.containers.deviceOwnershipFromSecurityContext,
    hostDevicesIfPrivileged: !pod.resolvedHandler.privilegedWithoutHostDevices,
  };
}
