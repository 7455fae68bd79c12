import type { Digest, ImageId } from './ids.ts';

/** What Berth uses of an image's config (OCI image-spec config.md); absent fields are empty. */
export type ImageConfig = {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string;
  /** `NAME=value`, in the image's order. */
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** `user`, `uid`, `user:group` ... exactly as the image says it. */
  readonly user: string;
  readonly workingDir: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Container paths that the image declares as volumes. */
  readonly volumes: readonly string[];
  /** `SIGQUIT`, `3`, or empty. */
  readonly stopSignal: string;
};

/** An image whose every layer is unpacked and verified. Records are replaced, never edited. */
export type Image = {
  readonly id: ImageId;
  /** Full references with a tag, such as `docker.io/library/busybox:1.36`. */
  readonly tags: readonly string[];
  /** Full references by manifest or index digest, such as `docker.io/library/busybox@sha256:...`. */
  readonly digests: readonly string[];
  readonly config: ImageConfig;
  /** What an artifact (files without an image's config) says it is; empty for an image. No container has it as its root. */
  readonly artifactType: string;
  /** What its manifest lists beside layers, by media type and digest: not in its tree. */
  readonly passedOver: readonly string[];
  /** Chain ids from the bottom layer to the top one: the keys of its committed snapshots. May be empty. */
  readonly layers: readonly Digest[];
  /** Bytes of the unpacked layers and the config. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly pulledAt: number;
};
