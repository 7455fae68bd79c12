// The metrics as kubelet passes them on: rendered as it does, read by a Prometheus parser, compared with the kernel's files.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { cgroupFile, cgroupPath, cgroupV2 } from '../harness/cgroups.ts';
import { hostNetwork, TestPod, until } from '../harness/pods.ts';
import { openStream } from '../harness/stream-calls.ts';
import { suite } from '../harness/suite.ts';

type Sample = { name: string; labels: Record<string, string>; value: number };

const parser = `
import json, sys
from prometheus_client.parser import text_string_to_metric_families
print(json.dumps([{"name": s.name, "labels": s.labels, "value": s.value, "type": f.type, "help": f.documentation}
  for f in text_string_to_metric_families(sys.stdin.read()) for s in f.samples]))
`;

import { ownHost } from '../harness/own-host.ts';

await ownHost();

/** The Prometheus text of an answer, and what an independent parser makes of it. */
function parsed(descriptors: cri.MetricDescriptor[], pods: cri.PodSandboxMetrics[]): Sample[] {
  const all = pods.flatMap((pod) => [...pod.metrics, ...pod.containerMetrics.flatMap(({ metrics }) => metrics)]);
  const text = descriptors.flatMap(({ name, help, labelKeys }) => {
    const of = all.filter((metric) => metric.name === name);
    const type = of[0]?.metricType === cri.MetricType.COUNTER ? 'counter' : 'gauge';
    const lines = of.map(({ labelValues, value }) => {
      assert.equal(labelValues.length, labelKeys.length, name);
      return `${name}{${labelKeys.map((key, index) => `${key}=${JSON.stringify(labelValues[index])}`).join(',')}} ${value?.value}`;
    });
    return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines];
  });
  const json = execFileSync('/usr/bin/python3', ['-c', parser], {
    input: `${text.join('\n')}\n`,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  return JSON.parse(json);
}

suite('metrics', {}, (bench) => {
  test('every metric is described, parses, and agrees with the cgroup', async () => {
    const { daemon } = bench;
    const pod = await TestPod.run(daemon, 'metrics');
    const linux = {
      resources: { memoryLimitInBytes: 64n << 20n, cpuShares: 300n, cpuQuota: 50_000n, cpuPeriod: 100_000n },
    };
    const id = await pod.sh(
      'c',
      bench.image.busybox,
      'dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null; sleep 1000 & echo ready; wait',
      { linux },
    );
    await until('its memory', async () => pod.log('c').length > 0);
    const { descriptors } = await daemon.runtime.listMetricDescriptors({});
    const { podMetrics } = await daemon.runtime.listPodSandboxMetrics({});
    assert.equal(descriptors.length, 60);
    const described = new Set(descriptors.map(({ name }) => name));
    const samples = parsed(descriptors, podMetrics);
    assert.ok(samples.length > 60);
    // The parser gives every counter the ending that its newer format asks for.
    for (const { name } of samples) assert.ok(described.has(name) || described.has(name.replace(/_total$/, '')), name);
    const value = (name: string, more: Record<string, string> = {}): number => {
      const wanted = Object.entries({ id, ...more });
      const found = samples.find(
        (sample) => sample.name === name && wanted.every(([key, text]) => sample.labels[key] === text),
      );
      assert.ok(found, name);
      return found.value;
    };
    const memory = Number(await cgroupFile(daemon, id, 'memory/memory.usage_in_bytes', 'memory.current'));
    const usage = value('container_memory_usage_bytes');
    assert.ok(Math.abs(usage - memory) <= usage * 0.02);
    assert.ok(value('container_memory_cache') >= 40 << 20);
    assert.equal(value('container_spec_memory_limit_bytes'), 64 << 20);
    assert.deepEqual(
      [value('container_spec_cpu_shares'), value('container_spec_cpu_quota'), value('container_spec_cpu_period')],
      [300, 50_000, 100_000],
    );
    assert.ok(
      !samples.some(({ name, labels }) => name === 'container_spec_cpu_quota' && labels.id === pod.id),
      'none of the pod',
    );
    assert.equal(value('container_processes'), 2, 'the shell and sleep');
    assert.ok(value('container_start_time_seconds') > 1.7e9);
    const [labels] = samples
      .filter((sample) => sample.name === 'container_processes' && sample.labels.id === id)
      .map((sample) => sample.labels);
    const { namespace, pod: ofPod, container, image, name } = labels!;
    assert.deepEqual([namespace, ofPod, container, image, name], ['test', 'metrics', 'c', bench.image.busybox, id]);
    const whole = { id: pod.id, container: '', image: '', name: '', pod: 'metrics' };
    assert.ok(value('container_network_receive_bytes_total', { ...whole, interface: 'eth0' }) >= 0);
    // Who adds up the containers of a pod, as dashboards do, has no more than the pod.
    const containers = samples.filter(
      (sample) => sample.name === 'container_memory_rss' && sample.labels.pod === 'metrics' && sample.labels.container,
    );
    assert.deepEqual([containers.length, containers[0]?.labels.id], [1, id]);
    assert.ok(containers[0]!.value <= value('container_memory_rss', whole));
    const swapFile = await cgroupPath(daemon, id, 'memory/memory.memsw.limit_in_bytes', 'memory.swap.max');
    writeFileSync(swapFile, String((cgroupV2 ? 32 : 96) << 20));
    const later = parsed(descriptors, (await daemon.runtime.listPodSandboxMetrics({})).podMetrics);
    const ofLater = later.find((one) => one.name === 'container_spec_memory_swap_limit_bytes' && one.labels.id === id);
    assert.equal(ofLater?.value, 96 << 20, 'the limit in force, whoever set it');
    const { status } = await daemon.runtime.containerStatus({ containerId: id });
    assert.equal(status?.resources?.linux?.memorySwapLimitInBytes, 96n << 20n);
    using client = openStream(cri.RuntimeServiceClient, cri, daemon.socket);
    const streamed = (await Array.fromAsync(client.streamPodSandboxMetrics({}))).flatMap(
      (answer) => answer.podSandboxMetrics,
    );
    assert.deepEqual(
      streamed.map(({ podSandboxId }) => podSandboxId),
      [pod.id],
    );
  });

  test('a container without a log has the same series', async () => {
    const pod = await TestPod.run(bench.daemon, 'quiet');
    for (const [name, logPath] of Object.entries({ logged: 'l.log', unlogged: '' })) {
      const command = ['/bin/sleep', '1000'];
      const containerId = await pod.create(name, bench.image.busybox, { command, logPath });
      await bench.daemon.runtime.startContainer({ containerId });
    }
    const { podMetrics } = await bench.daemon.runtime.listPodSandboxMetrics({});
    const [one, other] = podMetrics[0]!.containerMetrics.map(({ metrics }) => new Set(metrics.map(({ name }) => name)));
    assert.deepEqual(one, other);
    await pod.remove();
  });

  test('stopped pods and the interfaces of the host are left out', async () => {
    const { daemon } = bench;
    const stopped = await TestPod.run(daemon, 'stopped', hostNetwork);
    await daemon.runtime.stopPodSandbox({ podSandboxId: stopped.id });
    const host = await TestPod.run(daemon, 'host', hostNetwork);
    const { podMetrics } = await daemon.runtime.listPodSandboxMetrics({});
    assert.deepEqual(
      podMetrics.map(({ podSandboxId }) => podSandboxId),
      [host.id],
    );
    assert.ok(!podMetrics[0]?.metrics.some(({ name }) => name.startsWith('container_network')));
  });
});
