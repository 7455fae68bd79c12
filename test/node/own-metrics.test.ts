// What Berth tells Prometheus of itself, read by Prometheus' own client library.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { TestPod, until, untilExited } from '../harness/pods.ts';
import { endTestRegistry, pullTestImages } from '../harness/suite.ts';
import { finish, openCommand } from '../streaming/spdy-client.ts';

await ownHost();

/** A port of this test's own network. */
const address = '127.0.0.1:9102';
let daemon: TestDaemon;
let busybox: string;
before(async () => {
  daemon = new TestDaemon({ settings: { metrics: { address } } });
  await daemon.start();
  ({ busybox } = await pullTestImages(daemon));
});
after(async () => {
  await daemon.dispose();
  await endTestRegistry();
});

const scrape = async () => {
  const response = await fetch(`http://${address}/metrics`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/);
  return response.text();
};

type Family = { readonly name: string; readonly type: string; readonly help: string };
type Read = {
  readonly families: Family[];
  readonly samples: [name: string, labels: Record<string, string>, value: number][];
};
const parser = `
import json, sys
from prometheus_client.parser import text_string_to_metric_families as parse
families, samples = [], []
for f in parse(sys.stdin.read()):
    families.append({'name': f.name, 'type': f.type, 'help': f.documentation})
    samples += [[s.name, s.labels, s.value] for s in f.samples]
print(json.dumps({'families': families, 'samples': samples}))
`;
const read = (text: string): Read =>
  JSON.parse(execFileSync('/usr/bin/python3', ['-c', parser], { input: text, encoding: 'utf8' }));
const valueIn = ({ samples }: Read, name: string, labels: Record<string, string> = {}): number | undefined =>
  samples.find(([its, all]) => its === name && Object.entries(labels).every(([key, value]) => all[key] === value))?.[2];

test('calls, pods, containers, ends, pulls and the daemon itself are counted', async () => {
  const before = read(await scrape());
  const pod = await TestPod.run(daemon, 'counted');
  const id = await pod.sh('c', busybox, 'exit 3');
  await untilExited(daemon, id);
  await assert.rejects(daemon.runtime.startContainer({ containerId: '0'.repeat(64) }));
  const text = await scrape();
  const now = read(text);
  const grown = (name: string, labels: Record<string, string> = {}) =>
    (valueIn(now, name, labels) ?? 0) - (valueIn(before, name, labels) ?? 0);
  assert.equal(grown('berth_calls_total', { method: 'RunPodSandbox', code: 'OK' }), 1);
  assert.equal(grown('berth_calls_total', { method: 'StartContainer', code: 'NOT_FOUND' }), 1);
  assert.equal(grown('berth_call_duration_seconds_count', { method: 'StartContainer' }), 2);
  assert.equal(grown('berth_call_duration_seconds_bucket', { method: 'RunPodSandbox', le: '+Inf' }), 1);
  assert.equal(grown('berth_container_exits_total', { reason: 'Error' }), 1);
  assert.equal(valueIn(now, 'berth_pods', { state: 'ready' }), 1);
  assert.equal(valueIn(now, 'berth_containers', { state: 'exited' }), 1);
  assert.ok(valueIn(now, 'berth_images')! >= 2);
  assert.ok(valueIn(now, 'berth_pulled_bytes_total')! > 100_000);
  assert.ok(grown('berth_step_seconds_total', { kind: 'process' }) > 0);
  assert.ok(valueIn(now, 'berth_start_seconds', { until: 'serving' })! > 0);
  assert.ok(valueIn(now, 'process_resident_memory_bytes')! > 10e6);
  assert.ok(valueIn(now, 'process_cpu_seconds_total')! > 0);
  assert.equal(valueIn(now, 'berth_calls_under_way'), 0);
  await pod.remove();
});

