import { status } from '@grpc/grpc-js';
import { Counter, Histogram } from '../base/metrics.ts';

const outcomes = new Map(Object.entries(status).map(([name, code]) => [code, name]));
/** A gRPC code in words: NOT_FOUND. */
export const outcomeOf = (code: number): string => outcomes.get(code) ?? `${code}`;

/** From a list's answer to a pull's. */
const seconds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** How many calls there were, how they ended, how long they took. Method names are those of the services. */
export class CallStats {
  readonly ended = new Counter();
  readonly took = new Histogram(seconds);
  underWay = 0;

  end(method: string, code: number, ms: number): void {
    this.ended.add({ method, code: outcomeOf(code) });
    this.took.observe({ method }, ms / 1000);
  }
}
