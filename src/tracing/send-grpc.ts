import { type ClientHttp2Session, type ClientHttp2Stream, connect, type IncomingHttpHeaders } from 'node:http2';
import { messageOf } from '../base/fault.ts';
import { connectTo, inShort, mostOfAnswer, type Outside, type Send } from './endpoint.ts';
import type { Answer } from './queue.ts';
import { refusedIn } from './send-http.ts';

const path = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
/** Those that OTLP says to try again after: CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS. */
const again = new Set([1, 4, 8, 10, 11, 14, 15]);

/**
 * OTLP over gRPC: one unary call, on node:http2, as it is all that is asked of gRPC here. Its client library looks names up on
 * the threads that everybody shares, and keeps connections of its own.
 */
export function overGrpc(url: URL, outside: Outside): Send {
  return async (body, signal) => {
    try {
      const socket = await connectTo(url, outside, signal, 'h2');
      const session = connect(url, { createConnection: () => socket, settings: { enablePush: false } });
      try {
        return await ask(session, body);
      } finally {
        session.destroy();
        socket.destroy();
      }
    } catch (error) {
      return { taken: false, again: true, why: inShort(messageOf(error)) };
    }
  };
}

async function ask(session: ClientHttp2Session, body: Uint8Array): Promise<Answer> {
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  session.on('error', failed.reject);
  session.once('close', () => failed.reject(new Error('the connection ended')));
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', failed.reject);
  const framed = Buffer.alloc(5 + body.length); // a byte for compression, four for the length (gRPC over HTTP2)
  framed.writeUInt32BE(body.length, 1);
  framed.set(body, 5);
  stream.end(framed);
  const { status, said, message } = await Promise.race([answerOf(stream), failed.promise]);
  if (status === 0) return { taken: true, ...refusedIn(message) };
  return { taken: false, again: again.has(status), why: inShort(`gRPC status ${status} ${said}`) };
}

type GrpcAnswer = { readonly status: number; readonly said: string; readonly message: Uint8Array | null };

/** The status is in the trailers, or in the headers where nothing else comes. */
async function answerOf(stream: ClientHttp2Stream): Promise<GrpcAnswer> {
  let heads: IncomingHttpHeaders = {};
  const note = (headers: IncomingHttpHeaders) => {
    heads = { ...heads, ...headers };
  };
  stream.once('response', note);
  stream.once('trailers', note);
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += (chunk as Buffer).length;
    if (length > mostOfAnswer) throw new Error(`an answer of more than ${mostOfAnswer} bytes`);
    chunks.push(chunk as Buffer);
  }
  const given = Number(heads['grpc-status'] ?? Number.NaN);
  if (!Number.isInteger(given)) throw new Error(`no gRPC answer, but HTTP ${heads[':status'] ?? 'nothing'}`);
  return { status: given, said: String(heads['grpc-message'] ?? ''), message: Buffer.concat(chunks).subarray(5) };
}
