// Figures against the kernel's own files, and events against what was done.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { status as grpc, Metadata } from '@grpc/grpc-js';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { pidsIn } from '../../src/sys/cgroups.ts';
import { cgroupFile, cgroupV2, weightOf } from '../harness/cgroups.ts';
import type { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, refused, TestPod, until, untilExited } from '../harness/pods.ts';
import { openStream } from '../harness/stream-calls.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';

await ownHost();

const { CONTAINER_CREATED_EVENT, CONTAINER_STARTED_EVENT, CONTAINER_STOPPED_EVENT, CONTAINER_DELETED_EVENT } =
  cri.ContainerEventType;

/** In nanoseconds, as the kernel says it now. */
async function cpuTime(daemon: TestDaemon, id: string): Promise<number> {
  const text = await cgroupFile(daemon, id, 'cpuacct/cpuacct.usage', 'cpu.stat');
  return cgroupV2 ? Number(/^usage_usec (\d+)$/m.exec(text)![1]) * 1000 : Number(text);
}

const within = (actual: number, expected: number, share: number, what: string) =>
  assert.ok(
    Math.abs(actual - expected) <= expected * share,
    `${what}: ${actual} is not within ${share} of ${expected}`,
  );

suite('stats', {}, (bench) => {
  const busy =
    'dd if=/dev/zero of=/dev/shm/block bs=1M count=50 2>/dev/null; dd if=/dev/zero of=/layer bs=1M count=3 2>/dev/null; echo ready; i=0; while true; do i=$((i+1)); done';

  test('ContainerStats agree with the cgroup files and the layer', async () => {
    const { runtime } = bench.daemon;
    const pod = await TestPod.run(bench.daemon, 'stats');
    const containerId = await pod.sh('c', bench.image.busybox, busy, { labels: { a: 'b' } });
    await until('its memory', async () => pod.log('c').length > 0);
    const { stats } = await runtime.containerStats({ containerId });
    const cpu = await cpuTime(bench.daemon, containerId);
    const memory = Number(
      await cgroupFile(bench.daemon, containerId, 'memory/memory.usage_in_bytes', 'memory.current'),
    );
    assert.deepEqual([stats?.attributes?.id, stats?.attributes?.labels], [containerId, { a: 'b' }]);
    within(Number(stats?.memory?.usageBytes?.value), memory, 0.02, 'memory');
    assert.ok(Number(stats?.memory?.workingSetBytes?.value) >= 50 << 20, 'shared memory counts');
    assert.ok(Number(stats?.cpu?.usageCoreNanoSeconds?.value) <= cpu);
    assert.ok(Number(stats?.writableLayer?.usedBytes?.value) >= 3 << 20);
    assert.ok(Number(stats?.writableLayer?.inodesUsed?.value) >= 1);
    const first = Number(stats?.cpu?.usageCoreNanoSeconds?.value);
    const later = await until('CPU time', async () => {
      const { stats: now } = await runtime.containerStats({ containerId });
      return Number(now?.cpu?.usageCoreNanoSeconds?.value) > first && now;
    });
    assert.ok(Number(later.cpu?.usageNanoCores?.value) > 0, 'a rate over a real interval');
    await pod.remove();
  });

  test('PodSandboxStats have the network, the processes and every container', async () => {
    const { runtime } = bench.daemon;
    const pod = await TestPod.run(bench.daemon, 'podstats');
    await pod.sh(
      'server',
      bench.image.busybox,
      'mkdir /www; dd if=/dev/zero of=/www/x bs=1M count=4 2>/dev/null; exec httpd -f -p 80 -h /www',
    );
    await pod.sh('idle', bench.image.busybox, 'sleep 1000');
    const size = await until('the file', async () => {
      try {
        return (await (await fetch(`http://${await pod.ip()}/x`)).arrayBuffer()).byteLength;
      } catch {
        return undefined;
      }
    });
    const { stats } = await runtime.podSandboxStats({ podSandboxId: pod.id });
    assert.equal(stats?.linux?.containers.length, 2);
    assert.equal(stats?.linux?.network?.defaultInterface?.name, 'eth0');
    assert.ok(Number(stats?.linux?.network?.defaultInterface?.txBytes?.value) > size);
    assert.equal(stats?.linux?.process?.processCount?.value, 3n, 'pause, httpd, sleep');
    assert.ok(Number(stats?.linux?.memory?.usageBytes?.value) > 0);
    const host = await TestPod.run(bench.daemon, 'hoststats', hostNetwork);
    const { stats: own } = await runtime.podSandboxStats({ podSandboxId: host.id });
    assert.ok(own?.linux, 'the pod itself');
    assert.equal(own.linux.network, undefined, "the host's interfaces are not the pod's");
    await runtime.stopPodSandbox({ podSandboxId: pod.id });
    const { stats: ended } = await runtime.podSandboxStats({ podSandboxId: pod.id });
    assert.deepEqual([ended?.attributes?.id, ended?.linux?.network, ended?.linux?.cpu], [pod.id, undefined, undefined]);
  });

  test('lists and streams filter alike, and leave out what does not run', async () => {
    const { runtime, socket } = bench.daemon;
    const pods = await Promise.all(
      ['l0', 'l1', 'l2'].map((name) => TestPod.run(bench.daemon, name, { labels: { name } })),
    );
    const ids = await Promise.all(
      pods.map((pod) => pod.sh('c', bench.image.busybox, 'sleep 1000', { labels: { of: pod.config.metadata!.name! } })),
    );
    await pods[2]!.create('never-started', bench.image.busybox);
    const stats = async (filter: object) =>
      (await runtime.listContainerStats({ filter })).stats.map(({ attributes }) => attributes?.id);
    assert.deepEqual((await stats({})).sort(), ids.toSorted());
    assert.deepEqual(await stats({ id: ids[0]!.slice(0, 12) }), [ids[0]]);
    assert.deepEqual(await stats({ podSandboxId: pods[1]!.id }), [ids[1]]);
    assert.deepEqual(await stats({ labelSelector: { of: 'l2' } }), [ids[2]]);
    assert.deepEqual(await stats({ labelSelector: { of: 'l2' }, podSandboxId: pods[1]!.id }), []);
    const { stats: podStats } = await runtime.listPodSandboxStats({ filter: { labelSelector: { name: 'l1' } } });
    assert.deepEqual(
      podStats.map(({ attributes }) => attributes?.id),
      [pods[1]!.id],
    );

    using client = openStream(cri.RuntimeServiceClient, cri, socket);
    const all = async <T>(answers: AsyncIterable<T>): Promise<T[]> => Array.fromAsync(answers);
    const streamed = {
      pods: (await all(client.streamPodSandboxes({}))).flatMap((answer) => answer.podSandboxes.map(({ id }) => id)),
      containers: (await all(client.streamContainers({ filter: { podSandboxId: pods[0]!.id } }))).flatMap((answer) =>
        answer.containers.map(({ id }) => id),
      ),
      containerStats: (await all(client.streamContainerStats({}))).flatMap((answer) =>
        answer.containerStats.map(({ attributes }) => attributes?.id),
      ),
      podStats: (await all(client.streamPodSandboxStats({}))).flatMap((answer) =>
        answer.podSandboxStats.map(({ attributes }) => attributes?.id),
      ),
    };
    assert.deepEqual(streamed.pods.sort(), pods.map(({ id }) => id).sort());
    assert.deepEqual(streamed.containers, [ids[0]]);
    assert.deepEqual(streamed.containerStats.sort(), ids.toSorted());
    assert.deepEqual(streamed.podStats.sort(), pods.map(({ id }) => id).sort());
    using images = openStream(cri.ImageServiceClient, cri, socket);
    const listed = (await bench.daemon.images.listImages({})).images.map(({ id }) => id);
    assert.deepEqual(
      (await all(images.streamImages({}))).flatMap((answer) => answer.images.map(({ id }) => id)),
      listed,
    );
  });

  test('unknown ids and bad filters are refused', async () => {
    const { runtime } = bench.daemon;
    await refused(runtime.containerStats({ containerId: 'f'.repeat(64) }), grpc.NOT_FOUND);
    await refused(runtime.podSandboxStats({ podSandboxId: 'f'.repeat(64) }), grpc.NOT_FOUND);
    await refused(runtime.containerStats({ containerId: '' }), grpc.INVALID_ARGUMENT);
    const pod = await TestPod.run(bench.daemon, 'still');
    const created = await pod.create('created', bench.image.busybox, { command: ['/bin/true'] });
    const ended = await pod.sh('ended', bench.image.busybox, 'true');
    await untilExited(bench.daemon, ended);
    for (const containerId of [created, ended])
      await refused(runtime.containerStats({ containerId }), grpc.FAILED_PRECONDITION, /is not running/);
    await pod.remove();
    await refused(runtime.listContainerStats({ filter: { id: 'a\0' } }), grpc.INVALID_ARGUMENT);
  });
});

