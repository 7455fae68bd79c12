import { Fault, invalidArgument } from '../base/fault.ts';
import { isObject } from '../base/json.ts';
import { maxLayers } from '../base/limits.ts';
import { type Digest, parseDigest } from '../model/ids.ts';
import type { ImageConfig } from '../model/image.ts';
import { checkConfig, checkLabelCount } from './config-limits.ts';
import { digestOf } from './digest.ts';
import { field, type Json, parseJson, text } from './documents.ts';
import { distance, foreign, type Platform, parsePlatform, platformName } from './platform.ts';

/** Content by digest (OCI image-spec, descriptor.md). */
export type Descriptor = {
  /** In small letters, without parameters. */
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  /** The content itself, where the descriptor brings it and it is what the digest says. */
  readonly data?: Buffer;
  /** A host that the manifest names for it (`urls`), printable and short; nobody asks there. */
  readonly elsewhere?: string;
};

/** A blob that a manifest lists, with the file name that its annotations give it, or none. */
export type ListedLayer = Descriptor & { readonly title: string };

export type Manifest = {
  readonly kind: 'manifest';
  readonly config: Descriptor;
  readonly layers: readonly ListedLayer[];
  /** Empty: it does not say. */
  readonly artifactType: string;
};
export type IndexEntry = Descriptor & {
  /** Null: it does not say. */
  readonly platform: Platform | null;
  /** About another entry (an attestation of BuildKit's): never an image. */
  readonly isAttestation: boolean;
};
export type Index = { readonly kind: 'index'; readonly manifests: readonly IndexEntry[] };

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

const maxManifests = 10_000;

/**
 * Parses a manifest or index. `contentType` is what the registry called it; whether it is the one or the other must agree
 * with what the document calls itself, or one digest could mean two images. OCI's and Docker's names mean the same.
 * @throws Fault InvalidArgument, Unimplemented (schema 1, media types without an image).
 */
export function parseManifest(data: Buffer, contentType: string): Manifest | Index {
  const json = parseJson(data, 'manifest');
  const schemaVersion = field(json, 'schemaVersion');
  if (schemaVersion === 1 || bareType(contentType).startsWith('application/vnd.docker.distribution.manifest.v1')) {
    throw new Fault('Unimplemented', 'The manifest has Docker schema 1, which nobody can verify; push the image again');
  }
  const called = bareType(contentType);
  const own = bareType(text(field(json, 'mediaType')));
  const known = (type: string) => manifestTypes.includes(type) || indexTypes.includes(type);
  // The peers go by the type, and to Go's programs what is not there is 0.
  const isLeftOut = (schemaVersion ?? 0) === 0 && (known(own) || known(called));
  if (schemaVersion !== 2 && !isLeftOut) throw invalidArgument('The manifest has no schemaVersion 2');
  if (known(own) && known(called) && indexTypes.includes(own) !== indexTypes.includes(called)) {
    throw invalidArgument(`The registry calls the manifest ${called}, the document itself ${own}`);
  }
  const type = own || (known(called) ? called : '');
  if (type && !known(type))
    throw new NotForThisHost('Unimplemented', `The manifest is no image but ${type.slice(0, 200)}`);
  const hasManifests = field(json, 'manifests') !== undefined;
  const hasLayers = field(json, 'layers') !== undefined || field(json, 'config') !== undefined;
  if (hasManifests === hasLayers) throw invalidArgument('The manifest must have either layers or manifests');
  if (type && indexTypes.includes(type) !== hasManifests)
    throw invalidArgument(`The manifest does not hold what ${type} holds`);
  return hasManifests ? parseIndex(json) : parseImage(json);
}

function parseImage(json: Json): Manifest {
  const listed = field(json, 'layers') ?? []; // Go's builders write null for an empty list
  if (!Array.isArray(listed)) throw invalidArgument('The manifest has no list of layers');
  if (listed.length > maxLayers) {
    throw invalidArgument(`The manifest has ${listed.length} layers; overlayfs takes ${maxLayers}`);
  }
  const layers = listed.map((layer) => ({ ...descriptor(layer, 'layer'), title: titleOf(layer) }));
  const artifactType = text(field(json, 'artifactType'));
  return { kind: 'manifest', config: descriptor(field(json, 'config'), 'config'), layers, artifactType };
}

/** OCI's name for it comes before that of the model-spec, as with CRI-O. */
function titleOf(layer: unknown): string {
  const annotations = isObject(layer) ? field(layer, 'annotations') : null;
  if (!isObject(annotations)) return '';
  return text(annotations['org.opencontainers.image.title']) || text(annotations['org.cncf.model.filepath']);
}

function parseIndex(json: Json): Index {
  const listed = field(json, 'manifests');
  if (!Array.isArray(listed) || listed.length > maxManifests) {
    throw invalidArgument(`The index has no list of at most ${maxManifests} manifests`);
  }
  return { kind: 'index', manifests: listed.map(indexEntry) };
}

/** An entry of an index, or of a layout's index.json. @throws Fault InvalidArgument */
export function indexEntry(item: unknown): IndexEntry {
  const json = isObject(item) ? item : {};
  const [platform, annotations] = [field(json, 'platform'), field(json, 'annotations')];
  const named = isObject(platform) ? parsePlatform(platform) : null;
  const isAttestation =
    (named?.os === 'unknown' && named.architecture === 'unknown') ||
    (isObject(annotations) && annotations['vnd.docker.reference.type'] !== undefined);
  // One without an architecture says nothing either.
  return { ...descriptor(item, 'manifest'), platform: named?.architecture ? named : null, isAttestation };
}

