import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exactJsonOf } from '../base/exact-json.ts';
import { Fault, failedPrecondition, invalidArgument, messageOf } from '../base/fault.ts';
import type { Resources } from '../model/config.ts';
import type { Container } from '../model/container.ts';
import {
  buildResources,
  clampOomScore,
  type OciSpec,
  scopeAnnotations,
  scopeOf,
  scopeProperties,
} from '../oci/index.ts';
import { controllerFolder } from '../sys/cgroups.ts';
import { setOomScore } from '../sys/oom-score.ts';
import { changeUnit } from '../sys/systemd.ts';
import { removeFile, replaceFile } from '../sys/write-file.ts';
import type { Deps } from './deps.ts';
import { holdContainer, holdPod, mustExist } from './hold.ts';
import type { OciRuntime } from './runtime/handlers.ts';
import { ociFault, runOci } from './runtime/oci-command.ts';
import { writeScopeFiles } from './scope-files.ts';

/** As much of the daemon as is needed here; tests make it of small parts. */
type Needs = Pick<Deps, 'containers' | 'host' | 'layout' | 'locks' | 'ociRuntimes' | 'pods' | 'settings' | 'shims'>;

/**
 * Changes the limits of a created or running container; what the request leaves at 0 or empty stays as it is. If the
 * OCI runtime refuses a part, the old limits are put back.
 * @throws Fault NotFound, FailedPrecondition, InvalidArgument for limits that the kernel does not take, Internal.
 */
export async function updateContainerResources(deps: Needs, id: string, wanted: Resources): Promise<void> {
  using held = await holdContainer(deps, id);
  const container = mustExist(held, 'container', id);
  const resources = merged(container.config.resources, wanted);
  const { phase } = container.state;
  if (phase !== 'created' && phase !== 'running') {
    throw failedPrecondition(
      `Container ${container.id} is ${phase}: only a created or running one has limits to change`,
    );
  }
  if (phase === 'running') await updateProcess(deps, container, resources);
  await rewriteBundle(deps, container, resources);
  await deps.containers.put({ ...container, config: { ...container.config, resources } });
}

/**
 * 0 and empty mean "not set" on the wire, so they cannot take a limit away. A limit of memory alone is that of memory and
 * swap too, as at the creation: one of before may be below it.
 */
function merged(old: Resources, wanted: Resources): Resources {
  const set = Object.entries(wanted).filter(([, value]) => value !== 0 && value !== '' && !isEmpty(value));
  const memorySwapLimit = wanted.memoryLimit === 0 ? old.memorySwapLimit : 0;
  return { ...old, memorySwapLimit, ...Object.fromEntries(set), unified: { ...old.unified, ...wanted.unified } };
}

const isEmpty = (value: unknown): boolean => Array.isArray(value) && value.length === 0;

/** What a start, an exec and verbose information go by. */
async function rewriteBundle(
  deps: Pick<Deps, 'host' | 'layout'>,
  { id, podId, cgroupsPath }: Container,
  resources: Resources,
): Promise<void> {
  const file = deps.layout.configFile(podId, id);
  const spec = exactJsonOf(await readFile(file, 'utf8')) as OciSpec;
  const devices = spec.linux.resources?.devices;
  const limits = buildResources(resources, deps.host);
  spec.linux.resources = { ...limits, ...(devices && { devices }) };
  const ofScope = scopeAnnotations(cgroupsPath, limits, deps.host);
  if (Object.keys(ofScope).length > 0) spec.annotations = { ...spec.annotations, ...ofScope };
  spec.process.oomScoreAdj = clampOomScore(resources.oomScoreAdj, deps.host.oomScoreAdjMin);
  await replaceFile(file, JSON.stringify(spec));
  await replaceFile(deps.layout.processFile(podId, id), JSON.stringify(spec.process));
}

