import type { SpecInput } from './input.ts';
import { defaultMounts, podFiles, requestMount, volumeMount } from './mounts.ts';
import { cleanPath, isAtOrBelow, topOf } from './paths.ts';
import type { OciMount } from './spec.ts';

// A container's mounts are decided here, once: all that it could have, each with where that lands, and by what rule each gives
// way. What else is to be known of a mount (where the specification has it, whether its target may be covered, what a VOLUME
// begins with) is read from the plan.

/** By whom a container has a mount: Berth, its pod, the request, the image, a device. */
type Origin = 'default' | 'pod' | 'request' | 'volume' | 'cdi';

/** A mount of a plan. Its destination is clean. */
export type PlannedMount = OciMount & {
  readonly origin: Origin;
  /** Where it lands: the destination with links followed. */
  readonly place: string;
};

/**
 * A container's mounts in their order, as they are where its image has no links; `arrange` says which are left out, once it is
 * known where each lands. VOLUMEs have no source yet. @throws Fault InvalidArgument for a mount that cannot be.
 */
export const planMounts = (input: SpecInput): PlannedMount[] =>
  arrange([
    ...planned('default', defaultMounts(input)),
    ...planned('pod', podFiles(input)),
    ...planned('request', input.mounts.map(requestMount)),
    ...planned('volume', input.image.volumes.map(volumeMount)),
    ...planned('cdi', input.injected?.mounts ?? []),
  ]);

const planned = (origin: Origin, mounts: readonly OciMount[]): PlannedMount[] =>
  mounts.map((mount) => {
    const destination = cleanPath(mount.destination);
    return { ...mount, destination, origin, place: destination };
  });

/**
 * The mounts that are made, by where they land: the outer before the inner, and of one depth in the order that they came in.
 * What was asked for, by the request or a device, always is. Of the defaults those are left out that lie at or below it: it is
 * there as it is on the host. The pod's files and VOLUMEs give way to a mount of the same place, and to one that the host
 * shares: each mount made in it would be the host's too, and outlive the container. A VOLUME also gives way to Berth's own.
 */
export function arrange(mounts: readonly PlannedMount[]): PlannedMount[] {
  const asked = mounts.filter(isAsked);
  const shared = asked.filter(isShared);
  const placesOf = (some: readonly PlannedMount[]) => new Set(some.map(({ place }) => place));
  const taken = placesOf(asked);
  const ofPod = placesOf(mounts.filter(({ origin }) => origin === 'pod'));
  const volumes = new Set<string>();
  const isIn = (place: string, outer: readonly PlannedMount[]) => outer.some((each) => isAtOrBelow(place, each.place));
  const isFree = (place: string) => !taken.has(place) && !isIn(place, shared);
  const stays: Readonly<Record<Origin, (place: string) => boolean>> = {
    default: (place) => !isIn(place, asked),
    pod: isFree,
    request: () => true,
    volume: (place) => {
      const isSecond = volumes.has(place);
      volumes.add(place);
      return !isSecond && place !== '/' && !topOf(place) && !ofPod.has(place) && isFree(place);
    },
    cdi: () => true,
  };
  return mounts.filter(({ origin, place }) => stays[origin](place)).toSorted((a, b) => depth(a) - depth(b));
}

const depth = ({ place }: PlannedMount): number => place.split('/').length;
const isAsked = ({ origin }: PlannedMount): boolean => origin === 'request' || origin === 'cdi';

/** Whether what is mounted in it is mounted on the host too. */
export const isShared = ({ options }: OciMount): boolean => options.includes('rshared') || options.includes('shared');

/** The widest propagation that any mount asked for needs of the root, or undefined for private. */
export function rootfsPropagation(mounts: readonly PlannedMount[]): 'rshared' | 'rslave' | undefined {
  const asked = mounts.filter(isAsked);
  if (asked.some(isShared)) return 'rshared';
  return asked.some(({ options }) => options.includes('rslave') || options.includes('slave')) ? 'rslave' : undefined;
}
