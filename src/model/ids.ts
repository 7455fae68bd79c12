import { randomBytes } from 'node:crypto';
import { Fault } from '../base/fault.ts';

declare const brand: unique symbol;

/** A string that was checked once, at the edge, to be an id of this kind. */
export type Id<Kind extends string> = string & { readonly [brand]: Kind };

/** 64 lower-case hexadecimal characters. */
export type PodId = Id<'Pod'>;
/** 64 lower-case hexadecimal characters. */
export type ContainerId = Id<'Container'>;
/** `sha256:` and 64 hexadecimal characters: the digest of the image's config. */
export type ImageId = Id<'Image'>;
/** `sha256:` and 64 hexadecimal characters. */
export type Digest = Id<'Digest'>;

const digestPattern = /^sha256:[0-9a-f]{64}$/;

/** A new random pod id. */
export const newPodId = (): PodId => randomBytes(32).toString('hex') as PodId;

/** A new random container id. */
export const newContainerId = (): ContainerId => randomBytes(32).toString('hex') as ContainerId;

/** Checks a digest; InvalidArgument if it is anything but sha256 with 64 lower-case hexadecimal characters. */
export function parseDigest(text: string): Digest {
  if (!digestPattern.test(text)) {
    throw new Fault('InvalidArgument', `Digest ${JSON.stringify(text.slice(0, 200))} is not sha256:<64 hex>`);
  }
  return text as Digest;
}
