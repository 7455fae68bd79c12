// What a call is as spans, by which decision, and what is never in them.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { type EndedCall, isTelling, slowMs } from '../../../src/tracing/call.ts';
import { spanMaker } from '../../../src/tracing/spans.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const spanId = 'b7ad6b7169203331';
const digest = `sha256:${'ab'.repeat(32)}`;

/** A call of 20 ms at the second 1000; steps begin a millisecond after each other and take one. */
function called(more: Partial<EndedCall> = {}, steps: readonly string[] = []): EndedCall {
  const spans = steps.map((name, i) => ({ name, begin: 501 + i, end: 502 + i }));
  return {
    service: 'runtime.v1.RuntimeService',
    method: 'StartContainer',
    ...{ outcome: 'OK', code: 0, traceparent: '', tracestate: '', names: {} },
    timed: { call: 'StartContainer', object: '', at: 1_000_000.25, begin: 500, end: 520, failed: false, spans },
    ...more,
  };
}

function told(call: EndedCall, sampling = 1) {
  const spans: ReadableSpan[] = [];
  const id = spanMaker({ serviceName: 'b', version: '1', sampling }, (span) => spans.push(span))(call);
  return { id, spans };
}

describe('a call as spans', () => {
  test('goes on with the trace of its caller, and its steps are below it', () => {
    const traceparent = `00-${traceId}-${spanId}-01`;
    const { id, spans } = told(called({ traceparent, tracestate: 'a=1' }, ['process: crun run', 'record: container']));
    assert.equal(id, traceId);
    const [server, ...steps] = spans;
    assert.equal(server!.name, 'runtime.v1.RuntimeService/StartContainer');
    assert.equal(server!.kind, 1); // SERVER
    assert.equal(server!.parentSpanContext?.spanId, spanId);
    assert.equal(server!.spanContext().traceState?.serialize(), 'a=1');
    assert.deepEqual(
      [server!.startTime, server!.endTime],
      [
        [1000, 250_000],
        [1000, 20_250_000],
      ],
    );
    assert.deepEqual(
      steps.map(({ name, startTime, endTime }) => [name, startTime[1], endTime[1]]),
      [
        ['process: crun run', 1_250_000, 2_250_000],
        ['record: container', 2_250_000, 3_250_000],
      ],
    );
    for (const step of steps) {
      assert.equal(step.parentSpanContext?.spanId, server!.spanContext().spanId);
      assert.equal(step.spanContext().traceId, traceId);
    }
  });

  for (const [what, traceparent, sampling, is] of [
    ['a caller who samples goes before the ratio', `00-${traceId}-${spanId}-01`, 0, true],
    ['so does one who does not', `00-${traceId}-${spanId}-00`, 1, false],
    ['without a caller the ratio decides: all', '', 1, true],
    ['without a caller the ratio decides: none', '', 0, false],
    ['what is no trace context is none', `00-${traceId}-${'0'.repeat(16)}-00`, 1, true],
    ['nor is any other text', 'x'.repeat(100_000), 1, true],
  ] as const)
    test(what, () => {
      const { id, spans } = told(called({ traceparent }), sampling);
      assert.equal(spans.length, is ? 1 : 0);
      assert.equal(id !== undefined, is);
      if (is && sampling === 1) assert.notEqual(id, traceId);
    });

  test('has the attributes of both conventions for RPC, and the names of the log', () => {
    const names = {
      ...{ namespace: 'ns', name: 'p', uid: 'u', pod: 'pp', container: 'cc', containerName: 'c' },
      ...{ image: `host/i@${digest}`, imageId: 'i', more: 'of the log alone' },
    };
    const { attributes, status } = told(called({ names, outcome: 'INTERNAL', code: 13 })).spans[0]!;
    assert.deepEqual(attributes, {
      'rpc.system.name': 'grpc',
      'rpc.system': 'grpc',
      'rpc.service': 'runtime.v1.RuntimeService',
      'rpc.method': 'runtime.v1.RuntimeService/StartContainer',
      'rpc.response.status_code': 'INTERNAL',
      'rpc.grpc.status_code': 13,
      'error.type': 'INTERNAL',
      'k8s.namespace.name': 'ns',
      'k8s.pod.name': 'p',
      'k8s.pod.uid': 'u',
      'berth.pod.id': 'pp',
      'container.id': 'cc',
      'k8s.container.name': 'c',
      'container.image.name': `host/i@${digest}`,
      'container.image.id': 'i',
    });
    assert.equal(status.code, 2); // ERROR
    assert.equal(told(called({ outcome: 'NOT_FOUND', code: 5 })).spans[0]!.status.code, 0, "the client's own mistake");
  });

  test('a login in what should be a reference is not among them', () => {
    for (const image of ['user:hunter2@host/i', 'hunter2@host/i', `user:hunter2@host/i@${digest}`])
      assert.doesNotMatch(JSON.stringify(told(called({ names: { image } })).spans[0]!.attributes), /hunter2/);
  });

  for (const [step, name] of [
    [`wait: ${digest}, another pull's`, "wait: another pull's"],
    [`registry: first bytes of ${digest}`, 'registry: first bytes'],
    [`unpack: ${digest}`, 'unpack'],
    [`snapshot: commit ${digest}`, 'snapshot: commit'],
    ['process: bridge ADD', 'process: bridge ADD'],
    ['mount: /dev/shm, hosts, hostname, resolv.conf', 'mount: /dev/shm, hosts, hostname, resolv.conf'],
  ] as const)
    test(`the step "${step.slice(0, 40)}" is the span "${name}", whatever it is of`, () => {
      const span = told(called({}, [step])).spans[1]!;
      assert.equal(span.name, name);
      assert.equal(span.attributes['berth.step'], step);
    });
});

test('of reads and probes only the slow and the failed are told of', () => {
  const timed = (ms: number) => ({ ...called().timed, begin: 0, end: ms });
  for (const [changes, outcome, ms, is] of [
    [true, 'OK', 1, true],
    [false, 'OK', 1, false],
    [false, 'OK', slowMs, true],
    [false, 'INTERNAL', 1, true],
  ] as const)
    assert.equal(isTelling(changes, { outcome, timed: timed(ms) }), is);
});
