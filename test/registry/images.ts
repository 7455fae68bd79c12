// Images made of hand-made layers: as blobs in memory, pushed to a registry or written as an OCI layout.
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';

export type Blob = { readonly digest: string; readonly data: Buffer };
export type BuiltLayer = { readonly blob: Blob; readonly diffId: string; readonly mediaType: string };
export type BuiltImage = {
  readonly layers: readonly BuiltLayer[];
  readonly config: Blob;
  readonly manifest: Blob;
  readonly mediaType: string;
  readonly platform: { os: string; architecture: string; variant?: string };
};

export type Algorithm = 'sha256' | 'sha512';
export const digestWith = (algorithm: Algorithm, data: Buffer | string): string =>
  `${algorithm}:${createHash(algorithm).update(data).digest('hex')}`;
export const sha256 = (data: Buffer | string): string => digestWith('sha256', data);
export const blob = (data: Buffer | string, algorithm: Algorithm = 'sha256'): Blob => {
  const bytes = Buffer.from(data as string);
  return { digest: digestWith(algorithm, bytes), data: bytes };
};

export const ociManifest = 'application/vnd.oci.image.manifest.v1+json';
export const ociIndex = 'application/vnd.oci.image.index.v1+json';
export const dockerManifest = 'application/vnd.docker.distribution.manifest.v2+json';
export const dockerList = 'application/vnd.docker.distribution.manifest.list.v2+json';

const compress = {
  gzip: (data: Buffer) => gzipSync(data),
  zstd: (data: Buffer) => zstdCompressSync(data),
  none: (data: Buffer) => data,
};

export function layer(
  tar: Buffer,
  compression: keyof typeof compress = 'gzip',
  by: { blob?: Algorithm; diffId?: Algorithm } = {},
): BuiltLayer {
  const suffix = compression === 'none' ? '' : `+${compression}`;
  return {
    blob: blob(compress[compression](tar), by.blob),
    diffId: digestWith(by.diffId ?? 'sha256', tar),
    mediaType: `application/vnd.oci.image.layer.v1.tar${suffix}`,
  };
}

export type ImageOptions = {
  docker?: boolean;
  architecture?: string;
  variant?: string;
  config?: Record<string, unknown>;
  /** What config and manifest are named by. */
  algorithm?: Algorithm;
  /** Goes over the finished documents. */
  editConfig?: (config: Record<string, unknown>) => void;
  editManifest?: (manifest: Record<string, unknown>) => void;
};

export function image(layers: readonly BuiltLayer[], options: ImageOptions = {}): BuiltImage {
  const platform = {
    os: 'linux',
    architecture: options.architecture ?? 'amd64',
    ...(options.variant ? { variant: options.variant } : {}),
  };
  const configJson: Record<string, unknown> = {
    ...platform,
    config: { Env: ['PATH=/bin'], Cmd: ['/bin/sh'], ...options.config },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
  };
  options.editConfig?.(configJson);
  const config = blob(JSON.stringify(configJson), options.algorithm);
  const descriptor = (item: Blob, mediaType: string) => ({ mediaType, digest: item.digest, size: item.data.length });
  const mediaType = options.docker ? dockerManifest : ociManifest;
  const layerType = (own: string) => (options.docker ? 'application/vnd.docker.image.rootfs.diff.tar.gzip' : own);
  const manifestJson: Record<string, unknown> = {
    schemaVersion: 2,
    mediaType,
    config: descriptor(
      config,
      options.docker ? 'application/vnd.docker.container.image.v1+json' : 'application/vnd.oci.image.config.v1+json',
    ),
    layers: layers.map((item) => descriptor(item.blob, layerType(item.mediaType))),
  };
  options.editManifest?.(manifestJson);
  return { layers, config, manifest: blob(JSON.stringify(manifestJson), options.algorithm), mediaType, platform };
}

export const emptyType = 'application/vnd.oci.empty.v1+json';
type Part = { mediaType: string; data: Buffer; annotations?: Record<string, string> };

