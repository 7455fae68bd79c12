import { hostname } from 'node:os';
import {
  type Attributes,
  type Context,
  type HrTime,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  ParentBasedSampler,
  type ReadableSpan,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { kindOf } from '../base/trace.ts';
import type { EndedCall, Names } from './call.ts';

/** Of one value; what is longer is a client's mischief. */
const longest = 512;

export type SpanSettings = { readonly serviceName: string; readonly sampling: number; readonly version: string };

/**
 * Makes spans of calls that were answered, and gives each to `take`. A caller's own decision to sample goes before the ratio.
 * Returns the id of the call's trace if it is told of.
 */
export function spanMaker(
  { serviceName, sampling, version }: SpanSettings,
  take: (span: ReadableSpan) => void,
): (call: EndedCall) => string | undefined {
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': serviceName,
      'service.version': version,
      'host.name': hostname(),
    }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sampling) }),
    spanLimits: { attributeValueLengthLimit: longest },
    spanProcessors: [taking(take)],
  });
  const tracer = provider.getTracer('berth', version);
  return (call) => tell(tracer, call);
}

const taking = (take: (span: ReadableSpan) => void): SpanProcessor => ({
  onStart: () => {},
  onEnd: take,
  forceFlush: async () => {},
  shutdown: async () => {},
});

const propagator = new W3CTraceContextPropagator();

const parentOf = ({ traceparent, tracestate }: EndedCall): Context =>
  propagator.extract(
    ROOT_CONTEXT,
    { traceparent, tracestate },
    { get: (carrier, key) => carrier[key as keyof typeof carrier], keys: Object.keys },
  );

/** Of a server's span, by the conventions for gRPC: others are the client's own mistakes. */
const ourFault = new Set(['UNKNOWN', 'DEADLINE_EXCEEDED', 'UNIMPLEMENTED', 'INTERNAL', 'UNAVAILABLE', 'DATA_LOSS']);

function tell(tracer: Tracer, call: EndedCall): string | undefined {
  const { service, method, timed, outcome } = call;
  const at = (time: number): HrTime => epochTime(timed.at + (time - timed.begin));
  const options = { kind: SpanKind.SERVER, startTime: at(timed.begin), attributes: attributesOf(call) };
  const parent = parentOf(call);
  const span = tracer.startSpan(`${service}/${method}`, options, parent);
  if (!span.isRecording()) return undefined;
  if (ourFault.has(outcome)) span.setStatus({ code: SpanStatusCode.ERROR });
  span.end(at(timed.end)); // before its steps: where there is no room for all, the call itself is what tells most
  const within = trace.setSpan(parent, span);
  for (const { name, begin, end } of timed.spans)
    tracer.startSpan(spanName(name), { startTime: at(begin), attributes: stepAttributes(name) }, within).end(at(end));
  return span.spanContext().traceId;
}

const epochTime = (ms: number): HrTime => [Math.floor(ms / 1000), Math.round((ms % 1000) * 1e6) % 1e9];

/** One name for all steps of a kind and program, whatever they are of: `unpack`, `process: crun run`. */
const spanName = (step: string): string =>
  step.replaceAll(/ ?(?:of )?(?:sha\d+:)?\b[0-9a-f]{12,}\b,?/g, '').replace(/[\s:]+$/, '');

const stepAttributes = (name: string): Attributes => ({ 'berth.step': name, 'berth.step.kind': kindOf(name) });

/**
 * Both generations of the conventions for RPC, as otelgrpc's `rpc/dup` has them: kubelet sends the later one, older runtimes
 * and dashboards know the earlier. Of what a client sent there are names alone: no environment, command, mount, annotation or
 * login, and no error's text, which an OCI runtime, a plugin or a registry may have put anything into; the log has that.
 */
const attributesOf = ({ service, method, code, outcome, names }: EndedCall): Attributes => ({
  'rpc.system.name': 'grpc',
  'rpc.system': 'grpc',
  'rpc.service': service,
  'rpc.method': `${service}/${method}`,
  'rpc.response.status_code': outcome,
  'rpc.grpc.status_code': code,
  ...(outcome === 'OK' ? {} : { 'error.type': outcome }),
  ...namesAsAttributes(names),
});

/** The names of the log, by the conventions' names where they have one. */
const attributeOf: Readonly<Record<string, string>> = {
  namespace: 'k8s.namespace.name',
  name: 'k8s.pod.name',
  uid: 'k8s.pod.uid',
  pod: 'berth.pod.id',
  container: 'container.id',
  containerName: 'k8s.container.name',
  image: 'container.image.name',
  imageId: 'container.image.id',
};

function namesAsAttributes(names: Names): Attributes {
  const known = Object.entries(names).filter(([name, value]) => Object.hasOwn(attributeOf, name) && value !== '');
  return Object.fromEntries(
    known
      .filter(([name, value]) => !(name === 'image' && hasLogin(value)))
      .map(([name, value]) => [attributeOf[name]!, value]),
  );
}

/** `user:password@host/image` is no reference, and was refused: what somebody typed is still a password. */
const hasLogin = (image: string): boolean => /@(?!\w+:[0-9a-f]+$)/.test(image);
