import { randomBytes } from 'node:crypto';
import { Fault } from '../base/fault.ts';

declare const brand: unique symbol;

/** A string that was checked once, at the edge, to be an id of this kind. */
export type Id<Kind extends string> = string & { readonly [brand]: Kind };

/** 64 lower-case hexadecimal characters. */
export type PodId = Id<'Pod'>;
/** 64 lower-case hexadecimal characters. */
export type ContainerId = Id<'Container'>;
/** The digest of the image's config. */
export type ImageId = Id<'Image'>;
/** `sha256:` and 64 lower-case hexadecimal characters, or `sha512:` and 128. */
export type Digest = Id<'Digest'>;

/** What the OCI image specification registers and everybody has: nothing is taken on trust of another algorithm. */
export const digestAlgorithms = ['sha256', 'sha512'] as const;
export type DigestAlgorithm = (typeof digestAlgorithms)[number];

const digestPattern = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** A new random pod id. */
export const newPodId = (): PodId => randomBytes(32).toString('hex') as PodId;

/** A new random container id. */
export const newContainerId = (): ContainerId => randomBytes(32).toString('hex') as ContainerId;

/** True for what may be the id of a pod or a container. */
export const isId = (text: string): boolean => /^[0-9a-f]{64}$/.test(text);

export const isDigest = (text: string): text is Digest => digestPattern.test(text);

/** Checks a digest; InvalidArgument if it is anything but lower-case hexadecimal sha256 or sha512. */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  const shown = JSON.stringify(text.slice(0, 200));
  const [, algorithm = ''] = /^([a-z0-9]+(?:[+._-][a-z0-9]+)*):[A-Za-z0-9=_-]+$/.exec(text.slice(0, 200)) ?? [];
  const isKnown = digestAlgorithms.some((known) => known === algorithm);
  const why =
    algorithm && !isKnown
      ? `is of the algorithm ${algorithm}, which cannot be verified here; sha256 and sha512 can`
      : 'is not sha256:<64 hex> or sha512:<128 hex>, in lower case';
  throw new Fault('InvalidArgument', `Digest ${shown} ${why}`);
}

/** By what a digest was computed. */
export const algorithmOf = (digest: Digest): DigestAlgorithm => (digest.startsWith('sha512:') ? 'sha512' : 'sha256');
