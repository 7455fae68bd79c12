import { Fault, invalidArgument } from '../base/fault.ts';
import { isObject } from '../base/json.ts';
import { maxLayers } from '../base/limits.ts';
import { type Digest, parseDigest } from '../model/ids.ts';
import type { ImageConfig } from '../model/image.ts';
import { checkConfig } from './config-limits.ts';

/** Content by digest (OCI image-spec, descriptor.md). */
export type Descriptor = { readonly mediaType: string; readonly digest: Digest; readonly size: number };

export type Platform = { readonly os: string; readonly architecture: string; readonly variant: string };

export type Manifest = {
  readonly kind: 'manifest';
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
};
export type Index = {
  readonly kind: 'index';
  readonly manifests: readonly (Descriptor & { readonly platform: Platform | null })[];
};

const manifestTypes = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
const indexTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
/** What a client asks for; `*` lets a registry answer with what it has, to be refused by name. */
export const acceptManifest = [...manifestTypes, ...indexTypes, '*/*'].join(', ');

/** Layers that hold a tar: OCI's and Docker's names, the non-distributable ones too. */
const layerType =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar)(?:[.+](?:gzip|zstd))?$/;

const maxManifests = 10_000;

type Json = Record<string, unknown>;
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Parses JSON that somebody else wrote. @throws Fault InvalidArgument naming `what`. */
export function parseJson(data: Buffer, what: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data));
  } catch (error) {
    throw new Fault('InvalidArgument', `The ${what} is not JSON`, { cause: error });
  }
  if (!isObject(value)) throw invalidArgument(`The ${what} is not a JSON object`);
  return value;
}

/**
 * Parses a manifest or index. `contentType` is what the registry called it; it must agree with what the document calls
 * itself, or one digest could mean two images.
 * @throws Fault InvalidArgument, Unimplemented (schema 1, media types without an image).
 */
export function parseManifest(data: Buffer, contentType: string): Manifest | Index {
  const json = parseJson(data, 'manifest');
  if (json.schemaVersion === 1 || contentType.startsWith('application/vnd.docker.distribution.manifest.v1')) {
    throw new Fault('Unimplemented', 'The manifest has Docker schema 1, which nobody can verify; push the image again');
  }
  if (json.schemaVersion !== 2) throw invalidArgument('The manifest has no schemaVersion 2');
  const called = contentType.split(';')[0]?.trim() ?? '';
  const own = text(json.mediaType);
  const known = (type: string) => manifestTypes.includes(type) || indexTypes.includes(type);
  if (own && known(called) && own !== called) {
    throw invalidArgument(`The registry calls the manifest ${called}, the document itself ${own}`);
  }
  const type = own || (known(called) ? called : '');
  if (type && !known(type)) throw new Fault('Unimplemented', `The manifest is no image but ${type.slice(0, 200)}`);
  const hasManifests = json.manifests !== undefined;
  const hasLayers = json.layers !== undefined || json.config !== undefined;
  if (hasManifests === hasLayers) throw invalidArgument('The manifest must have either layers or manifests');
  if (type && indexTypes.includes(type) !== hasManifests)
    throw invalidArgument(`The manifest does not hold what ${type} holds`);
  return hasManifests ? parseIndex(json) : parseImage(json);
}

function parseImage(json: Json): Manifest {
  if (!Array.isArray(json.layers)) throw invalidArgument('The manifest has no list of layers');
  if (json.layers.length > maxLayers) {
    throw invalidArgument(`The manifest has ${json.layers.length} layers; overlayfs takes ${maxLayers}`);
  }
  const layers = json.layers.map((layer) => descriptor(layer, 'layer'));
  for (const { mediaType } of layers) {
    if (!layerType.test(mediaType)) {
      throw new Fault(
        'Unimplemented',
        `A layer has the media type ${JSON.stringify(mediaType.slice(0, 200))}, not a tar`,
      );
    }
  }
  return { kind: 'manifest', config: descriptor(json.config, 'config'), layers };
}

function parseIndex(json: Json): Index {
  if (!Array.isArray(json.manifests) || json.manifests.length > maxManifests) {
    throw invalidArgument(`The index has no list of at most ${maxManifests} manifests`);
  }
  const manifests = json.manifests.map((item: unknown) => {
    const { platform } = isObject(item) ? item : {};
    return { ...descriptor(item, 'manifest'), platform: isObject(platform) ? parsePlatform(platform) : null };
  });
  return { kind: 'index', manifests };
}

const parsePlatform = (json: Json): Platform => ({
  os: text(json.os),
  architecture: text(json.architecture),
  variant: text(json.variant),
});

