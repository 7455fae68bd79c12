// All of OpenTelemetry that Berth has is imported here and below. The shipped bundle has this in a file of its own.
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import type { EndedCall } from './call.ts';
import type { Outside } from './endpoint.ts';
import { type Heard, Queue } from './queue.ts';
import { overGrpc } from './send-grpc.ts';
import { overHttp } from './send-http.ts';
import { type SpanSettings, spanMaker } from './spans.ts';

export type Exporter = {
  /** Returns the id of the call's trace if it is told of. */
  call(call: EndedCall): string | undefined;
  /** Sends what is left, for so many milliseconds at most. */
  close(ms: number): Promise<void>;
};

export type ExporterSettings = SpanSettings & { readonly endpoint: string; readonly protocol: string };

/** Some 3 MB of spans at most, and batches as the SDKs of OpenTelemetry make them by default. */
const bounds = { most: 2048, batch: 512, gatherMs: 1000, attemptMs: 10_000, againMs: [1000, 30_000] } as const;

export function openExporter(settings: ExporterSettings, outside: Outside, heard: Heard): Exporter {
  const url = new URL(settings.endpoint);
  const transport = settings.protocol === 'grpc' ? overGrpc(url, outside) : overHttp(url, outside);
  const queue = new Queue<ReadableSpan>({
    ...bounds,
    heard,
    send: (batch, signal) =>
      transport(ProtobufTraceSerializer.serializeRequest([...batch]) ?? new Uint8Array(), signal),
  });
  return { call: spanMaker(settings, (span) => queue.add(span)), close: (ms) => queue.close(ms) };
}
