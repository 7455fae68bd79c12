import { type Blob, blob, type Layer } from './layer.ts';

/** The fields of an OCI image config (config.md) that the test images use. */
export type Config = {
  readonly User?: string;
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly WorkingDir?: string;
  readonly StopSignal?: string;
  readonly Labels?: Readonly<Record<string, string>>;
  readonly Volumes?: Readonly<Record<string, Readonly<Record<string, never>>>>;
};

export type BuiltImage = {
  /** `repository:tag`, without a registry's host. */
  readonly names: readonly string[];
  readonly manifest: Blob;
  readonly config: Blob;
  readonly layers: readonly Layer[];
};

const architectures: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };

/** An OCI image of the layers, bottom first. Equal inputs give equal digests. */
export function makeImage(names: readonly string[], layers: readonly Layer[], config: Config): BuiltImage {
  const configBlob = json('application/vnd.oci.image.config.v1+json', {
    created: '2024-01-01T00:00:00Z',
    architecture: architectures[process.arch] ?? process.arch,
    os: 'linux',
    config,
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
  });
  const manifest = json('application/vnd.oci.image.manifest.v1+json', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: descriptor(configBlob),
    layers: layers.map(descriptor),
  });
  return { names, manifest, config: configBlob, layers };
}

const json = (mediaType: string, value: unknown) => blob(mediaType, Buffer.from(JSON.stringify(value)));

export const descriptor = ({ mediaType, digest, size }: Blob) => ({ mediaType, digest, size });