function descriptor(value: unknown, what: string): Descriptor {
  if (!isObject(value)) throw invalidArgument(`The manifest has a ${what} without a descriptor`);
  const { size } = value;
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalidArgument(`The manifest gives a ${what} the size ${JSON.stringify(size)?.slice(0, 40)}`);
  }
  return { mediaType: text(value.mediaType), digest: parseDigest(text(value.digest)), size };
}

/** This machine, as images name it. */
export function hostPlatform(): Platform {
  const architecture =
    { x64: 'amd64', ia32: '386', arm64: 'arm64', arm: 'arm' }[process.arch as string] ?? process.arch;
  return { os: 'linux', architecture, variant: architecture === 'arm64' ? 'v8' : architecture === 'arm' ? 'v7' : '' };
}

/**
 * How well an image for `offered` runs on `host`; -1: not at all, 0: best. A lower variant of the same architecture runs
 * (arm v6 on v7); amd64 microarchitecture levels are taken only if the host names one.
 */
function distance(offered: Platform, host: Platform): number {
  if (offered.os !== host.os || offered.architecture !== host.architecture) return -1;
  const level = (variant: string) => Number(/^v([0-9]{1,2})$/.exec(variant)?.[1] ?? Number.NaN);
  const base = { arm64: 'v8', arm: 'v7', amd64: 'v1' }[host.architecture] ?? '';
  const difference = level(host.variant || base) - level(offered.variant || base);
  if (offered.variant === host.variant) return 0;
  return Number.isNaN(difference) || difference < 0 ? -1 : difference;
}

/**
 * The manifest of an index that runs on `host`; build attestations (platform unknown/unknown) never match. An index with a
 * single manifest that names no platform means that one.
 * @throws Fault NotFound that lists what there is.
 */
export function choosePlatform(index: Index, host: Platform): Descriptor {
  let best: { item: Descriptor; distance: number } | null = null;
  for (const item of index.manifests) {
    if (!item.platform) continue;
    const away = distance(item.platform, host);
    if (away >= 0 && (!best || away < best.distance)) best = { item, distance: away };
  }
  if (best) return best.item;
  const only = index.manifests.length === 1 ? index.manifests[0] : undefined;
  if (only && !only.platform) return only;
  const names = index.manifests.slice(0, 20).map(({ platform }) => platformName(platform));
  throw new Fault(
    'NotFound',
    `The image has no version for ${platformName(host)}, only for: ${names.join(', ') || 'nothing'}`,
  );
}

const platformName = (platform: Platform | null): string =>
  platform
    ? [platform.os, platform.architecture, platform.variant]
        .filter(Boolean)
        .map((part) => part.slice(0, 32).replace(/[^\x21-\x7e]/g, '?'))
        .join('/')
    : 'an unnamed platform';

/** What an image's config says: how to run it, and the digests its layers must have once unpacked. */
export type ParsedConfig = { readonly config: ImageConfig; readonly diffIds: readonly Digest[] };

const strings = (value: unknown, what: string): string[] => {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
  throw invalidArgument(`The image's config has ${what} that is not a list of strings`);
};

/** A text that must not be read as absent: a User that is the number 1000 would become root. */
function one(value: unknown, what: string): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'string') return value;
  throw invalidArgument(`The image's config has ${what} that is not a string`);
}

function table(value: unknown, what: string): Json {
  if (value === undefined || value === null) return {};
  if (isObject(value)) return value;
  throw invalidArgument(`The image's config has ${what} that is not an object`);
}

/** Parses an image's config (OCI image-spec, config.md), and holds it to what Berth takes. @throws Fault InvalidArgument. */
export function parseConfig(data: Buffer): ParsedConfig {
  const json = parseJson(data, "image's config");
  const inner = table(json.config, 'a "config"');
  const rootfs = isObject(json.rootfs) ? json.rootfs : {};
  if (rootfs.type !== 'layers') throw invalidArgument("The image's config has no rootfs of layers");
  const labels = Object.entries(table(inner.Labels, 'Labels')).map(([name, value]) => [name, text(value)]);
  const config: ImageConfig = {
    ...parsePlatform(json),
    env: strings(inner.Env, 'Env'),
    entrypoint: strings(inner.Entrypoint, 'Entrypoint'),
    cmd: strings(inner.Cmd, 'Cmd'),
    user: one(inner.User, 'a User'),
    workingDir: one(inner.WorkingDir, 'a WorkingDir'),
    labels: Object.fromEntries(labels) as Record<string, string>,
    volumes: Object.keys(table(inner.Volumes, 'Volumes')),
    stopSignal: one(inner.StopSignal, 'a StopSignal'),
  };
  checkConfig(config);
  return { config, diffIds: strings(rootfs.diff_ids, 'diff_ids').map(parseDigest) };
}