function descriptor(value: unknown, what: string): Descriptor {
  if (!isObject(value)) throw invalidArgument(`The manifest has a ${what} without a descriptor`);
  const size = field(value, 'size');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalidArgument(`The manifest gives a ${what} the size ${JSON.stringify(size)?.slice(0, 40)}`);
  }
  const digest = parseDigest(text(field(value, 'digest')));
  const mediaType = bareType(text(field(value, 'mediaType')));
  return {
    mediaType,
    digest,
    size,
    ...inlined(text(field(value, 'data')), digest, size),
    ...named(field(value, 'urls')),
  };
}

function named(urls: unknown): { elsewhere?: string } {
  const url = Array.isArray(urls) ? URL.parse(text(urls[0])) : null;
  return url ? { elsewhere: (url.host || url.protocol).slice(0, 100) } : {};
}

/** A media type without its parameters; its case means nothing (RFC 9110, 8.3.1). */
const bareType = (type: string): string => (type.split(';', 1)[0] ?? '').trim().toLowerCase();

/** What a descriptor brings with it (OCI image-spec 1.1, descriptor.md, "data"), if it is what it should be; else it is fetched. */
function inlined(base64: string, digest: Digest, size: number): { data?: Buffer } {
  if (base64 === '') return {};
  const data = Buffer.from(base64, 'base64');
  return data.length === size && digestOf(data, digest) === digest ? { data } : {};
}

/** Of what is no image, or none for this host: nothing is wrong with it. */
export class NotForThisHost extends Fault {}

/** How many entries without a platform are looked into. */
const mostUnnamed = 8;

/**
 * The entries of an index that may run on `host`, the best first: those that say so, then those that do not say what they are
 * for, whose config has to be asked, then those for what the processor also runs.
 * @throws Fault NotFound that lists what there is.
 */
export function platformChoices(index: Index, host: Platform): (Descriptor & { readonly isNamed: boolean })[] {
  const entries = index.manifests.filter(({ isAttestation }) => !isAttestation);
  const own = entries
    .flatMap((item) => (item.platform ? [{ item, away: distance(item.platform, host) }] : []))
    .filter(({ away }) => away >= 0)
    .toSorted((a, b) => a.away - b.away);
  const unnamed = entries.filter(({ platform }) => platform === null).slice(0, mostUnnamed);
  const choices = [
    ...own.filter(({ away }) => away < foreign).map(({ item }) => ({ ...item, isNamed: true })),
    ...unnamed.map((item) => ({ ...item, isNamed: false })),
    ...own.filter(({ away }) => away >= foreign).map(({ item }) => ({ ...item, isNamed: true })),
  ];
  if (choices.length > 0) return choices;
  const names = index.manifests.slice(0, 20).map(({ platform }) => platformName(platform));
  throw new NotForThisHost(
    'NotFound',
    `The image has no version for ${platformName(host)}, only for: ${names.join(', ') || 'nothing'}`,
  );
}

/** What an image's config says: how to run it, and the digests its layers must have once unpacked. */
export type ParsedConfig = { readonly config: ImageConfig; readonly diffIds: readonly Digest[] };

const strings = (value: unknown, what: string): string[] => {
  if (value === undefined || value === null) return [];
  // To Go's programs a null is a string without anything in it.
  const items = Array.isArray(value) ? value.map((item: unknown) => item ?? '') : [];
  if (Array.isArray(value) && items.every((item) => typeof item === 'string')) return items;
  throw invalidArgument(`The image's config has ${what} that is not a list of strings`);
};

/** A command: Docker takes a single string for a list of one. */
const command = (value: unknown, what: string): string[] => strings(typeof value === 'string' ? [value] : value, what);

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
  const inner = table(field(json, 'config'), 'a "config"');
  const given = field(json, 'rootfs');
  const rootfs = isObject(given) ? given : {};
  const type = field(rootfs, 'type') ?? 'layers'; // some builders leave it out
  const diffIds = field(rootfs, 'diff_ids');
  if (type !== 'layers' || given === undefined) throw invalidArgument("The image's config has no rootfs of layers");
  const labelTable = table(field(inner, 'Labels'), 'Labels');
  checkLabelCount(labelTable);
  const labels = Object.entries(labelTable).map(([name, value]) => [name, text(value)]);
  const config: ImageConfig = {
    ...parsePlatform(json),
    env: strings(field(inner, 'Env'), 'Env'),
    entrypoint: command(field(inner, 'Entrypoint'), 'Entrypoint'),
    cmd: command(field(inner, 'Cmd'), 'Cmd'),
    user: one(field(inner, 'User'), 'a User'),
    workingDir: one(field(inner, 'WorkingDir'), 'a WorkingDir'),
    labels: Object.fromEntries(labels) as Record<string, string>,
    volumes: Object.keys(table(field(inner, 'Volumes'), 'Volumes')),
    stopSignal: one(field(inner, 'StopSignal'), 'a StopSignal'),
  };
  checkConfig(config);
  return { config, diffIds: strings(diffIds, 'diff_ids').map(parseDigest) };
}
