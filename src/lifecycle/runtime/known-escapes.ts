import { log } from '../../base/log.ts';

/** A published way out of containers, and the first version of each release line that is without it. */
type Escape = {
  readonly runtime: string;
  readonly id: string;
  readonly fixed: readonly string[];
  /** The first version that has it, if it is not as old as the program. */
  readonly since?: string;
  readonly what: string;
};

/**
 * From the advisories of the programs' own projects. Left out is what Berth closes by itself whatever the version, by never
 * giving the OCI runtime such a root or such a mount on /dev (landings.ts): runc's CVE-2026-41579, crun's CVE-2026-88264
 * and CVE-2026-88265; and what takes a checkpoint to restore from, which Berth does not do.
 */
const escapes: readonly Escape[] = [
  { runtime: 'runc', id: 'CVE-2019-5736', fixed: ['1.0.0-rc7'], what: 'the program itself is written to from inside' },
  { runtime: 'runc', id: 'CVE-2021-30465', fixed: ['1.0.0-rc95'], what: 'mounts through links that are exchanged' },
  { runtime: 'runc', id: 'CVE-2024-21626', fixed: ['1.1.12'], what: 'a working directory that is a descriptor' },
  ...['CVE-2025-31133', 'CVE-2025-52565', 'CVE-2025-52881'].map((id) => ({
    runtime: 'runc',
    id,
    fixed: ['1.2.8', '1.3.3', '1.4.0-rc.3'],
    what: 'masks, /dev/console and writes to /proc through links that are exchanged',
  })),
  { runtime: 'crun', id: 'CVE-2019-18837', fixed: ['0.10.5'], what: 'mounts through links of the image' },
  { runtime: 'crun', id: 'CVE-2025-24965', fixed: ['1.20'], what: 'files written through links, if it runs as krun' },
  {
    runtime: 'crun',
    id: 'CVE-2026-84042',
    since: '1.29',
    fixed: ['1.30'],
    what: "the image's program run on the host, if it runs as krun with passt",
  },
  ...['CVE-2025-62161', 'CVE-2025-62596'].map((id) => ({
    runtime: 'youki',
    id,
    fixed: ['0.5.7'],
    what: 'masks and writes to /proc through links that are exchanged',
  })),
];

/** Major, minor, patch, and the number of a release candidate: infinite for the release. */
type Release = readonly [number, number, number, number];

function releaseOf(text: string): Release | null {
  const [, major, minor, patch = '0', candidate] = /^v?(\d+)\.(\d+)(?:\.(\d+))?(?:-rc\.?(\d+))?/.exec(text) ?? [];
  if (major === undefined) return null;
  return [Number(major), Number(minor), Number(patch), candidate === undefined ? Infinity : Number(candidate)];
}

const isBefore = (a: Release, b: Release): boolean => {
  const differs = a.findIndex((number, index) => number !== b[index]);
  return differs >= 0 && a[differs]! < b[differs]!;
};

const sameLine = (a: Release, b: Release): boolean => a[0] === b[0] && a[1] === b[1];

/** A line that got no mended version of its own is mended from the newest of those that did. */
function isMended(release: Release, fixed: readonly string[]): boolean {
  const all = fixed.map((text) => releaseOf(text)!);
  return !isBefore(release, all.find((each) => sameLine(each, release)) ?? all.at(-1)!);
}

/** Published escapes of a program by the first line of its `--version`, each with its id and the versions without it. */
export function escapesOf(versionLine: string): string[] {
  const [, name = '', version = ''] = /^(\w+) version (\S+)/.exec(versionLine) ?? [];
  const release = releaseOf(version);
  if (!release) return [];
  return escapes
    .filter(({ runtime, since }) => runtime === name && !(since && isBefore(release, releaseOf(since)!)))
    .filter(({ fixed }) => !isMended(release, fixed))
    .map(({ id, what, fixed }) => `${id}: ${what}; mended in ${fixed.join(', ')}`);
}

/** Distributions mend a version and keep its number, so that this is a question and no verdict. */
export function warnOfEscapes(ociRuntime: string, version: string): void {
  const published = escapesOf(version);
  if (published.length === 0) return;
  log.warn(
    { ociRuntime, version, published },
    'Container escapes are published for this version of an OCI runtime: update it, or see whether the distribution has mended its package',
  );
}
