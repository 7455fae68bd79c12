import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { buildGo } from '../conformance/go.ts';

/** The program of main.go; its path. The first build takes a minute and more. */
export const ensureCollector = (): Promise<string> =>
  buildGo(import.meta.dirname, ['build', '-ldflags=-s -w'], '.', 'main.go', undefined, { CGO_ENABLED: '0' });

type Value = { readonly stringValue?: string; readonly intValue?: string };
type KeyValue = { readonly key: string; readonly value: Value };
type ReceivedSpan = {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly traceState?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: readonly KeyValue[];
  readonly status: { readonly code?: number; readonly message?: string };
};
type Received = {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly KeyValue[] };
    readonly scopeSpans: readonly { readonly spans: readonly ReceivedSpan[] }[];
  }[];
};

export type Span = Omit<ReceivedSpan, 'attributes'> & {
  /** Those of the resource with its own. */
  readonly attributes: Readonly<Record<string, string>>;
};

const named = (all: readonly KeyValue[]) =>
  all.map(({ key, value }) => [key, value.stringValue ?? value.intValue ?? JSON.stringify(value)] as const);

/** OpenTelemetry's own receiver, at two ports of the test's network, and the spans that it understood. */
export class Collector implements AsyncDisposable {
  readonly grpc = 'http://127.0.0.1:4317';
  readonly http = 'http://127.0.0.1:4318';
  readonly spans: Span[] = [];
  /** All that it was sent, as text. */
  text = '';
  #child: ChildProcess | null = null;

  static async start(): Promise<Collector> {
    const collector = new Collector();
    await collector.#start();
    return collector;
  }

  async #start(): Promise<void> {
    const addresses = [this.grpc, this.http].map((url) => new URL(url).host);
    const child = spawn(await ensureCollector(), addresses, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child = child;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    child.once('exit', (code) => reject(new Error(`the collector ended: ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => (line === 'ready' ? resolve() : this.#take(line)));
    await promise;
  }

  #take(line: string): void {
    this.text += `${line}\n`;
    for (const { resource, scopeSpans } of (JSON.parse(line) as Received).resourceSpans)
      for (const span of scopeSpans.flatMap(({ spans }) => spans))
        this.spans.push({
          ...span,
          attributes: Object.fromEntries([...named(resource.attributes), ...named(span.attributes ?? [])]),
        });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null) return;
    child.kill();
    await once(child, 'exit');
  }
}
