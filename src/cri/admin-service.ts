import type * as admin from '../api/berth/v1/admin.ts';
import { invalidArgument } from '../base/fault.ts';
import type { Deps } from '../lifecycle/deps.ts';
import type { Call, Handlers } from './calls.ts';
import { line, optionalPath } from './check.ts';
import { nanoseconds } from './encode.ts';

/** What the berth command asks beyond CRI. */
export function adminHandlers(deps: Deps) {
  return {
    loadImages: async (request: admin.LoadImagesRequest): Promise<admin.LoadImagesResponse> => {
      const path = optionalPath('path', request.path);
      if (path === '') throw invalidArgument('path is empty');
      const images = await deps.images.load(path);
      return { images: images.map(({ id, tags }) => ({ id, tags: [...tags] })) };
    },
    saveImage: async (request: admin.SaveImageRequest, { signal }: Call): Promise<admin.SaveImageResponse> => {
      const path = optionalPath('path', request.path);
      if (path === '') throw invalidArgument('path is empty');
      const { id, bytes } = await deps.images.save(line('image', request.image), path, signal);
      return { id, bytes: BigInt(bytes) };
    },
    listPulls: (): admin.ListPullsResponse => ({
      pulls: deps.images.pulls().map((pull) => ({
        ...pull,
        startedAt: nanoseconds(pull.startedAt),
        bytesTotal: BigInt(pull.bytesTotal),
        bytesFetched: BigInt(pull.bytesFetched),
        bytesUnpacked: BigInt(pull.bytesUnpacked),
        rate: BigInt(pull.rate),
      })),
    }),
    collectGarbage: async ({ dryRun }: admin.CollectGarbageRequest): Promise<admin.CollectGarbageResponse> => {
      const layers = await deps.images.gc({ dryRun });
      return { layers: layers.map(({ key, bytes }) => ({ key, bytes: BigInt(bytes) })) };
    },
  } satisfies Handlers;
}
