import { type CallOptions, type Client, type ClientReadableStream, credentials, Metadata } from '@grpc/grpc-js';
import type { Constructor, FromPartial, Messages, Partially } from '../../src/commands/rpc.ts';

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
