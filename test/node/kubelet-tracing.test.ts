// kubelet's own traces go on in Berth: what it asks for a pod is one trace, its span above each of Berth's.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Collector, ensureCollector } from '../collector/index.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { until } from '../harness/pods.ts';
import { endTestRegistry, pullTestImages } from '../harness/suite.ts';
import { ensureKubelet } from '../kubernetes/index.ts';
import { isReady, Kubelet } from '../kubernetes/kubelet.ts';

await ownHost(async () => {
  await ensureKubelet();
  await ensureCollector();
});

test("kubelet's spans are the parents of Berth's, and its reads bring none", async () => {
  await using collector = await Collector.start();
  const daemon = new TestDaemon({ settings: { tracing: { endpoint: collector.grpc, protocol: 'grpc', sampling: 0 } } });
  await daemon.start();
  try {
    const { busybox } = await pullTestImages(daemon);
    const tracing = { endpoint: new URL(collector.grpc).host, samplingRatePerMillion: 1_000_000 };
    const kubelet = new Kubelet(daemon, { tracing });
    await kubelet.start();
    try {
      kubelet.apply('traced', {
        terminationGracePeriodSeconds: 1,
        containers: [{ name: 'c', image: busybox, command: ['/bin/sleep', '1000'] }],
      });
      const pod = await kubelet.untilPod('traced', 'to be ready', ({ status }) => isReady(status));
      const made = ['RunPodSandbox', 'CreateContainer', 'StartContainer'];
      const of = (service: string) =>
        collector.spans.filter(({ attributes }) => attributes['service.name'] === service);
      const ours = await until('the spans of Berth', async () => {
        const all = made.map((method) =>
          of('berth').find(
            ({ name, attributes }) =>
              name === `runtime.v1.RuntimeService/${method}` && attributes['k8s.pod.uid'] === pod.metadata.uid,
          ),
        );
        return all.every((span) => span !== undefined) && all;
      });
      for (const span of ours) {
        const parent = await until(`kubelet's span of ${span.name}`, async () =>
          of('kubelet').find(({ spanId }) => spanId === span.parentSpanId),
        );
        assert.equal(parent.traceId, span.traceId);
        assert.equal(parent.name, span.name, 'its client has named it the same');
        assert.equal(parent.kind, 3); // CLIENT
      }
      assert.equal(new Set(ours.map(({ traceId }) => traceId)).size, 1, 'one sync of the pod, one trace');
      assert.ok(
        of('kubelet').some(({ name }) => name.endsWith('/ListPodSandbox')),
        'kubelet tells of its reads',
      );
      const reads = of('berth').filter(({ name, attributes, startTimeUnixNano: begin, endTimeUnixNano: end }) => {
        const quick = BigInt(end) - BigInt(begin) < 250_000_000n;
        return (
          quick && attributes['rpc.response.status_code'] === 'OK' && /\/(List|Version|Status|.*Status$)/.test(name)
        );
      });
      assert.deepEqual(reads, []);
    } finally {
      await kubelet.dispose();
    }
  } finally {
    await daemon.dispose();
    await endTestRegistry();
  }
});
