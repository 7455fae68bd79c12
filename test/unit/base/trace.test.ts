import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { doing, step, stepElsewhere, Traces, traced } from '../../../src/base/trace.ts';

const namesOf = (traces: Traces, pod: string) =>
  traces.of(pod).flatMap(({ calls }) => calls.map(({ call, spans }) => [call, ...spans.map(({ name }) => name)]));

test('steps of a call are kept for its pod, those of other calls at the same time with theirs', async () => {
  const traces = new Traces();
  const call = (pod: string) =>
    traces.call('RunPodSandbox', async () => {
      traced(pod, pod);
      await step(`file: of ${pod}`, () => turn());
      step(`spec: of ${pod}`, () => 1);
      return pod;
    });
  assert.deepEqual(await Promise.all([call('a1'), call('b2')]), ['a1', 'b2']);
  assert.deepEqual(namesOf(traces, 'a'), [['RunPodSandbox', 'file: of a1', 'spec: of a1']]);
  assert.deepEqual(namesOf(traces, 'b2'), [['RunPodSandbox', 'file: of b2', 'spec: of b2']]);
});

test('a failing call and a failing step are kept, and fail', async () => {
  const traces = new Traces();
  const failing = traces.call('StartContainer', async () => {
    traced('p', 'c');
    await step('record: container', () => Promise.reject(new Error('no disk')));
  });
  await assert.rejects(failing, /no disk/);
  const [{ calls } = { calls: [] }] = traces.of('p');
  assert.deepEqual(
    calls.map(({ object, failed, spans }) => [object, failed, spans.length]),
    [['c', true, 1]],
  );
});

test('what goes on in the context of a call that has ended is not its work', async () => {
  const traces = new Traces();
  const later = Promise.withResolvers<void>();
  let listening: Promise<void> = Promise.resolve();
  await traces.call('RunPodSandbox', () => {
    traced('p', 'p');
    listening = later.promise.then(() => step('undo: much later', () => {}));
  });
  later.resolve();
  await listening;
  assert.deepEqual(namesOf(traces, 'p'), [['RunPodSandbox']]);
});

test('calls for no pod are not kept, nor steps outside of calls', async () => {
  const traces = new Traces();
  assert.equal(await traces.call('StopPodSandbox', () => step('file: x', () => 7)), 7);
  assert.equal(
    step('file: y', () => 8),
    8,
  );
  assert.deepEqual(traces.of(''), []);
});

test('times of another process are on the same clock', async () => {
  const traces = new Traces();
  await traces.call('ExecSync', () => {
    traced('p', 'c');
    const now = Number(process.hrtime.bigint() / 1000n);
    stepElsewhere('process: true', now - 2000, now);
    stepElsewhere('process: of a shim that does not say', 0, 0);
  });
  const [{ calls } = { calls: [] }] = traces.of('p');
  const [{ end, spans } = { end: 0, spans: [] }] = calls;
  assert.equal(spans.length, 1);
  assert.equal(Math.round(spans[0]!.end - spans[0]!.begin), 2);
  assert.ok(Math.abs(end - spans[0]!.end) < 100);
});

test('of many calls the oldest probes go first, of many pods those that were touched first', async () => {
  const traces = new Traces();
  const call = (name: string, pod: string) => traces.call(name, () => traced(pod, pod));
  for (const name of ['RunPodSandbox', 'CreateContainer', 'StartContainer']) await call(name, 'pod');
  for (let probe = 0; probe < 100; probe++) await call('ExecSync', 'pod');
  const names = namesOf(traces, 'pod').map(([name]) => name);
  assert.deepEqual(names.slice(0, 4), ['RunPodSandbox', 'CreateContainer', 'StartContainer', 'ExecSync']);
  assert.equal(names.length, 40);
  for (let index = 0; index < 512; index++) await call('RunPodSandbox', `other-${index}`);
  assert.deepEqual(traces.of('pod'), []);
  assert.equal(traces.of('other').length, 512);
});

test('what a call does at this moment is told while it lasts, also of a call that is not kept', async () => {
  const traces = new Traces();
  const { promise, resolve } = Promise.withResolvers<void>();
  const work = () => {
    traced('p', 'c');
    return step('file: all', () => doing('look: one', () => promise));
  };
  const call = traces.call('Version', work, { kept: false });
  const [under] = traces.underWay();
  assert.deepEqual([under!.call, under!.pod, under!.object], ['Version', 'p', 'c']);
  assert.deepEqual(
    under!.doing.map(({ name }) => name),
    ['file: all', 'look: one'],
  );
  resolve();
  await call;
  assert.deepEqual(traces.underWay(), []);
  assert.deepEqual(namesOf(traces, 'p'), []);
});
