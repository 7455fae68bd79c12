import type * as cri from '../api/runtime/v1/cri.ts';
import type { Deps } from '../lifecycle/deps.ts';
import type { Streams } from './calls.ts';
import { encodeContainer, encodePod } from './encode.ts';
import { imagesMatching } from './image-service.ts';
import { findContainers, findPods } from './reads.ts';

/** Objects in one message of a streamed list: well below any client's message limit. */
const batchSize = 256;

/** The items in pieces; no items give no message. */
export function* batches<T>(items: readonly T[]): Generator<T[]> {
  for (let at = 0; at < items.length; at += batchSize) yield items.slice(at, at + batchSize);
}

/** The Stream* forms of the plain lists: the same filters, the same objects. */
export function listStreams(deps: Deps) {
  return {
    streamPodSandboxes: async function* (request: cri.StreamPodSandboxesRequest) {
      for (const podSandboxes of batches(findPods(deps, request.filter).map(encodePod))) yield { podSandboxes };
    },
    streamContainers: async function* (request: cri.StreamContainersRequest) {
      for (const containers of batches(findContainers(deps, request.filter).map(encodeContainer))) yield { containers };
    },
  } satisfies Streams;
}

export function imageStreams(deps: Deps) {
  return {
    streamImages: async function* (request: cri.StreamImagesRequest) {
      for (const images of batches(imagesMatching(deps, request.filter))) yield { images };
    },
  } satisfies Streams;
}
