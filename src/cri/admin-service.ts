import type * as admin from '../api/berth/v1/admin.ts';
import { invalidArgument } from '../base/fault.ts';
import type { Deps } from '../lifecycle/deps.ts';
import type { Handlers } from './calls.ts';
import { optionalPath } from './check.ts';

/** What the berth command asks beyond CRI. */
export function adminHandlers(deps: Deps) {
  return {
    loadImages: async (request: admin.LoadImagesRequest): Promise<admin.LoadImagesResponse> => {
      const path = optionalPath('path', request.path);
      if (path === '') throw invalidArgument('path is empty');
      const images = await deps.images.load(path);
      return { images: images.map(({ id, tags }) => ({ id, tags: [...tags] })) };
    },
  } satisfies Handlers;
}
