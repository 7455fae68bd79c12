import {
  type CallOptions,
  type Client,
  type ClientReadableStream,
  type ClientUnaryCall,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';

type Callback<Response> = (error: ServiceError | null, response: Response) => void;
type Partially<T> = T extends bigint | string | number | boolean | Uint8Array | undefined
  ? T
  : T extends (infer Item)[]
    ? Partially<Item>[]
    : { [Key in keyof T]?: Partially<T[Key]> };

/** The last of a generated method's overloads: the one that inference sees. */
type Unary<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: Callback<Response>,
) => ClientUnaryCall;

type Promised<Method> =
  Method extends Unary<infer Request, infer Response>
    ? (request: Partially<Request>, options?: CallOptions & { signal?: AbortSignal }) => Promise<Response>
    : never;

/** A generated client with promises: requests may leave fields out. Rejects with the ServiceError. */
export type Rpc<C extends Client> = { [Key in Exclude<keyof C, keyof Client>]: Promised<C[Key]> } & { close(): void };

type Constructor<C extends Client> = {
  new (address: string, creds: ReturnType<typeof credentials.createInsecure>, options: object): C;
  service: Record<string, unknown>;
};

/** For calls without a deadline of their own: longer than any wait inside the daemon but a slow pull's. */
const usualDeadlineMs = 120_000;

/** A module of generated messages: the request of call `x` is `XRequest`. */
type Messages = Readonly<Record<string, unknown>>;
type FromPartial = { fromPartial(partial: object): object };

/** Connects to a unix socket; one HTTP/2 connection a client. */
export function connectTo<C extends Client>(
  Type: Constructor<C>,
  messages: Messages,
  socket: string,
  deadlineMs = usualDeadlineMs,
): Rpc<C> {
  const client = new Type(`unix://${socket}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': 64 * 1024 * 1024,
    'grpc.default_authority': 'localhost',
    'grpc.use_local_subchannel_pool': 1,
  });
  const methods = Object.keys(Type.service).map((name) => {
    const request = messages[`${name.charAt(0).toUpperCase()}${name.slice(1)}Request`];
    return [name, callOf(client, name, request as FromPartial, deadlineMs)];
  });
  return { ...Object.fromEntries(methods), close: () => client.close() };
}

function callOf(client: Client, name: string, message: FromPartial, deadlineMs: number) {
  return (request: object, { signal, ...options }: CallOptions & { signal?: AbortSignal } = {}) => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const done: Callback<unknown> = (error, response) => (error ? reject(error) : resolve(response));
    const method = (client as unknown as Record<string, (...args: unknown[]) => { cancel(): void }>)[name]!;
    const call = method.call(
      client,
      message.fromPartial(request),
      { deadline: Date.now() + deadlineMs, ...options },
      done,
    );
    signal?.addEventListener('abort', () => call.cancel(), { once: true });
    return promise;
  };
}

type Streamed<Method> = Method extends (
  request: infer Request,
  metadata?: Metadata,
  options?: Partial<CallOptions>,
) => ClientReadableStream<infer Response>
  ? (request: Partially<Request>, metadata?: Metadata) => AsyncIterable<Response>
  : never;

/** The server-streaming calls of a generated client as async iterables; leaving the loop cancels the call. */
export type Streams<C extends Client> = { [Key in Exclude<keyof C, keyof Client>]: Streamed<C[Key]> } & Disposable;

/** As connectTo, for calls that answer with a stream. */
export function openStream<C extends Client>(Type: Constructor<C>, messages: Messages, socket: string): Streams<C> {
  const client = new Type(`unix://${socket}`, credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
    'grpc.use_local_subchannel_pool': 1,
  });
  const methods = Object.keys(Type.service).map((name) => {
    const request = `${name.charAt(0).toUpperCase()}${name.slice(1)}Request`;
    const message = (messages[request] ?? messages[request.replace('Container', '')]) as FromPartial; // GetEventsRequest
    const method = (client as unknown as Record<string, (...args: unknown[]) => ClientReadableStream<unknown>>)[name]!;
    return [
      name,
      (partial: object, metadata = new Metadata()) => method.call(client, message.fromPartial(partial), metadata),
    ];
  });
  return { ...Object.fromEntries(methods), [Symbol.dispose]: () => client.close() };
}
