import type * as admin from '../api/berth/v1/admin.ts';
import { kindOf } from '../base/trace.ts';

/** Ids in names as people know them. */
export const shortName = ({ name }: admin.TracedStep): string =>
  name.replace(/[0-9a-f]{64}/g, (id) => id.slice(0, 12)).slice(0, 60);

/** Kinds from the innermost: a process that the shim runs tells more than the waiting for its answer. */
const ofPods = ['process', 'record', 'file', 'mount', 'snapshot', 'cgroup', 'spec', 'shim'];
/** In a pull many layers are under way: while one is unpacked, another one's waiting takes no time of its own. */
const ofPulls = ['join', 'unpack', 'registry'];
const innermost = [...ofPods, ...ofPulls, 'wait', 'undo'];

/**
 * Milliseconds of each kind of step; time under several counts for the innermost, and what no step covers is `between`:
 * the event loop and the work that nobody gave a name.
 */
export function timeByKind({ steps, durationMs }: admin.TracedCall): [kind: string, ms: number][] {
  const edges = [...new Set([0, durationMs, ...steps.flatMap(({ beginMs, endMs }) => [beginMs, endMs])])]
    .filter((at) => at >= 0 && at <= durationMs)
    .toSorted((a, b) => a - b);
  const sums = new Map<string, number>();
  for (const [index, end] of edges.entries()) {
    const begin = edges[index - 1];
    if (begin === undefined) continue;
    const kinds = steps.filter((step) => step.beginMs <= begin && step.endMs >= end).map(({ name }) => kindOf(name));
    const kind = innermost.find((one) => kinds.includes(one)) ?? kinds[0] ?? 'between';
    sums.set(kind, (sums.get(kind) ?? 0) + end - begin);
  }
  return [...sums].toSorted((a, b) => b[1] - a[1]);
}
