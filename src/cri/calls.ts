import { once } from 'node:events';
import { constants, type ServerHttp2Stream } from 'node:http2';
import type {
  Metadata,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Caller } from '../base/caller.ts';
import { Fault } from '../base/fault.ts';
import type { TracedCall, Traces } from '../base/trace.ts';
import { isTelling, type Names, type Tracing } from '../tracing/index.ts';
import { logged } from './call-log.ts';
import { changes, isProbe, madeBy } from './call-names.ts';
import { type CallStats, outcomeOf } from './call-stats.ts';
import { statusOf } from './status.ts';

/** What a handler knows of its call. `signal` aborts with Cancelled when the client goes or its deadline passes. */
export type Call = Caller & { readonly metadata: Metadata };

/** One unary CRI call: takes the decoded message, returns the answer or throws. */
export type Handler<Request, Response> = (request: Request, call: Call) => Response | Promise<Response>;

/** One server-streaming call: yields answers until it ends, throws, or `call.signal` aborts. */
export type Stream<Request, Response> = (request: Request, call: Call) => AsyncIterable<Response>;

// biome-ignore lint/suspicious/noExplicitAny: the generated service definition fixes each call's types
export type Handlers = Readonly<Record<string, Handler<any, any>>>;
// biome-ignore lint/suspicious/noExplicitAny: as above
export type Streams = Readonly<Record<string, Stream<any, any>>>;

/** The shape of a generated service definition that is needed here. */
type Service = Readonly<Record<string, { readonly path: string; readonly responseStream: boolean }>>;

/** The calls of which is kept where their time went. */
const tracedCalls = new Set([
  ...['RunPodSandbox', 'StopPodSandbox', 'RemovePodSandbox', 'CreateContainer', 'StartContainer', 'StopContainer'],
  ...['RemoveContainer', 'ExecSync', 'PullImage'],
]);

/** Who sees calls pass: absent, nobody. */
export type Watched = {
  readonly traces?: Traces;
  readonly stats?: CallStats;
  /** What a call is about: given, calls that change something are logged. */
  readonly names?: (method: string, request: unknown) => Names;
  readonly tracing?: Tracing;
};

/** Every call of `service`: those in `handlers` and `streams`, and UNIMPLEMENTED for the rest. */
export function serve(
  service: Service,
  handlers: Handlers,
  streams: Streams = {},
  watched: Watched = {},
): UntypedServiceImplementation {
  for (const name of [...Object.keys(handlers), ...Object.keys(streams)]) {
    if (!service[name]) throw new Error(`${name} is not a call of this service`);
  }
  const calls = Object.entries(service).map(([name, { path, responseStream }]) => {
    const [, service = '', method = ''] = path.split('/');
    const called = { service, method };
    return [name, responseStream ? streaming(method, streams[name]) : unary(called, watched, handlers[name])];
  });
  return Object.fromEntries(calls);
}

type AnyCall = Pick<ServerUnaryCall<unknown, unknown>, 'getDeadline' | 'metadata'> & {
  on(event: 'cancelled', listener: () => void): unknown;
};

/** What grpc-js does not hand out: the HTTP/2 stream, which alone knows how it ended. */
type OverHttp2 = { readonly call?: { readonly stream?: Pick<ServerHttp2Stream, 'once' | 'rstCode'> } };

function callerOf(call: AnyCall, method: string): Call {
  const left = new AbortController();
  call.on('cancelled', () => left.abort(new Fault('Cancelled', `${method}: the client left`)));
  const { stream } = (call as unknown as OverHttp2).call ?? {};
  return {
    signal: left.signal,
    deadline: Number(call.getDeadline()),
    metadata: call.metadata,
    // `cancelled` comes after every call, also one whose answer went out. A client that left resets the stream; one whose
    // connection ends has it closed with a code as well.
    onUnheard: (listener) => stream?.once('close', () => stream.rstCode !== constants.NGHTTP2_NO_ERROR && listener()),
  };
}

type Called = { readonly service: string; readonly method: string };

function unary({ service, method }: Called, watched: Watched, served: Handler<unknown, unknown> | undefined) {
  const { traces, stats } = watched;
  const handler = served ?? (() => unimplemented(method));
  const kept = tracedCalls.has(method);
  if (served) stats?.expect(method);
  return async (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
    const caller = callerOf(call, method);
    const names = changes(method) ? watched.names?.(method, call.request) : undefined;
    const line = names && logged(method, names);
    const begin = performance.now();
    if (stats) stats.underWay++;
    let timed: TracedCall | undefined;
    const ended = (code: number, answer?: unknown) => {
      if (stats) stats.underWay--;
      stats?.end(method, code, performance.now() - begin);
      return timed && spans({ service, method, code, timed, answer, names }, call, watched);
    };
    try {
      const work = () => handler(call.request, caller);
      const noted = (call: TracedCall) => {
        timed = call;
      };
      const answer = await (traces ? traces.call(method, work, { kept, ended: noted }) : work());
      callback(null, answer);
      const trace = ended(0, answer);
      line?.answered(answer, trace);
    } catch (error) {
      const failure = statusOf(error, method);
      callback(failure);
      const trace = ended(failure.code);
      line?.failed(failure, trace);
    }
  };
}

type Told = Called & {
  readonly code: number;
  readonly timed: TracedCall;
  readonly answer: unknown;
  readonly names: Names | undefined;
};

/** Tells of a call as spans, if that is wanted; the id of its trace. */
function spans(
  { code, answer, names, ...told }: Told,
  { metadata, request }: Pick<ServerUnaryCall<unknown, unknown>, 'metadata' | 'request'>,
  watched: Watched,
): string | undefined {
  const outcome = outcomeOf(code);
  const isChange = names !== undefined && !isProbe(told.method);
  if (!watched.tracing?.on || !isTelling(isChange, { outcome, timed: told.timed })) return undefined;
  const header = (name: string) => String(metadata.get(name)[0] ?? '');
  return watched.tracing.call({
    ...told,
    ...{ code, outcome },
    ...{ traceparent: header('traceparent'), tracestate: header('tracestate') },
    names: { ...(names ?? watched.names?.(told.method, request)), ...madeBy(answer) },
  });
}

function streaming(method: string, handler: Stream<unknown, unknown> = () => unimplemented(method)) {
  return async (call: ServerWritableStream<unknown, unknown>) => {
    const caller = callerOf(call, method);
    const { signal } = caller;
    try {
      for await (const answer of handler(call.request, caller)) {
        if (signal.aborted) return;
        if (!call.write(answer)) await once(call, 'drain', { signal }); // a slow reader slows the source down
      }
      call.end();
    } catch (error) {
      if (!signal.aborted) call.emit('error', statusOf(error, method));
    }
  };
}

function unimplemented(method: string): never {
  throw new Fault('Unimplemented', `Berth does not serve ${method} yet`);
}
