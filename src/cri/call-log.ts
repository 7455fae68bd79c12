import { log } from '../base/log.ts';
import type { Names } from '../tracing/index.ts';
import { isProbe, madeBy } from './call-names.ts';
import { outcomeOf } from './call-stats.ts';
import type { StatusError } from './status.ts';

/** A call under way that will be a line of the log. `trace`: the id of its trace, where it is told of in one. */
export type LoggedCall = {
  readonly answered: (answer: unknown, trace: string | undefined) => void;
  readonly failed: (error: StatusError, trace: string | undefined) => void;
};

/**
 * One line for each call that changes something: of what, how long it took, how it ended. Names are taken before the work, as
 * it may remove what has them.
 */
export function logged(method: string, names: Names): LoggedCall {
  const begin = performance.now();
  const end = (trace: string | undefined) => ({
    ms: Math.round((performance.now() - begin) * 10) / 10,
    ...(trace === undefined ? {} : { trace }),
  });
  const level = isProbe(method) ? 'debug' : 'info'; // a failure for a reason of Berth's is told of all the same
  return {
    answered: (answer, trace) =>
      log[level]({ call: method, ...names, ...madeBy(answer), ...end(trace), outcome: 'OK' }, method),
    failed: ({ code, details }, trace) =>
      log.warn(
        { call: method, ...names, ...end(trace), outcome: outcomeOf(code), reason: details },
        `${method} failed`,
      ),
  };
}