/** A text as a part of an artifact, with a title if it has one. */
export const namedText = (data: string, title?: string): Part => ({
  mediaType: 'text/plain',
  data: Buffer.from(data),
  ...(title === undefined ? {} : { annotations: { 'org.opencontainers.image.title': title } }),
});

/** An artifact as ORAS makes them. */
export function artifact(parts: readonly Part[]): BuiltImage {
  const config = blob('{}');
  const blobs = parts.map(({ data }) => blob(data));
  const layers = parts.map(({ mediaType, annotations }, index) => ({
    mediaType,
    digest: blobs[index]!.digest,
    size: blobs[index]!.data.length,
    annotations,
  }));
  const manifest = {
    schemaVersion: 2,
    mediaType: ociManifest,
    artifactType: 'application/vnd.example.thing',
    config: { mediaType: emptyType, digest: config.digest, size: config.data.length },
    layers,
  };
  return {
    layers: blobs.map((each) => ({ blob: each, diffId: '', mediaType: '' })),
    config,
    manifest: blob(JSON.stringify(manifest)),
    mediaType: ociManifest,
    platform: { os: 'linux', architecture: 'amd64' },
  };
}

export function index(images: readonly BuiltImage[], mediaType = ociIndex, extra: readonly object[] = []): Blob {
  const manifests = images.map(({ manifest, mediaType: type, platform }) => ({
    mediaType: type,
    digest: manifest.digest,
    size: manifest.data.length,
    platform,
  }));
  return blob(JSON.stringify({ schemaVersion: 2, mediaType, manifests: [...extra, ...manifests] }));
}

async function expectStatus(response: Response, ...wanted: number[]): Promise<Response> {
  if (wanted.includes(response.status)) return response;
  throw new Error(`${response.url}: ${response.status} ${await response.text()}`);
}

export type Push = { host: string; repository: string; headers?: Record<string, string> };

export async function pushBlob({ host, repository, headers = {} }: Push, { digest, data }: Blob): Promise<void> {
  const start = await expectStatus(
    await fetch(`http://${host}/v2/${repository}/blobs/uploads/`, { method: 'POST', headers }),
    202,
  );
  const url = new URL(start.headers.get('location')!, `http://${host}`);
  url.searchParams.set('digest', digest);
  const body = new Uint8Array(data);
  await expectStatus(
    await fetch(url, { method: 'PUT', body, headers: { ...headers, 'content-type': 'application/octet-stream' } }),
    201,
  );
}

export async function pushManifest(
  { host, repository, headers = {} }: Push,
  tag: string,
  manifest: Blob,
  mediaType: string,
): Promise<void> {
  const url = `http://${host}/v2/${repository}/manifests/${tag}`;
  const body = new Uint8Array(manifest.data);
  await expectStatus(
    await fetch(url, { method: 'PUT', body, headers: { ...headers, 'content-type': mediaType } }),
    201,
  );
}

/** Pushes layers, config and manifest under a tag. */
export async function pushImage(to: Push, tag: string, built: BuiltImage): Promise<void> {
  for (const item of [...built.layers.map(({ blob: data }) => data), built.config]) await pushBlob(to, item);
  await pushManifest(to, tag, built.manifest, built.mediaType);
}

/** Writes an OCI layout with these images, named by the annotation that skopeo and umoci read. */
export function writeLayout(directory: string, images: Readonly<Record<string, BuiltImage>>): void {
  for (const algorithm of ['sha256', 'sha512']) mkdirSync(join(directory, 'blobs', algorithm), { recursive: true });
  const put = ({ digest, data }: Blob) => writeFileSync(join(directory, 'blobs', digest.replace(':', '/')), data);
  const manifests = Object.entries(images).map(([name, built]) => {
    for (const item of [...built.layers.map(({ blob: data }) => data), built.config, built.manifest]) put(item);
    const annotations = { 'org.opencontainers.image.ref.name': name };
    return { mediaType: built.mediaType, digest: built.manifest.digest, size: built.manifest.data.length, annotations };
  });
  writeFileSync(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
}
