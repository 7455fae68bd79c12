import { log } from '../base/log.ts';
import type { CallUnderWay } from '../base/trace.ts';
import { pathsLeftBehind } from '../shim/index.ts';
import type { Deps } from './deps.ts';

/** Whoever looks wants what is old; of the rest the number is told. */
const mostCalls = 200;

type Needs = Pick<Deps, 'traces' | 'locks' | 'images' | 'shims' | 'mending' | 'stopping' | 'stoppingPods'>;

/** What is begun and not ended, with ages in milliseconds; reads memory alone. */
export function underWay({ traces, locks, images, shims, mending, stopping, stoppingPods }: Needs) {
  const all = traces.underWay().sort((a, b) => b.ms - a.ms);
  return {
    calls: all.slice(0, mostCalls) as readonly CallUnderWay[],
    callsLeftOut: Math.max(0, all.length - mostCalls),
    locks: locks.held().slice(0, mostCalls),
    pulls: images.pulls.statuses(),
    shims: shims.underWay(),
    podsBeingMended: mending.ids(),
    podsBeingStopped: [...stoppingPods],
    containersBeingStopped: [...stopping],
    /** Processes that the kernel does not let go. */
    pathsLeftBehind: pathsLeftBehind(),
  };
}

/** At a signal: into the log, a line for each call and one for all the rest. Harms nothing. */
export function logUnderWay(deps: Needs): void {
  const { calls, ...rest } = underWay(deps);
  log.info({ signal: 'SIGUSR2', ...rest, calls: calls.length }, 'What is under way');
  for (const call of calls) log.info(call, 'Under way');
}
