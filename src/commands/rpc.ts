import {
  type CallOptions,
  type Client,
  type ClientUnaryCall,
  credentials,
  type Metadata,
  type ServiceError,
} from '@grpc/grpc-js';

type Callback<Response> = (error: ServiceError | null, response: Response) => void;
export type Partially<T> = T extends bigint | string | number | boolean | Uint8Array | undefined
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

export type Constructor<C extends Client> = {
  new (address: string, creds: ReturnType<typeof credentials.createInsecure>, options: object): C;
  service: Record<string, unknown>;
};

/** For calls without a deadline of their own: longer than any wait inside the daemon but a slow pull's. */
const usualDeadlineMs = 120_000;

/** A module of generated messages: the request of call `x` is `XRequest`. */
export type Messages = Readonly<Record<string, unknown>>;
export type FromPartial = { fromPartial(partial: object): object };

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
