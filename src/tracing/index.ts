import { createRequire } from 'node:module';
import { messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { Counter, type Sample } from '../base/metrics.ts';
import type { EndedCall } from './call.ts';
import type { Outside } from './endpoint.ts';
import type { Exporter, openExporter } from './exporter.ts';
import type { Heard, Lost } from './queue.ts';

export { type EndedCall, isTelling, type Names } from './call.ts';

export type TracingSettings = {
  readonly endpoint: string;
  readonly protocol: string;
  readonly sampling: number;
  readonly serviceName: string;
};

/** How long the last spans may take when the daemon ends. */
const endMs = 800;
/** And when another endpoint takes over: calls go on meanwhile. */
const changeMs = 10_000;
const reasons: readonly Lost[] = ['queue_full', 'refused', 'end'];

/** Tells of calls as spans where an endpoint is set. Where none is, no code of OpenTelemetry is loaded. */
export class Tracing {
  readonly #outside: Outside;
  readonly #version: string;
  #exporter: Exporter | null = null;
  #inForce = '';
  #exported = 0;
  #everOn = false;
  readonly #lost = new Counter(reasons.map((reason) => ({ reason })));

  constructor(outside: Outside, version: string) {
    this.#outside = outside;
    this.#version = version;
  }

  get on(): boolean {
    return this.#exporter !== null;
  }

  /** Puts settings in force; those that are in force already change nothing. */
  follow(settings: TracingSettings): void {
    const { endpoint, protocol, sampling, serviceName } = settings;
    const given = JSON.stringify({ endpoint, protocol, sampling, serviceName });
    if (given === this.#inForce || (endpoint === '' && this.#inForce === '')) return;
    const before = this.#exporter;
    this.#inForce = endpoint === '' ? '' : given;
    this.#exporter = endpoint === '' ? null : this.#open(settings);
    void before?.close(changeMs);
  }

  /** Returns the id of the call's trace if it is told of. */
  call(call: EndedCall): string | undefined {
    try {
      return this.#exporter?.call(call);
    } catch (error) {
      log.error({ call: call.method, reason: messageOf(error) }, 'A call could not be told of as spans');
      return undefined;
    }
  }

  async close(): Promise<void> {
    const exporter = this.#exporter;
    this.#exporter = null;
    await exporter?.close(endMs);
  }

  /** Spans that the endpoint took; none where there was never one. */
  exported(): Sample[] {
    return this.#everOn ? [{ value: this.#exported }] : [];
  }

  lost(): Sample[] {
    return this.#everOn ? this.#lost.samples() : [];
  }

  #open(settings: TracingSettings): Exporter | null {
    try {
      const exporter = loadExporter()({ ...settings, version: this.#version }, this.#outside, this.#hearing(settings));
      this.#everOn = true;
      log.info({ endpoint: settings.endpoint }, 'Calls are told of as spans');
      return exporter;
    } catch (error) {
      log.error({ reason: messageOf(error) }, 'Calls cannot be told of as spans: [tracing]');
      return null;
    }
  }

  /** A line when it begins to fail and one when it is over: an endpoint may be gone for days. */
  #hearing({ endpoint }: TracingSettings): Heard {
    let failing = false;
    return {
      exported: (count) => {
        this.#exported += count;
      },
      lost: (reason, count) => this.#lost.add({ reason }, count),
      state: (why) => {
        if (why !== '' && !failing) log.warn({ endpoint, reason: why }, 'Spans are not taken: tracing.endpoint');
        if (why === '' && failing) log.info({ endpoint }, 'Spans are taken again');
        failing = why !== '';
      },
    };
  }
}

/** Beside the bundle, or of a checkout; loaded once, when it is first needed. */
function loadExporter(): typeof openExporter {
  const name = import.meta.url.endsWith('.ts') ? './exporter.ts' : './tracing.cjs';
  const loaded = createRequire(import.meta.url)(name) as { openExporter: typeof openExporter };
  return loaded.openExporter;
}