suite('events', {}, (bench) => {
  test('fifty pods churned in parallel: every object has its events in order, for each subscriber', async () => {
    const { daemon } = bench;
    const subscribers = [0, 1].map(() => openStream(cri.RuntimeServiceClient, cri, daemon.socket));
    const seen = subscribers.map((client) => {
      const events: cri.ContainerEventResponse[] = [];
      void (async () => {
        for await (const event of client.getContainerEvents({})) events.push(event);
      })().catch(() => {}); // ends by cancel
      return events;
    });
    // A subscription has no answer of its own: a pod that both saw says that they are there.
    const first = await TestPod.run(daemon, 'first');
    await until('both subscriptions', async () => seen.every((events) => events.length > 0), 5000).catch(() => {});
    await first.remove();
    const ids = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const pod = await TestPod.run(daemon, `churn-${index}`, hostNetwork);
        const container = await pod.sh('c', bench.image.busybox, 'exit 0', hostNetwork);
        await until('its end', async () => {
          const { status } = await daemon.runtime.containerStatus({ containerId: container });
          return status?.state === cri.ContainerState.CONTAINER_EXITED;
        });
        await pod.remove();
        return { pod: pod.id, container };
      }),
    );
    const whole = [CONTAINER_CREATED_EVENT, CONTAINER_STARTED_EVENT, CONTAINER_STOPPED_EVENT, CONTAINER_DELETED_EVENT];
    for (const events of seen) {
      const of = (id: string) => events.filter(({ containerId }) => containerId === id);
      await until('the last event', async () => ids.every(({ pod }) => of(pod).length === 4));
      for (const { pod, container } of ids) {
        assert.deepEqual(
          of(pod).map((event) => event.containerEventType),
          whole,
        );
        assert.deepEqual(
          of(container).map((event) => event.containerEventType),
          whole,
        );
        const stopped = of(container)[2]!;
        assert.equal(stopped.podSandboxStatus?.id, pod);
        assert.equal(
          stopped.containersStatuses.find(({ id }) => id === container)?.state,
          cri.ContainerState.CONTAINER_EXITED,
        );
      }
      const times = events.map(({ createdAt }) => createdAt);
      assert.deepEqual(
        times,
        times.toSorted((a, b) => (a < b ? -1 : 1)),
      );
    }
    for (const client of subscribers) client[Symbol.dispose]();
  });

  test('what failed while it was made is never announced', async () => {
    const { daemon } = bench;
    using client = openStream(cri.RuntimeServiceClient, cri, daemon.socket);
    const events: cri.ContainerEventResponse[] = [];
    void (async () => {
      for await (const event of client.getContainerEvents({})) events.push(event);
    })().catch(() => {});
    const pod = await TestPod.run(daemon, 'announced');
    await refused(pod.create('c', 'localhost/not/here:1'), grpc.NOT_FOUND);
    await refused(
      pod.create('c', bench.image.busybox, { linux: { securityContext: { runAsUsername: 'nobody-here' } } }),
      grpc.FAILED_PRECONDITION,
    );
    await pod.remove();
    await until('the end of the pod', async () =>
      events.some((event) => event.containerEventType === CONTAINER_DELETED_EVENT),
    );
    assert.deepEqual([...new Set(events.map(({ containerId }) => containerId))], [pod.id]);
  });

  test('a client that was away is told what it missed', async () => {
    const { daemon } = bench;
    const pod = await TestPod.run(daemon, 'missed');
    await pod.remove();
    using client = openStream(cri.RuntimeServiceClient, cri, daemon.socket);
    const metadata = new Metadata();
    metadata.set('berth-events-since', '0');
    const types: number[] = [];
    for await (const event of client.getContainerEvents({}, metadata)) {
      if (event.containerId !== pod.id) continue;
      types.push(event.containerEventType);
      if (event.containerEventType === CONTAINER_DELETED_EVENT) break;
    }
    assert.deepEqual(types, [
      CONTAINER_CREATED_EVENT,
      CONTAINER_STARTED_EVENT,
      CONTAINER_STOPPED_EVENT,
      CONTAINER_DELETED_EVENT,
    ]);
  });
});

