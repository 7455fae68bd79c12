import { field, type Json, text } from './documents.ts';

export type Platform = { readonly os: string; readonly architecture: string; readonly variant: string };

/** Names that builders give to architectures, and what they mean to everybody else (as containerd normalises them). */
const architectures: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  x86_64: ['amd64'],
  'x86-64': ['amd64'],
  i386: ['386'],
  i486: ['386'],
  i586: ['386'],
  i686: ['386'],
  x86: ['386'],
  aarch64: ['arm64'],
  armhf: ['arm', 'v7'],
  armel: ['arm', 'v6'],
};

/** What is meant where no variant is named. */
const baseVariant: Readonly<Record<string, string>> = { arm64: 'v8', arm: 'v7', amd64: 'v1' };

/** What a processor runs beside its own. */
const alsoRuns: Readonly<Record<string, string>> = { amd64: '386', arm64: 'arm' };

export function parsePlatform(json: Json): Platform {
  const said = text(field(json, 'architecture')).toLowerCase();
  const [architecture, implied = ''] = Object.hasOwn(architectures, said) ? architectures[said]! : [said];
  const variant = text(field(json, 'variant')).toLowerCase() || implied;
  return {
    os: text(field(json, 'os')).toLowerCase(),
    architecture,
    variant: /^\d+$/.test(variant) ? `v${variant}` : variant,
  };
}

/** This machine, as images name it. */
export function hostPlatform(): Platform {
  const architecture =
    { x64: 'amd64', ia32: '386', arm64: 'arm64', arm: 'arm' }[process.arch as string] ?? process.arch;
  return { os: 'linux', architecture, variant: { arm64: 'v8', arm: 'v7' }[architecture] ?? '' };
}

const level = (variant: string): number => Number(/^v([0-9]{1,2})$/.exec(variant)?.[1] ?? Number.NaN);

/** From this distance on it is another architecture: worse than any variant of the own. */
export const foreign = 1000;

/**
 * How well an image for `offered` runs on `host`; -1: not at all, 0: best. A lower variant of the same architecture runs
 * (arm v6 on v7); amd64 microarchitecture levels are taken only if the host names one; 386 runs on amd64, and arm on arm64.
 */
export function distance(offered: Platform, host: Platform): number {
  if ((offered.os || 'linux') !== host.os) return -1; // as containerd takes what does not say
  const base = baseVariant[offered.architecture] ?? '';
  if (offered.architecture === alsoRuns[host.architecture])
    return foreign + (level('v9') - level(offered.variant || base) || 0);
  if (offered.architecture !== host.architecture) return -1;
  if (offered.variant === host.variant) return 0;
  const difference = level(host.variant || base) - level(offered.variant || base);
  return Number.isNaN(difference) || difference < 0 ? -1 : difference;
}

export const platformName = (platform: Platform | null): string =>
  platform
    ? [platform.os, platform.architecture, platform.variant]
        .filter(Boolean)
        .map((part) => part.slice(0, 32).replace(/[^\x21-\x7e]/g, '?'))
        .join('/')
    : 'an unnamed platform';
