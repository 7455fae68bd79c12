import { lstatSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { failedPrecondition, invalidArgument } from '../../base/fault.ts';
import { cleanPath, isAtOrBelow, leavesThroughProc, type OciMount, type OciSpec } from '../../oci/index.ts';
import type { Looker } from '../../shim/index.ts';
import { RootView } from './root-view.ts';

// An OCI runtime works on the root before it is the container's: with paths that it joins itself, and with links of the
// image that lead, until then, to the host. Newer ones look where they land; crun 1.8 and runc 1.1 do not everywhere.

/** What OCI runtimes open by name: crun 1.8 makes device nodes in `dev`, through a link; runc 1.1 removes `ptmx` there. */
const tops = ['dev', 'proc', 'sys'];
/** What lxcfs stands in for, as runc allows it. */
const replaceable =
  /^\/proc\/(cpuinfo|diskstats|meminfo|stat|swaps|uptime|loadavg|slabinfo|net\/dev|sys\/(kernel\/ns_last_pid|crypto\/fips_enabled))$/;
/** PROC_SUPER_MAGIC, statfs(2). */
const procMagic = 0x9fa0;

/** @throws Fault FailedPrecondition if a directory that the OCI runtime fills is something else in the image. */
export function checkTops(rootfs: string, image: string): void {
  for (const name of tops) {
    const found = lstatSync(join(rootfs, name), { throwIfNoEntry: false });
    if (!found || found.isDirectory()) continue;
    const what = found.isSymbolicLink() ? 'a symbolic link' : 'no directory';
    throw failedPrecondition(`/${name} of image ${image} is ${what}: it must be a directory, or be left out`);
  }
}

/** True for a place that must not be covered because of an image: the root, and what is mounted by Berth itself. */
export const isReserved = (place: string): boolean =>
  place === '/' || tops.some((name) => isAtOrBelow(place, `/${name}`));

/**
 * Where everything of the specification lands in the root: mounts in their order, device nodes, the working directory.
 * @throws Fault InvalidArgument for what the request itself says, FailedPrecondition for where a link leads.
 */
export async function checkLandings(looker: Looker, spec: OciSpec, image: string, privileged: boolean): Promise<void> {
  const view = new RootView(spec.root.path, looker);
  for (const mount of spec.mounts) {
    const place = await view.resolve(mount.destination);
    const problem = consoleProblem(spec, mount, place) ?? (await mountProblem(looker, mount, place, privileged));
    if (problem)
      throw refused(`Mount path ${JSON.stringify(mount.destination)}`, mount.destination, place, image, problem);
    view.cover(place, isBind(mount) ? mount.source : null);
  }
  for (const { path } of spec.linux.devices ?? []) await checkDevice(view, path, image);
  const { cwd } = spec.process;
  const place = await view.resolve(cwd);
  if (leavesThroughProc(place)) {
    throw refused(`Working directory ${JSON.stringify(cwd)}`, cwd, place, image, 'use a plain path');
  }
}

function refused(what: string, text: string, place: string, image: string, problem: string): Error {
  if (place === cleanPath(text)) return invalidArgument(`${what} is refused: ${problem}`);
  return failedPrecondition(`${what} leads to ${JSON.stringify(place)} in image ${image}: ${problem}`);
}

/** The OCI runtime mounts a container's terminal at /dev/console: in the host's own /dev that would stay, over the host's console. */
const consoleProblem = ({ process }: OciSpec, { options }: OciMount, place: string): string | null =>
  process.terminal && options.includes('rshared') && isAtOrBelow('/dev/console', place)
    ? "the terminal would be mounted over the host's console: do without tty, or without propagation to the host"
    : null;

/** Why nothing may be mounted there, or null. Who is privileged has the host's rights, and may replace what it likes. */
async function mountProblem(
  looker: Looker,
  mount: OciMount,
  place: string,
  privileged: boolean,
): Promise<string | null> {
  if (place === '/') return 'it would cover the root';
  const top = tops.find((name) => isAtOrBelow(place, `/${name}`));
  if (top === undefined) return null;
  if (!isAtOrBelow(mount.destination, `/${top}`)) return `name a place in /${top} itself, not by a link`;
  if (privileged || isOwn(mount)) return null;
  if (top === 'proc') return procProblem(looker, mount, place);
  // Nodes and masks are made by names in /dev: whoever can make links there leads them astray (CVE-2025-31133).
  if (place === '/dev' && !isAtOrBelow(mount.source, '/dev')) {
    return "only the host's own /dev can be mounted there, unless the container is privileged";
  }
  return null;
}

const isOwn = ({ destination, type }: OciMount): boolean =>
  type === 'proc' || (type === 'tmpfs' && destination === '/dev');

const isBind = ({ options }: OciMount): boolean => options.includes('bind') || options.includes('rbind');

/** Through a /proc that is none, masks, read-only paths and the labels of the process are void (CVE-2019-16884). */
async function procProblem(looker: Looker, { source }: OciMount, place: string): Promise<string | null> {
  if (replaceable.test(place)) return null;
  if (place === '/proc' && (await looker.fileSystem(source)) === procMagic) return null;
  return 'nothing may cover /proc, unless the container is privileged';
}

async function checkDevice(view: RootView, path: string, image: string): Promise<void> {
  const folder = dirname(cleanPath(path));
  const place = await view.resolve(folder);
  if (place === folder) return;
  throw failedPrecondition(
    `Device path ${JSON.stringify(path)} leads to ${JSON.stringify(place)} in image ${image}: a node is not made through a link`,
  );
}
