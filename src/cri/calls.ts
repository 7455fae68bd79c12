import { once } from 'node:events';
import type {
  Metadata,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { Fault } from '../base/fault.ts';
import type { Traces } from '../base/trace.ts';
import { statusOf } from './status.ts';

/** What a handler knows of its call. `signal` aborts with Cancelled when the client goes or its deadline passes. */
export type Call = { readonly signal: AbortSignal; readonly metadata: Metadata };

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

/** The calls whose time is looked at step by step. */
const tracedCalls = new Set([
  ...['RunPodSandbox', 'StopPodSandbox', 'RemovePodSandbox', 'CreateContainer', 'StartContainer', 'StopContainer'],
  ...['RemoveContainer', 'ExecSync'],
]);

/** Every call of `service`: those in `handlers` and `streams`, and UNIMPLEMENTED for the rest. */
export function serve(
  service: Service,
  handlers: Handlers,
  streams: Streams = {},
  traces?: Traces,
): UntypedServiceImplementation {
  for (const name of [...Object.keys(handlers), ...Object.keys(streams)]) {
    if (!service[name]) throw new Error(`${name} is not a call of this service`);
  }
  const calls = Object.entries(service).map(([name, { path, responseStream }]) => {
    const method = path.slice(path.lastIndexOf('/') + 1);
    return [name, responseStream ? streaming(method, streams[name]) : unary(method, traces, handlers[name])];
  });
  return Object.fromEntries(calls);
}

function leaving(call: { on(event: 'cancelled', listener: () => void): unknown }, method: string): AbortSignal {
  const left = new AbortController();
  call.on('cancelled', () => left.abort(new Fault('Cancelled', `${method}: the client left`)));
  return left.signal;
}

function unary(
  method: string,
  traces: Traces | undefined,
  handler: Handler<unknown, unknown> = () => unimplemented(method),
) {
  const tracing = tracedCalls.has(method) ? traces : undefined;
  return async (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
    const signal = leaving(call, method);
    try {
      const work = () => handler(call.request, { signal, metadata: call.metadata });
      callback(null, await (tracing ? tracing.call(method, work) : work()));
    } catch (error) {
      callback(statusOf(error, method));
    }
  };
}

function streaming(method: string, handler: Stream<unknown, unknown> = () => unimplemented(method)) {
  return async (call: ServerWritableStream<unknown, unknown>) => {
    const signal = leaving(call, method);
    try {
      for await (const answer of handler(call.request, { signal, metadata: call.metadata })) {
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
