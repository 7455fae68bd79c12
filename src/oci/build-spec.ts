import { buildAnnotations } from './annotations.ts';
import { buildDevices } from './devices.ts';
import type { SpecInput } from './input.ts';
import { type PlannedMount, planMounts, rootfsPropagation } from './mount-plan.ts';
import { buildNamespaces, idMappings } from './namespaces.ts';
import { cleanPath } from './paths.ts';
import { buildProcess } from './process.ts';
import { buildResources } from './resources.ts';
import { scopeAnnotations } from './scope-properties.ts';
import { resolveSeccomp } from './seccomp.ts';
import { mountLabel } from './selinux.ts';
import type { OciResources, OciSpec } from './spec.ts';

/**
 * The config.json of a container. Pure: equal inputs give equal bytes. `mounts`: by where they land in its image, if that has
 * links. Faults name what of the request or the image cannot be had (InvalidArgument, FailedPrecondition).
 */
export function buildSpec(input: SpecInput, mounts: readonly PlannedMount[] = planMounts(input)): OciSpec {
  const { container } = input;
  const namespaces = buildNamespaces(input);
  const limits = buildResources(container.resources, input.host);
  const newUts = namespaces.some(({ type, path }) => type === 'uts' && path === undefined);
  return {
    ociVersion: input.ociVersion,
    process: buildProcess(input),
    root: { path: input.rootfs, readonly: container.security.readonlyRootfs },
    ...(newUts && input.pod.hostname !== '' ? { hostname: input.pod.hostname } : {}),
    mounts: mounts.map(({ destination, type, source, options }) => ({ destination, type, source, options })),
    ...(Object.keys(input.injected?.hooks ?? {}).length > 0 ? { hooks: input.injected!.hooks } : {}),
    annotations: { ...buildAnnotations(input), ...scopeAnnotations(input.cgroupsPath, limits, input.host) },
    linux: buildLinux(input, mounts, namespaces, limits),
  };
}

function buildLinux(
  input: SpecInput,
  mounts: readonly PlannedMount[],
  namespaces: OciSpec['linux']['namespaces'],
  limits: OciResources,
): OciSpec['linux'] {
  const { security } = input.container;
  const { nodes, rules } = buildDevices(input);
  const seccomp = resolveSeccomp(security, input.localhostSeccomp, input.host, input.unasked?.capabilities);
  const propagation = rootfsPropagation(mounts);
  const label = mountLabel(input);
  return {
    namespaces,
    ...idMappings(input),
    ...(nodes.length > 0 ? { devices: nodes } : {}),
    resources: { devices: rules, ...limits },
    cgroupsPath: input.cgroupsPath,
    ...(propagation ? { rootfsPropagation: propagation } : {}),
    ...(seccomp ? { seccomp } : {}),
    maskedPaths: hiddenPaths(security.privileged, security.maskedPaths, alwaysMasked),
    readonlyPaths: hiddenPaths(security.privileged, security.readonlyPaths),
    ...(label !== '' ? { mountLabel: label } : {}),
  };
}

/** What tells of the host or of others (keys, energy, heat): a kubelet's list is as old as the kubelet. */
const alwaysMasked = [
  ...'acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats'
    .split(' ')
    .map((name) => `/proc/${name}`),
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];

/** The request names paths to hide, none for an unmasked /proc; a privileged container hides nothing. */
function hiddenPaths(privileged: boolean, paths: readonly string[], always: readonly string[] = []): string[] {
  return privileged || paths.length === 0 ? [] : [...new Set([...paths.map(cleanPath), ...always])];
}