test('a stream is counted when a client connects, and open until it is over', async () => {
  const pod = await TestPod.run(daemon, 'streamed');
  const containerId = await pod.sh('c', busybox, 'sleep 1000');
  const { url } = await daemon.runtime.exec({ containerId, cmd: ['cat'], stdin: true, stdout: true });
  const streams = async () => {
    const now = read(await scrape());
    return ['berth_streams_total', 'berth_streams_open'].map((name) => valueIn(now, name, { kind: 'exec' }));
  };
  assert.deepEqual(await streams(), [0, 0]);
  const client = await openCommand(url, ['stdin', 'stdout']);
  assert.deepEqual(await streams(), [1, 1]);
  client.stdin.end();
  await finish(client);
  await until('the end of the stream', async () => (await streams())[1] === 0);
  assert.deepEqual(await streams(), [1, 0]);
  await pod.remove();
});

test('a daemon with pods that do nothing sleeps', async () => {
  const pod = await TestPod.run(daemon, 'sleeps');
  for (const name of ['a', 'b']) await pod.sh(name, busybox, 'exec sleep 1000');
  const wakeups = () =>
    Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))![1]);
  // What was begun may be under way still: a collection of garbage, say.
  await until('it sleeps', async () => {
    const before = wakeups();
    await delay(3000);
    return wakeups() - before <= 3; // a tick each second would be one more
  });
  await pod.remove();
});

test('names follow the conventions, and nothing of a pod is in a label', async () => {
  const { families, samples } = read(await scrape());
  for (const { name, type, help } of families) {
    assert.match(name, /^(berth|process|nodejs)_[a-z_]+$/);
    assert.notEqual(type, 'unknown', name);
    assert.match(help, /\.$/, name);
    assert.doesNotMatch(name, /_(ms|kb|milliseconds)$/);
  }
  const labels = new Set(samples.flatMap(([, all]) => Object.keys(all)));
  assert.deepEqual([...labels].sort(), ['code', 'kind', 'le', 'method', 'reason', 'state', 'until', 'version']);
});

test('nothing else is served there, and an address that is taken stops no daemon', async () => {
  assert.equal((await fetch(`http://${address}/`)).status, 404);
  const posted = await fetch(`http://${address}/metrics`, { method: 'POST' });
  assert.deepEqual([posted.status, posted.headers.get('allow')], [405, 'GET, HEAD']);
  const asked = await fetch(`http://${address}/metrics`, { method: 'HEAD' });
  assert.deepEqual([asked.status, await asked.text()], [200, '']);
  const other = createServer().listen(9103, '127.0.0.1');
  const second = new TestDaemon({ network: false, settings: { metrics: { address: '127.0.0.1:9103' } } });
  try {
    await second.start();
    assert.equal((await second.runtime.version({})).runtimeName, 'berth');
    assert.ok(
      second.logged.some(({ msg, reason }) => /metrics\.address/.test(`${msg}`) && /EADDRINUSE/.test(`${reason}`)),
    );
  } finally {
    await second.dispose();
    other.close();
  }
});

/** A connection to the metrics, when it is there, and how many answers came on it until its end. */
async function connected(): Promise<{ socket: Socket; answers: Promise<number> }> {
  const socket = connect(9102, '127.0.0.1').on('error', () => {});
  await once(socket, 'connect');
  let heard = '';
  socket.setEncoding('latin1').on('data', (text) => {
    heard += text;
  });
  const answers = once(socket, 'close').then(() => heard.split('HTTP/1.1 200').length - 1);
  return { socket, answers };
}

test('who asks a thousand times without taking an answer is cut off, and no answer is made for the rest', async () => {
  const { socket, answers } = await connected();
  socket.write('GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(1000));
  assert.ok((await answers) <= 1);
  assert.match(await scrape(), /berth_pods/);
});

test('connections that say nothing make room', async () => {
  const silent = await Promise.all(Array.from({ length: 32 }, connected));
  await Promise.all(silent.map(({ answers }) => answers));
  assert.match(await scrape(), /berth_pods/);
});
