// Metrics look into every process of every pod: other calls have their turn between them.
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { ListPodSandboxMetricsResponse } from '../../../src/api/runtime/v1/cri.ts';
import { metricsHandlers } from '../../../src/cri/metrics-service.ts';
import { readCgroupUsage } from '../../../src/stats/cgroup-usage.ts';
import { containerIn, podIn, ready, running } from '../lifecycle/fakes.ts';

test('the loop goes round between pods and between containers, and all are told of', async () => {
  const id = (character: string, nth: number) => `${character}${String(nth).padStart(63, '0')}` as never;
  const pods = Array.from({ length: 20 }, (_, nth) => podIn(ready, { id: id('a', nth) }));
  const usage = readCgroupUsage('/berth-unit/none');
  const common = { at: 1, usage, cpuRate: 0 };
  const stats = {
    ofPod: async (pod: object) => ({
      ...common,
      pod,
      interfaces: [],
      containers: [1, 2].map((nth) => ({
        ...common,
        container: containerIn(running, id('c', nth)),
        layer: null,
        logLoss: { bytes: 0, lines: 0 },
      })),
    }),
  };
  const deps = { stats, snapshots: { root: tmpdir() }, pods: { all: () => pods } };
  let rounds = 0;
  let next: NodeJS.Immediate;
  const count = () => {
    rounds++;
    next = setImmediate(count);
  };
  count();
  const answer = await metricsHandlers(deps as never).listPodSandboxMetrics();
  clearImmediate(next!);
  const { podMetrics } = ListPodSandboxMetricsResponse.decode(answer);
  assert.equal(podMetrics.length, 20);
  assert.ok(podMetrics.every(({ metrics, containerMetrics }) => metrics.length > 0 && containerMetrics.length === 2));
  assert.ok(rounds >= 60, `${rounds} rounds`);
});