async function updateProcess(deps: Needs, container: Container, resources: Resources): Promise<void> {
  try {
    await runUpdate(deps, container, resources);
    await updateScope(deps, container, resources);
    await updateOomScore(deps, container, resources);
  } catch (error) {
    await putBack(deps, container).catch((failure: unknown) => {
      const text = `${messageOf(error)}; and the old limits could not be put back: ${messageOf(failure)}`;
      throw new Fault(error instanceof Fault ? error.kind : 'Internal', text, { cause: error });
    });
    throw error;
  }
}

async function putBack(deps: Needs, container: Container): Promise<void> {
  await runUpdate(deps, container, container.config.resources);
  await updateScope(deps, container, container.config.resources);
}

/** After the OCI runtime: what it wrote is what systemd is told, and what systemd does not know of is written again. */
async function updateScope(
  { host }: Pick<Deps, 'host'>,
  { cgroupsPath }: Container,
  resources: Resources,
): Promise<void> {
  const scope = scopeOf(cgroupsPath);
  const limits = buildResources(resources, host);
  const properties = scopeProperties(limits, host);
  if (scope === null) return;
  if (Object.keys(properties).length > 0) await changeUnit(scope, properties);
  await writeScopeFiles(cgroupsPath, limits, host);
}

/** Where it is to be another than it was: what processes have made of their own since is theirs. */
async function updateOomScore(
  { host }: Pick<Deps, 'host'>,
  { cgroupsPath, config }: Container,
  { oomScoreAdj }: Resources,
): Promise<void> {
  if (oomScoreAdj !== config.resources.oomScoreAdj)
    await setOomScore(cgroupsPath, clampOomScore(oomScoreAdj, host.oomScoreAdjMin));
}

async function runUpdate(deps: Needs, container: Container, resources: Resources): Promise<void> {
  const { id, podId } = container;
  const runtime = await deps.ociRuntimes.of(container);
  const file = join(deps.layout.bundle(podId, id), 'update.json');
  const limits = buildResources(resources, deps.host);
  if (limits.cpu?.quota === -1 && (await cannotLiftQuota(deps, runtime))) {
    await writeFile(cpuQuotaFile(container.cgroupsPath), '-1');
    limits.cpu = { ...limits.cpu, quota: undefined };
  }
  await writeFile(file, JSON.stringify(limits), { mode: 0o600 });
  try {
    const outcome = await runOci(deps, await deps.shims.keeping(podId), runtime.update(id, file));
    if (outcome.timedOut || outcome.code !== 0)
      throw asRequested(await ociFault({ doing: `Cannot change the limits of container ${id}`, runtime }, outcome));
  } finally {
    await removeFile(file);
  }
}

/** Limits that the kernel does not take are the request's mistake, in the OCI runtime's words. */
const asRequested = (fault: Fault): Fault =>
  fault.kind === 'Internal' && /invalid argument|out of range/i.test(fault.message)
    ? invalidArgument(fault.message)
    : fault;

/** crun 1.8 writes it to v1's cpu.cfs_quota_us as a number without a sign. */
const cannotLiftQuota = async ({ host }: Pick<Deps, 'host'>, runtime: OciRuntime): Promise<boolean> =>
  host.cgroupMode !== 'v2' && (await runtime.features()).version.startsWith('crun ');

const cpuQuotaFile = (cgroup: string): string => join(controllerFolder(cgroup, 'cpu') ?? '/', 'cpu.cfs_quota_us');

/** Keeps what kubelet says of the pod as a whole; kubelet itself writes the pod's cgroup. */
export async function updatePodResources(
  deps: Pick<Deps, 'containers' | 'locks' | 'pods'>,
  id: string,
  overhead: Resources | null,
  resources: Resources | null,
): Promise<void> {
  using held = await holdPod(deps, id);
  const pod = mustExist(held, 'pod', id);
  const config = {
    ...pod.config,
    overhead: overhead ?? pod.config.overhead,
    resources: resources ?? pod.config.resources,
  };
  await deps.pods.put({ ...pod, config });
}
