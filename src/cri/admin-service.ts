import type * as admin from '../api/berth/v1/admin.ts';
import { Fault, invalidArgument } from '../base/fault.ts';
import type { Adopted } from '../base/settings-reload.ts';
import { toToml } from '../base/settings-toml.ts';
import type { TracedCall } from '../base/trace.ts';
import { canonical } from '../image/index.ts';
import type { Deps } from '../lifecycle/deps.ts';
import { underWay } from '../lifecycle/under-way.ts';
import type { Call, Handlers } from './calls.ts';
import { line, optionalPath } from './check.ts';
import { int64, nanoseconds } from './numbers.ts';

export type AdminDeps = Deps & {
  /** Reads the configuration anew. @throws Fault InvalidArgument for a wrong one, which changes nothing. */
  readonly reload: () => Promise<Adopted>;
};

/** What the berth command asks beyond CRI. */
export function adminHandlers(deps: AdminDeps) {
  return {
    reload: async (): Promise<admin.ReloadResponse> => {
      const { inForce, atNextStart } = await deps.reload();
      return { inForce: [...inForce], atNextStart: [...atNextStart] };
    },
    underWay: (): admin.UnderWayResponse => ({ json: JSON.stringify(underWay(deps), null, 1) }),
    configuration: (): admin.ConfigurationResponse => ({ toml: toToml(deps.settings) }),
    loadImages: async (request: admin.LoadImagesRequest, { signal }: Call): Promise<admin.LoadImagesResponse> => {
      const path = optionalPath('path', request.path);
      if (path === '') throw invalidArgument('path is empty');
      const notes = { passedOver: [] as string[], failed: [] as string[] };
      const images = await deps.images.load(path, signal, ({ kind, words }) => notes[kind].push(words));
      return { images: images.map(({ id, tags }) => ({ id, tags: [...tags] })), ...notes };
    },
    saveImage: async (request: admin.SaveImageRequest, { signal }: Call): Promise<admin.SaveImageResponse> => {
      const path = optionalPath('path', request.path);
      if (path === '') throw invalidArgument('path is empty');
      const { id, bytes, note } = await deps.images.save(line('image', request.image), path, signal);
      return { id, bytes: int64(bytes), note };
    },
    listPulls: (): admin.ListPullsResponse => ({
      pulls: deps.images.pulls.statuses().map((pull) => ({
        ...pull,
        startedAt: nanoseconds(pull.startedAt),
        bytesTotal: int64(pull.bytesTotal),
        bytesFetched: int64(pull.bytesFetched),
        bytesUnpacked: int64(pull.bytesUnpacked),
        rate: int64(pull.rate),
      })),
    }),
    collectGarbage: async ({ dryRun }: admin.CollectGarbageRequest): Promise<admin.CollectGarbageResponse> => {
      const layers = await deps.images.gc({ dryRun });
      return { layers: layers.map(({ key, bytes }) => ({ key, bytes: int64(bytes) })) };
    },
    tracePod: ({ podId }: admin.TracePodRequest): admin.TracePodResponse => {
      const given = line('pod_id', podId);
      const asGiven = deps.traces.of(given);
      const ofImages = () => deps.images.shortNames.possible(given).flatMap((name) => deps.traces.of(canonical(name)));
      const [found, ...more] = asGiven.length > 0 ? asGiven : ofImages();
      if (!found) {
        const message = `No trace of a pod or an image ${podId}: they are kept since the daemon started`;
        throw new Fault('NotFound', message);
      }
      if (more.length > 0) throw invalidArgument(`pod_id ${podId} is the begin of several: give more of it`);
      return { podId: found.pod, calls: found.calls.map(encodeTrace) };
    },
  } satisfies Handlers;
}

const encodeTrace = ({ call, object, at, begin, end, failed, spans }: TracedCall): admin.TracedCall => ({
  call,
  object,
  startedAt: nanoseconds(at),
  durationMs: end - begin,
  failed,
  steps: spans
    .map((span) => ({ name: span.name, beginMs: span.begin - begin, endMs: span.end - begin }))
    .toSorted((a, b) => a.beginMs - b.beginMs || b.endMs - a.endMs),
});
