import { isFault } from '../base/fault.ts';
import type { Image } from '../model/image.ts';
import { canonical, parseReference, type Reference, repositoryOf } from './reference.ts';

/** An image as a client asks for it: kubelet gives the id of what it pulled, and beside it what the user wrote. */
export type AskedImage = { readonly image: string; readonly userSpecifiedImage?: string };

/** `name`: what to show a user; `ref`: by digest where a registry vouches for it, else the id. */
export type ImageNames = { readonly name: string; readonly ref: string };

/**
 * What a container's status calls its image (CRI ContainerStatus.image and image_ref): the user's own words first, else
 * the tag asked for, else any. An image can be in several repositories: the digest is of the one that is named.
 */
export function imageNames({ id, tags, digests }: Image, { image, userSpecifiedImage = '' }: AskedImage): ImageNames {
  const asked = referenceIn(userSpecifiedImage) ?? referenceIn(image);
  const tag = nearest(tags, asked, ':') ?? tags[0];
  const digest = nearest(digests, asked, '@') ?? nearest(digests, referenceIn(tag ?? ''), '@') ?? digests[0];
  return { name: userSpecifiedImage || (tag ?? digest ?? id), ref: digest ?? id };
}

/** That very name, else one of its repository. */
function nearest(names: readonly string[], wanted: Reference | null, separator: ':' | '@'): string | undefined {
  if (!wanted) return undefined;
  const exact = canonical(wanted);
  const repository = `${repositoryOf(wanted)}${separator}`;
  return names.find((name) => name === exact) ?? names.find((name) => name.startsWith(repository));
}

/** Null for what is no reference; an id that reads as one (`sha256:...`) names no repository of an image. */
function referenceIn(text: string): Reference | null {
  try {
    return parseReference(text);
  } catch (error) {
    if (isFault(error, 'InvalidArgument')) return null;
    throw error;
  }
}