for (const handler of ociRuntimes) {
  suite(`resource updates with ${handler}`, { handler }, (bench) => {
    const limits = async (id: string) => {
      const quota = await cgroupFile(bench.daemon, id, 'cpu/cpu.cfs_quota_us', 'cpu.max');
      return [
        Number(await cgroupFile(bench.daemon, id, 'cpu/cpu.shares', 'cpu.weight')),
        Number(quota.split(' ')[0]),
        Number(await cgroupFile(bench.daemon, id, 'memory/memory.limit_in_bytes', 'memory.max')),
      ];
    };
    const shares = (value: number) => (cgroupV2 ? weightOf(value) : value);

    test('a running container gets the new limits, keeps the others, and shows them', async () => {
      const { daemon } = bench;
      const { runtime } = daemon;
      const pod = await TestPod.run(daemon, 'update');
      const linux = {
        resources: { cpuShares: 200n, cpuQuota: 20_000n, cpuPeriod: 100_000n, memoryLimitInBytes: 64n << 20n },
      };
      const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000', { linux });
      assert.deepEqual(await limits(containerId), [shares(200), 20_000, 64 << 20]);
      await runtime.updateContainerResources({
        containerId,
        linux: { cpuShares: 512n, memoryLimitInBytes: 128n << 20n },
      });
      assert.deepEqual(await limits(containerId), [shares(512), 20_000, 128 << 20]);
      const { status } = await runtime.containerStatus({ containerId });
      assert.equal(status?.resources?.linux?.cpuShares, 512n);
      assert.equal(status?.resources?.linux?.cpuQuota, 20_000n);
      // Kernel: a period above one second is refused; shares were set before it, and must be put back.
      await refused(
        runtime.updateContainerResources({ containerId, linux: { cpuShares: 999n, cpuPeriod: 5_000_000n } }),
        grpc.INVALID_ARGUMENT,
        /limits of container/,
      );
      assert.deepEqual(await limits(containerId), [shares(512), 20_000, 128 << 20]);
      await pod.remove();
    });

    test('a limit is taken away, the OOM score goes along, and verbose information shows what is in force', async () => {
      const { runtime } = bench.daemon;
      const pod = await TestPod.run(bench.daemon, 'update-more');
      const resources = { cpuQuota: 20_000n, cpuPeriod: 100_000n, oomScoreAdj: 300n };
      const script = 'sleep 1001 & sleep 1000';
      const containerId = await pod.sh('c', bench.image.busybox, script, { linux: { resources } });
      await runtime.updateContainerResources({ containerId, linux: { cpuQuota: -1n, oomScoreAdj: 500n } });
      const [, quota] = await limits(containerId);
      assert.ok(quota === -1 || Number.isNaN(quota), `${quota}: none`); // v2 says max
      const scores = (await pidsIn(`/${bench.daemon.name}/${pod.id}/${containerId}`)).map((pid) =>
        readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8').trim(),
      );
      assert.deepEqual(scores, ['500', '500', '500'].slice(0, scores.length));
      const cmd = ['/bin/cat', '/proc/self/oom_score_adj'];
      const { stdout } = await runtime.execSync({ containerId, cmd, timeout: 10n });
      // runc gives an exec what its own state of the container says, which no update changes.
      if (handler === 'crun') assert.equal(Buffer.from(stdout).toString(), '500\n');
      const { info } = await runtime.containerStatus({ containerId, verbose: true });
      const { runtimeSpec } = JSON.parse(info.info!);
      assert.equal(runtimeSpec.process.oomScoreAdj, 500);
      assert.equal(runtimeSpec.linux.resources.cpu.quota, -1);
      const created = await pod.create('created', bench.image.busybox, { command: cmd });
      await runtime.updateContainerResources({ containerId: created, linux: { oomScoreAdj: 400n } });
      await runtime.startContainer({ containerId: created });
      await untilExited(bench.daemon, created);
      assert.equal(pod.log('created')[0]?.text, '400');
      await pod.remove();
    });

    test('what processes have made of their own OOM score stays, unless the request says another', async () => {
      const { runtime } = bench.daemon;
      const pod = await TestPod.run(bench.daemon, 'update-own');
      const linux = { resources: { cpuShares: 300n, oomScoreAdj: 300n } };
      const script = 'echo 700 >/proc/self/oom_score_adj; echo done; while :; do sleep 1; done';
      const containerId = await pod.talking('c', bench.image.busybox, script, { linux });
      const { info } = await runtime.containerStatus({ containerId, verbose: true });
      const { pid } = JSON.parse(info.info!);
      const score = () => readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8').trim();
      for (const oomScoreAdj of [0n, 300n]) {
        await runtime.updateContainerResources({ containerId, linux: { cpuShares: 400n, oomScoreAdj } });
        assert.equal(score(), '700');
      }
      await runtime.updateContainerResources({ containerId, linux: { oomScoreAdj: 500n } });
      assert.equal(score(), '500');
      await pod.remove();
    });

    test('a created container starts with the new limits', async () => {
      const { daemon } = bench;
      const { runtime } = daemon;
      const pod = await TestPod.run(daemon, 'update-created');
      const containerId = await pod.create('c', bench.image.busybox, { command: ['/bin/sleep', '1000'] });
      await runtime.updateContainerResources({
        containerId,
        linux: { cpuShares: 300n, cpuQuota: 30_000n, cpuPeriod: 100_000n, memoryLimitInBytes: 32n << 20n },
      });
      await runtime.startContainer({ containerId });
      assert.deepEqual(await limits(containerId), [shares(300), 30_000, 32 << 20]);
      await runtime.stopContainer({ containerId, timeout: 0n });
      await refused(
        runtime.updateContainerResources({ containerId, linux: { cpuShares: 5n } }),
        grpc.FAILED_PRECONDITION,
      );
      await refused(
        runtime.updateContainerResources({ containerId: 'f'.repeat(64), linux: { cpuShares: 5n } }),
        grpc.NOT_FOUND,
      );
      await refused(runtime.updateContainerResources({ containerId }), grpc.INVALID_ARGUMENT, /linux is missing/);
      await refused(
        runtime.updateContainerResources({ containerId, linux: { cpuShares: -1n } }),
        grpc.INVALID_ARGUMENT,
      );
      await runtime.updatePodSandboxResources({ podSandboxId: pod.id, resources: { cpuShares: 77n } });
      const { info } = await runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
      assert.equal(JSON.parse(info.info!).config.linux.resources.cpu_shares, 77);
      await pod.remove();
    });
  });
}
