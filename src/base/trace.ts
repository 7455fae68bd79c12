import { AsyncLocalStorage } from 'node:async_hooks';
import { Counter, type Sample } from './metrics.ts';

/** One piece of a call's work; times in milliseconds of `performance.now()`. */
export type Span = { readonly name: string; readonly begin: number; readonly end: number };

/** One call for a pod, for what is in it, or for an image, from its request to its answer. */
export type TracedCall = {
  readonly call: string;
  /** The pod, the container or the image. */
  readonly object: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly begin: number;
  readonly end: number;
  readonly failed: boolean;
  readonly spans: readonly Span[];
};

/** `ended`: what was begun meanwhile, as a connection's listeners, goes on in its context and is not its work. */
type Current = {
  readonly call: string;
  readonly begin: number;
  pod: string;
  object: string;
  ended: boolean;
  readonly spans: Span[];
  /** What it does at this moment, the outer before the inner. */
  readonly doing: Set<Doing>;
};
type Doing = { readonly name: string; readonly begin: number };

/** A call that has no answer yet, and what it does or waits for; ages in milliseconds. */
export type CallUnderWay = {
  readonly call: string;
  readonly pod: string;
  readonly object: string;
  readonly ms: number;
  readonly doing: readonly { readonly name: string; readonly ms: number }[];
};

/** Bounds of what is kept: about 5 kB a pod, and some 8 MB of all. A pull has six steps a layer. */
const maxSpans = 400;
const maxCalls = 40;
const maxPods = 512;
const maxSpansOfAll = 40_000;

const current = new AsyncLocalStorage<Current>();
/** What performance.now() lags behind CLOCK_MONOTONIC, which other processes read too, ms. */
const origin = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** Milliseconds since the epoch with their fractions, which Date.now() cuts off, unless the clock was set since the start. */
function epochNow(): number {
  const [exact, now] = [performance.timeOrigin + performance.now(), Date.now()];
  return Math.abs(exact - now) < 2 ? exact : now;
}

/** Where the time of the latest calls went, by pod or image: of those that were last touched, removed ones too. */
export class Traces {
  readonly #pods = new Map<string, TracedCall[]>();
  #spans = 0;
  readonly #byKind = new Counter();
  readonly #underWay = new Set<Current>();

  /**
   * Runs a call; what `traced` and `step` say meanwhile is kept with it, unless it turns out to be for no pod, or to be one that
   * is not worth it. `ended` hears of it in each case.
   */
  async call<T>(
    call: string,
    work: () => T | Promise<T>,
    { kept = true, ended }: { kept?: boolean; ended?: (call: TracedCall) => void } = {},
  ): Promise<T> {
    const begin = performance.now();
    const own: Current = { call, begin, pod: '', object: '', ended: false, spans: [], doing: new Set() };
    this.#underWay.add(own);
    let failed = true;
    try {
      const result = await current.run(own, work);
      failed = false;
      return result;
    } finally {
      const end = performance.now();
      const { object, spans } = own;
      own.ended = true;
      this.#underWay.delete(own);
      if (kept)
        for (const { name, begin, end } of spans) this.#byKind.add({ kind: kindOf(name) }, (end - begin) / 1000);
      const traced = { call, object, at: epochNow() - (end - begin), begin, end, failed, spans };
      ended?.(traced);
      if (kept && own.pod !== '') this.#keep(own.pod, traced);
    }
  }

  /** The calls of the one that is named so, or of those whose names start so, in order. */
  of(prefix: string): { readonly pod: string; readonly calls: readonly TracedCall[] }[] {
    const exact = this.#pods.get(prefix);
    if (exact) return [{ pod: prefix, calls: exact }];
    return [...this.#pods].filter(([pod]) => pod.startsWith(prefix)).map(([pod, calls]) => ({ pod, calls }));
  }

  /** The oldest first. */
  underWay(): CallUnderWay[] {
    const now = performance.now();
    return [...this.#underWay].map(({ call, pod, object, begin, doing }) => ({
      ...{ call, pod, object, ms: Math.round(now - begin) },
      doing: [...doing].map(({ name, begin }) => ({ name, ms: Math.round(now - begin) })),
    }));
  }

  /** Seconds of the steps of all calls, by kind: what lies within another step counts for both. */
  secondsByKind(): Sample[] {
    return this.#byKind.samples();
  }

  #keep(pod: string, call: TracedCall): void {
    const calls = this.#pods.get(pod) ?? [];
    this.#pods.delete(pod); // so that it comes last
    this.#pods.set(pod, calls);
    calls.push(call);
    this.#spans += call.spans.length;
    if (calls.length > maxCalls) this.#spans -= calls.splice(leastTelling(calls), 1)[0]!.spans.length;
    for (const [first, all] of this.#pods) {
      if (this.#pods.size <= maxPods && this.#spans <= maxSpansOfAll) return;
      for (const { spans } of all) this.#spans -= spans.length;
      this.#pods.delete(first);
    }
  }
}

/** Probes come again and again: the oldest of them goes before the calls that made the pod. */
function leastTelling(calls: readonly TracedCall[]): number {
  const exec = calls.findIndex(({ call }) => call === 'ExecSync');
  return exec >= 0 ? exec : 1;
}

/** Says which pod or image, and which object of it, the call under way is for; who says it first is right. */
export function traced(pod: string, object: string): void {
  const call = current.getStore();
  if (call?.pod === '') Object.assign(call, { pod, object });
}

/** Where steps are kept, if the call still goes on and has room. */
function openSpans(): Span[] | undefined {
  const call = current.getStore();
  return call && !call.ended && call.spans.length < maxSpans ? call.spans : undefined;
}

/** The kind of a step: what its name has before the colon. */
export const kindOf = (name: string): string => name.slice(0, name.indexOf(':'));

/** Runs a piece of a call's work and keeps when. Names begin with its kind: `record: ...`, `mount: ...`. */
export function step<T>(name: string, work: () => T): T {
  const spans = openSpans();
  if (!spans) return doing(name, work);
  const begin = performance.now();
  return whenOver(
    () => doing(name, work),
    () => void spans.push({ name, begin, end: performance.now() }),
  );
}

/** Runs a piece of a call's work that is told of only while it lasts: what it hangs on, more closely than a step says. */
export function doing<T>(name: string, work: () => T): T {
  const call = current.getStore();
  if (!call || call.ended) return work();
  const now: Doing = { name, begin: performance.now() };
  call.doing.add(now);
  return whenOver(work, () => void call.doing.delete(now));
}

/** Runs what outlasts the call under way and is none of its work: it would keep all that the call has in memory. */
export const outside = <T>(work: () => T): T => current.exit(work);

function whenOver<T>(work: () => T, over: () => void): T {
  let result: T;
  try {
    result = work();
  } catch (error) {
    over();
    throw error;
  }
  if (result instanceof Promise) result.then(over, over);
  else over();
  return result;
}

/** Keeps a piece of work that another process did; microseconds of CLOCK_MONOTONIC, 0 where it does not say. */
export function stepElsewhere(name: string, beginUs: number, endUs: number): void {
  if (beginUs === 0) return;
  openSpans()?.push({ name, begin: beginUs / 1000 - origin, end: endUs / 1000 - origin });
}
