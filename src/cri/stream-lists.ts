import type * as cri from '../api/runtime/v1/cri.ts';
import type { Deps } from '../lifecycle/deps.ts';
import type { Streams } from './calls.ts';
import { imageItems } from './image-service.ts';
import { batches } from './list-bytes.ts';
import { containerItems, podItems } from './reads.ts';

/** The Stream* forms of the plain lists: the same filters, the same objects. */
export function listStreams(deps: Deps) {
  return {
    streamPodSandboxes: async function* ({ filter }: cri.StreamPodSandboxesRequest) {
      yield* batches(podItems(deps, filter));
    },
    streamContainers: async function* ({ filter }: cri.StreamContainersRequest) {
      yield* batches(containerItems(deps, filter));
    },
  } satisfies Streams;
}

export function imageStreams(deps: Deps) {
  return {
    streamImages: async function* ({ filter }: cri.StreamImagesRequest) {
      yield* batches(imageItems(deps, filter));
    },
  } satisfies Streams;
}
