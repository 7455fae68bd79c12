import type { ServerUnaryCall, sendUnaryData, UntypedServiceImplementation } from '@grpc/grpc-js';
import { Fault } from '../base/fault.ts';
import { statusOf } from './status.ts';

/** What a handler knows of its call. `signal` aborts with Cancelled when the client goes or its deadline passes. */
export type Call = { readonly signal: AbortSignal };

/** One unary CRI call: takes the decoded message, returns the answer or throws. */
export type Handler<Request, Response> = (request: Request, call: Call) => Response | Promise<Response>;

// biome-ignore lint/suspicious/noExplicitAny: the generated service definition fixes each call's types
export type Handlers = Readonly<Record<string, Handler<any, any>>>;

/** The shape of a generated service definition that is needed here. */
type Service = Readonly<Record<string, { readonly path: string; readonly responseStream: boolean }>>;

/** Every call of `service`: those in `handlers`, and UNIMPLEMENTED for the rest. */
export function serve(service: Service, handlers: Handlers): UntypedServiceImplementation {
  const names = Object.keys(service);
  for (const name of Object.keys(handlers)) {
    if (!names.includes(name)) throw new Error(`${name} is not a call of this service`);
  }
  return Object.fromEntries(names.map((name) => [name, unary(service[name]!.path, handlers[name])]));
}

function unary(path: string, handler: Handler<unknown, unknown> = unimplemented(path)) {
  const method = path.slice(path.lastIndexOf('/') + 1);
  return async (call: ServerUnaryCall<unknown, unknown>, callback?: sendUnaryData<unknown>) => {
    const left = new AbortController();
    call.on('cancelled', () => left.abort(new Fault('Cancelled', `${method}: the client left`)));
    const fail = (error: unknown) => {
      const status = statusOf(error, method);
      if (callback) callback(status);
      else call.emit('error', status); // a streaming call has no callback
    };
    try {
      const response = await handler(call.request, { signal: left.signal });
      callback?.(null, response);
    } catch (error) {
      fail(error);
    }
  };
}

const unimplemented = (path: string) => () => {
  const method = path.slice(path.lastIndexOf('/') + 1);
  throw new Fault('Unimplemented', `Berth does not serve ${method} yet`);
};
