// Calls as OpenTelemetry's own collector hears of them, and what a bad endpoint does to a daemon: nothing.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type Socket, createServer as tcpServer } from 'node:net';
import { after, before, test } from 'node:test';
import { InterceptingCall, type Interceptor } from '@grpc/grpc-js';
import { stringify } from 'smol-toml';
import { Collector, ensureCollector, type Span } from '../collector/index.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { podConfig, until } from '../harness/pods.ts';
import { endTestRegistry, pullTestImages } from '../harness/suite.ts';

await ownHost(ensureCollector);

const service = 'runtime.v1.RuntimeService';
const metricsAddress = '127.0.0.1:9102';
const secret = 'hunter2';
let daemon: TestDaemon;
let collector: Collector;
let busybox: string;
let nginx: string;
before(async () => {
  collector = await Collector.start();
  daemon = new TestDaemon({
    settings: { metrics: { address: metricsAddress }, tracing: { endpoint: collector.http } },
  });
  await daemon.start();
  ({ busybox, nginx } = await pullTestImages(daemon));
});
after(async () => {
  await daemon.dispose();
  await collector[Symbol.asyncDispose]();
  await endTestRegistry();
});

/** A client's trace: options for calls in it, as kubelet makes them. */
function clientTrace(flags: '00' | '01' = '01') {
  const [traceId, spanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
  const traceparent = `00-${traceId}-${spanId}-${flags}`;
  const says: Interceptor = (options, next) =>
    new InterceptingCall(next(options), {
      start: (metadata, listener, go) => {
        metadata.set('traceparent', traceparent);
        go(metadata, listener);
      },
    });
  const options = { interceptors: [says] };
  return { traceId, spanId, options };
}

const configure = (tracing: Record<string, unknown>) => {
  const folder = `${daemon.configFile}.d`;
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/10-tracing.toml`, stringify({ tracing }));
};

/** Puts this [tracing] in force. */
async function trace(tracing: Record<string, unknown>): Promise<void> {
  configure({ endpoint: '', ...tracing });
  await daemon.admin.reload({});
}

async function lost(reason: string): Promise<number> {
  const text = await (await fetch(`http://${metricsAddress}/metrics`)).text();
  return Number(new RegExp(`^berth_spans_dropped_total\\{reason="${reason}"\\} (\\d+)$`, 'm').exec(text)?.[1]);
}

/** A call that changes something, is quick and has no steps: one span. */
const ask = () => daemon.runtime.stopPodSandbox({ podSandboxId: 'f'.repeat(64) });

/** The spans of a trace, once all of it is there: spans are sent in the order of their calls. */
async function spansOf(traceId: string): Promise<Span[]> {
  const last = clientTrace();
  await daemon.runtime.stopPodSandbox({ podSandboxId: 'f'.repeat(64) }, last.options);
  await until('the span of a later call', async () => collector.spans.some((span) => span.traceId === last.traceId));
  return collector.spans.filter((span) => span.traceId === traceId);
}

function checkSteps(all: readonly Span[], server: Span): void {
  for (const step of all.filter(({ parentSpanId }) => parentSpanId === server.spanId)) {
    assert.ok(
      BigInt(step.startTimeUnixNano) >= BigInt(server.startTimeUnixNano),
      `${step.name} begins within its call`,
    );
    assert.ok(BigInt(step.endTimeUnixNano) <= BigInt(server.endTimeUnixNano), `${step.name} ends within its call`);
    assert.equal(step.attributes['berth.step.kind'], step.name.split(':')[0]);
  }
}

/** All of a pod in the trace of its client; returns its spans. */
async function life(name: string): Promise<Span[]> {
  const { traceId, spanId, options } = clientTrace();
  const { runtime, images } = daemon;
  const config = podConfig(daemon, name, { annotations: { token: secret } });
  await images.pullImage({ image: { image: busybox }, auth: { username: 'u', password: secret } }, options);
  const { podSandboxId } = await runtime.runPodSandbox({ config }, options);
  const container = {
    metadata: { name: 'c', attempt: 0 },
    image: { image: busybox },
    logPath: 'c.log',
    command: ['/bin/sh', '-c', `: ${secret}; exec sleep 1000`],
    envs: [{ key: 'TOKEN', value: Buffer.from(secret) }],
  };
  const request = { podSandboxId, config: container, sandboxConfig: config };
  const { containerId } = await runtime.createContainer(request, options);
  await runtime.startContainer({ containerId }, options);
  const cmd = ['/bin/sh', '-c', `: ${secret}; sleep 0.3`];
  await runtime.execSync({ containerId, cmd, timeout: 20n }, options);
  await runtime.listContainers({}, options);
  await runtime.containerStatus({ containerId }, options);
  await runtime.version({}, options);
  await runtime.stopContainer({ containerId, timeout: 0n }, options);
  await runtime.removeContainer({ containerId }, options);
  await runtime.stopPodSandbox({ podSandboxId }, options);
  await runtime.removePodSandbox({ podSandboxId }, options);
  const all = await spansOf(traceId);
  const servers = all.filter(({ kind }) => kind === 2);
  assert.deepEqual(
    servers.map((span) => span.name.replace(/^.*Service\//, '')).sort(),
    [
      ...['CreateContainer', 'ExecSync', 'PullImage', 'RemoveContainer', 'RemovePodSandbox', 'RunPodSandbox'],
      ...['StartContainer', 'StopContainer', 'StopPodSandbox'],
    ],
    'reads have no spans',
  );
  for (const server of servers) {
    assert.equal(server.parentSpanId, spanId);
    assert.equal(server.attributes['rpc.response.status_code'], 'OK');
    assert.equal(server.attributes['service.name'], 'berth');
    checkSteps(all, server);
    if (server.name.includes('Image')) continue;
    assert.equal(server.attributes['k8s.pod.name'], name);
    assert.equal(server.attributes['k8s.namespace.name'], 'test');
    assert.equal(server.attributes['k8s.pod.uid'], `uid-${name}`);
    assert.equal(server.attributes['berth.pod.id'], podSandboxId);
    if (/(Create|Start|Stop|Remove)Container$|ExecSync/.test(server.name))
      assert.equal(server.attributes['container.id'], containerId);
  }
  assert.equal(servers.find((span) => /PullImage/.test(span.name))!.attributes['container.image.name'], busybox);
  const line = await until('the line of the log', async () =>
    daemon.logged.find(({ msg, pod }) => msg === 'RunPodSandbox' && pod === podSandboxId),
  );
  assert.equal(line.trace, traceId);
  return all;
}

const stepsOf = (all: readonly Span[], method: string): string[] => {
  const server = all.find(({ name }) => name === `${service}/${method}`)!;
  return all.filter(({ parentSpanId }) => parentSpanId === server.spanId).map(({ name }) => name);
};

test("a pod's whole life is one trace, that of its client, over HTTP and over gRPC", async () => {
  for (const [name, tracing] of [
    ['over-http', { endpoint: collector.http }],
    ['over-grpc', { endpoint: collector.grpc, protocol: 'grpc' }],
  ] as const) {
    await trace(tracing);
    const all = await life(name);
    const run = stepsOf(all, 'RunPodSandbox');
    for (const step of ['process: bridge ADD', 'shim: spawn', 'process: pause, with its namespaces', 'record: pod'])
      assert.ok(run.includes(step), `${step} is among ${run}`);
    assert.ok(stepsOf(all, 'StartContainer').includes('process: crun run'));
    assert.ok(stepsOf(all, 'StopPodSandbox').some((step) => step.startsWith('undo: ')));
  }
  assert.doesNotMatch(collector.text, new RegExp(secret), 'no environment, command, annotation or login is sent');
});

test('a pull has the steps of its layers, and a failed one its code but no words', async () => {
  await trace({ endpoint: collector.http });
  const [pulled, failed] = [clientTrace(), clientTrace()];
  await daemon.images.removeImage({ image: { image: nginx } });
  await daemon.images.pullImage({ image: { image: nginx } }, pulled.options);
  const all = await spansOf(pulled.traceId);
  assert.ok(all.some(({ name }) => name === 'unpack'));
  assert.ok(all.some(({ name }) => name === 'registry: first bytes'));
  assert.ok(
    all.every(({ name }) => !/[0-9a-f]{12}/.test(name)),
    'a name is one for all layers',
  );
  const nowhere = { image: { image: 'localhost:1/none' }, auth: { username: 'u', password: secret } };
  await assert.rejects(daemon.images.pullImage(nowhere, failed.options));
  const [span] = await spansOf(failed.traceId);
  assert.equal(span!.attributes['rpc.response.status_code'], 'UNAVAILABLE');
  assert.equal(span!.attributes['error.type'], 'UNAVAILABLE');
  assert.equal(span!.attributes['rpc.grpc.status_code'], '14');
  assert.deepEqual(span!.status, { code: 2 });
});

test('a caller who does not sample is not told of; without a caller the ratio decides', async () => {
  await trace({ endpoint: collector.http, service_name: 'node-7' });
  const unsampled = clientTrace('00');
  await daemon.runtime.stopPodSandbox({ podSandboxId: 'a'.repeat(64) }, unsampled.options);
  await daemon.runtime.stopPodSandbox({ podSandboxId: 'b'.repeat(64) });
  const own = await until('a span without a caller', async () =>
    collector.spans.find(({ attributes }) => attributes['berth.pod.id'] === 'b'.repeat(64)),
  );
  assert.equal(own.parentSpanId ?? '', '');
  assert.equal(own.attributes['service.name'], 'node-7');
  await trace({ endpoint: collector.http, sampling: 0 });
  await daemon.runtime.stopPodSandbox({ podSandboxId: 'c'.repeat(64) });
  const sampled = clientTrace();
  await daemon.runtime.stopPodSandbox({ podSandboxId: 'd'.repeat(64) }, sampled.options);
  assert.equal((await spansOf(sampled.traceId)).length, 1);
  await trace({});
  const off = clientTrace();
  await daemon.runtime.stopPodSandbox({ podSandboxId: 'e'.repeat(64) }, off.options);
  await trace({ endpoint: collector.http });
  assert.deepEqual(await spansOf(unsampled.traceId), []);
  assert.deepEqual(await spansOf(off.traceId), []);
  assert.ok(!collector.text.includes('c'.repeat(64)));
});

test('an endpoint that refuses, leads elsewhere or is no such thing costs spans, which are counted', async () => {
  let elsewhere = 0;
  const trap = createServer((_, response) => {
    elsewhere++;
    response.end();
  }).listen(9104, '127.0.0.1');
  const server = createServer((request, response) => {
    response.writeHead(Number(request.url!.slice(1)), { location: 'http://127.0.0.1:9104/' });
    response.write(Buffer.alloc(1 << 20));
    response.end();
  }).listen(9103, '127.0.0.1');
  try {
    for (const code of [307, 404]) {
      await trace({ endpoint: `http://127.0.0.1:9103/${code}` });
      const before = await lost('refused');
      await ask();
      await until('it is counted', async () => (await lost('refused')) > before);
      await until('it is told, once', async () =>
        daemon.logged.some(({ msg, reason }) => /tracing\.endpoint/.test(`${msg}`) && reason === `HTTP ${code}`),
      );
    }
    assert.equal(elsewhere, 0);
  } finally {
    trap.close();
    server.close();
  }
});

test('one that hangs holds up no call and not the end; what there is no room for is counted', async () => {
  const silent = new Set<Socket>();
  const server = tcpServer((socket) => {
    silent.add(socket.resume());
    socket.on('error', () => {});
  }).listen(9105, '127.0.0.1');
  try {
    await trace({ endpoint: 'http://127.0.0.1:9105' });
    const before = await lost('queue_full');
    const worker = async () => {
      for (let i = 0; i < 300; i++) await ask();
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    assert.ok((await lost('queue_full')) - before >= 8 * 300 - 2048 - 512);
    await until('it is asked', async () => silent.size > 0);
    const slow = clientTrace();
    const config = podConfig(daemon, 'beside-the-silent');
    const { podSandboxId } = await daemon.runtime.runPodSandbox({ config }, slow.options);
    await daemon.runtime.removePodSandbox({ podSandboxId }, slow.options);
    await daemon.stop(); // returns when the process is gone
  } finally {
    for (const socket of silent) socket.destroy();
    server.close();
    await once(server, 'close');
  }
});

test('what is not sent yet when the daemon is told to end is sent then', async () => {
  configure({ endpoint: collector.http });
  await daemon.start();
  const { traceId, options } = clientTrace();
  await daemon.runtime.stopPodSandbox({ podSandboxId: 'a'.repeat(64) }, options);
  await daemon.stop();
  await until('its span', async () => collector.spans.some((span) => span.traceId === traceId));
  await daemon.start();
});
