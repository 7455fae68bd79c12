import { lstatSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { failedPrecondition, invalidArgument } from '../../base/fault.ts';
import {
  arrange,
  cleanPath,
  isAtOrBelow,
  isShared,
  leavesThroughProc,
  type OciMount,
  type OciSpec,
  type PlannedMount,
  topOf,
  tops,
} from '../../oci/index.ts';
import type { Looker } from '../../shim/index.ts';
import type { RootView } from './root-view.ts';

// An OCI runtime works on the root before it is the container's: with paths that it joins itself, and with links of the
// image that lead, until then, to the host. Newer ones look where they land; crun 1.8 and runc 1.1 do not everywhere.

/** So often mounts are ordered again by where they land, and land elsewhere for that. */
const mostRounds = 8;
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

/**
 * Where the mounts land that a container could have, made in their order, and which of them are left out for where that is.
 * The view has them when this is over. @throws Fault FailedPrecondition for links that lead in circles.
 */
export async function landMounts(view: RootView, planned: readonly PlannedMount[]): Promise<PlannedMount[]> {
  let mounts = planned;
  for (let round = 1; ; round++) {
    const landed = await landInOrder(view, mounts);
    const arranged = arrange(landed);
    if (arranged.length === landed.length && landed.every((mount, index) => mount === arranged[index])) return landed;
    const moved = round > mostRounds && landed.find((mount) => !mounts.some((before) => isSame(mount, before)));
    if (moved) {
      throw failedPrecondition(
        `Mount path ${JSON.stringify(moved.destination)} leads through a link in another mount to what that one is in, such as ${JSON.stringify(moved.place)}: name another path`,
      );
    }
    mounts = arranged;
  }
}

const isSame = (a: PlannedMount, b: PlannedMount): boolean => a.destination === b.destination && a.place === b.place;

async function landInOrder(view: RootView, mounts: readonly PlannedMount[]): Promise<PlannedMount[]> {
  const landed: PlannedMount[] = [];
  view.uncover();
  for (const mount of mounts) {
    const place = await view.resolve(mount.destination);
    // What nobody asked for is left out where it would have to be made in a tree that is only to be read.
    if ((mount.origin === 'pod' || mount.origin === 'volume') && (await view.isMissingInReadonly(place))) continue;
    landed.push({ ...mount, place });
    const readonly = mount.options.includes('ro') || mount.options.includes('rro');
    // A VOLUME that is not made yet begins with what the image has there.
    if (mount.source !== '') view.cover(place, isBind(mount) ? mount.source : null, { readonly });
  }
  return landed;
}

/**
 * Whether everything of the specification may land where it does: mounts, device nodes, masked paths, the working directory.
 * `view`: as `landMounts` left it. @throws Fault InvalidArgument for what the request itself says, FailedPrecondition for where
 * a link leads.
 */
export async function checkLandings(
  looker: Looker,
  { view, mounts, image, privileged }: Landed,
  spec: OciSpec,
): Promise<void> {
  for (const mount of mounts) {
    const problem = consoleProblem(spec, mount) ?? (await mountProblem(looker, mount, privileged));
    if (problem) throw refusedMount(mount, image, problem);
  }
  await checkHidden(view, mounts.filter(isShared), spec, image);
  for (const { path } of spec.linux.devices ?? []) await checkDevice(view, path, image);
  const { cwd } = spec.process;
  const place = await view.resolve(cwd);
  if (leavesThroughProc(place)) {
    throw refused(`Working directory ${JSON.stringify(cwd)}`, cwd, place, image, 'use a plain path');
  }
}

/** A container's mounts where they land, `image` for messages. */
type Landed = {
  readonly view: RootView;
  readonly mounts: readonly PlannedMount[];
  readonly image: string;
  readonly privileged: boolean;
};

const refusedMount = ({ destination, place }: PlannedMount, image: string, problem: string): Error =>
  refused(`Mount path ${JSON.stringify(destination)}`, destination, place, image, problem);

function refused(what: string, text: string, place: string, image: string, problem: string): Error {
  if (place === cleanPath(text)) return invalidArgument(`${what} is refused: ${problem}`);
  return failedPrecondition(`${what} leads to ${JSON.stringify(place)} in image ${image}: ${problem}`);
}

/** The OCI runtime mounts a container's terminal at /dev/console: in the host's own /dev that would stay, over the host's console. */
const consoleProblem = ({ process }: OciSpec, mount: PlannedMount): string | null =>
  process.terminal && isShared(mount) && isAtOrBelow('/dev/console', mount.place)
    ? "the terminal would be mounted over the host's console: do without tty, or without propagation to the host"
    : null;

/** Paths are masked and made read-only by mounts on them. */
async function checkHidden(
  view: RootView,
  shared: readonly PlannedMount[],
  { linux: { maskedPaths = [], readonlyPaths = [] } }: OciSpec,
  image: string,
): Promise<void> {
  if (shared.length === 0) return;
  for (const path of [...maskedPaths, ...readonlyPaths]) {
    const place = await view.resolve(path);
    const mount = shared.find((each) => isAtOrBelow(place, each.place));
    if (!mount) continue;
    const problem = `${path} would be hidden or read-only on the host too: make the container privileged, or do without propagation to the host`;
    throw refusedMount(mount, image, problem);
  }
}

/** Why nothing may be mounted there, or null. Who is privileged has the host's rights, and may replace what it likes. */
async function mountProblem(looker: Looker, mount: PlannedMount, privileged: boolean): Promise<string | null> {
  const { place } = mount;
  if (place === '/') return 'it would cover the root';
  const top = topOf(place);
  if (top === undefined) return null;
  if (topOf(mount.destination) !== top) return `name a place in /${top} itself, not by a link`;
  if (privileged || mount.origin === 'default') return null;
  if (top === 'proc') return procProblem(looker, mount);
  // Nodes and masks are made by names in /dev: whoever can make links there leads them astray (CVE-2025-31133).
  if (place === '/dev' && !isAtOrBelow(mount.source, '/dev')) {
    return "only the host's own /dev can be mounted there, unless the container is privileged";
  }
  return null;
}

const isBind = ({ options }: OciMount): boolean => options.includes('bind') || options.includes('rbind');

/** Through a /proc that is none, masks, read-only paths and the labels of the process are void (CVE-2019-16884). */
async function procProblem(looker: Looker, mount: PlannedMount): Promise<string | null> {
  if (replaceable.test(mount.place)) return null;
  if (mount.place === '/proc' && isBind(mount) && (await looker.fileSystem(mount.source)) === procMagic) return null;
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
