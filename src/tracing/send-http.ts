import { type IncomingMessage, request } from 'node:http';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { messageOf } from '../base/fault.ts';
import { connectTo, inShort, mostOfAnswer, type Outside, type Send } from './endpoint.ts';
import type { Answer } from './queue.ts';

/** Those that OTLP says to try again after (OTLP 1.x, "OTLP/HTTP Response"). Redirects are among those that end it. */
const again = new Set([429, 502, 503, 504]);

/** OTLP over HTTP/1.1, as protobuf. A base URL without a path stands for its /v1/traces. */
export function overHttp(url: URL, outside: Outside): Send {
  const path = url.pathname === '/' ? '/v1/traces' : url.pathname;
  return async (body, signal) => {
    try {
      const socket = await connectTo(url, outside, signal);
      try {
        return await ask(url.host, path, body, socket);
      } finally {
        socket.destroy();
      }
    } catch (error) {
      return { taken: false, again: true, why: inShort(messageOf(error)) };
    }
  };
}

type Connection = Awaited<ReturnType<typeof connectTo>>;

async function ask(host: string, path: string, body: Uint8Array, socket: Connection): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const headers = {
    host,
    'content-type': 'application/x-protobuf',
    'content-length': body.length,
    connection: 'close',
  };
  const asked = request({ method: 'POST', path, headers, createConnection: () => socket, maxHeaderSize: 16 * 1024 });
  asked.once('response', resolve);
  asked.on('error', reject);
  asked.end(body);
  const response = await promise;
  const { statusCode = 0 } = response;
  const text = await begin(response);
  if (statusCode >= 200 && statusCode < 300) return { taken: true, ...refusedIn(text) };
  return { taken: false, again: again.has(statusCode), why: `HTTP ${statusCode}` };
}

/** The first bytes of an answer; null: there are more than anybody needs. */
async function begin(response: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response) {
    length += (chunk as Buffer).length;
    if (length > mostOfAnswer) return null;
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

/** What was taken and yet not kept, by the answer's own words; one that cannot be read says nothing. */
export function refusedIn(answer: Uint8Array | null): { refused: number; why: string } {
  try {
    const { partialSuccess } = ProtobufTraceSerializer.deserializeResponse(answer ?? new Uint8Array());
    const refused = Math.max(Number(partialSuccess?.rejectedSpans ?? 0), 0);
    return { refused, why: refused > 0 ? inShort(`${refused} refused: ${partialSuccess?.errorMessage ?? ''}`) : '' };
  } catch {
    return { refused: 0, why: '' };
  }
}
