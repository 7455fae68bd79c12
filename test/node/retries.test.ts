// A client whose deadline passes while the answer is under way asks again, and is given what was made for it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { connectTo } from '../../src/commands/rpc.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, podConfig, refused, TestPod } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

const creations = process.env.BERTH_SLOW ? 600 : 60;

/** From before any work is done to after most of it, in equal steps. */
const deadlineOf = (index: number, longest: number) => 1 + (index * longest) / creations;

suite('retries', {}, (bench) => {
  const client = () => connectTo(cri.RuntimeServiceClient, cri, bench.daemon.socket);

  /** The answer, or null if it did not come in time. */
  const impatient = async <T>(call: (options: { deadline: number }) => Promise<T>, ms: number): Promise<T | null> => {
    try {
      return await call({ deadline: Date.now() + ms });
    } catch (error) {
      assert.equal((error as { code: number }).code, grpc.DEADLINE_EXCEEDED, `${error}`);
      return null;
    }
  };

  test(`${creations} RunPodSandbox calls, cut off at any time: the retry has the pod, and a duplicate is refused`, async (t) => {
    const { daemon } = bench;
    const other = client();
    t.after(() => other.close());
    let heard = 0;
    for (let index = 0; index < creations; index++) {
      const config = podConfig(daemon, `cut-${index}`, { hostname: '', ...hostNetwork });
      const first = await impatient(
        (options) => daemon.runtime.runPodSandbox({ config }, options),
        deadlineOf(index, 15),
      );
      const { podSandboxId } = await daemon.runtime.runPodSandbox({ config });
      if (first) assert.equal(podSandboxId, first.podSandboxId);
      if (first) heard++;
      const { items } = await daemon.runtime.listPodSandbox({});
      assert.deepEqual(
        items.map(({ id }) => id),
        [podSandboxId],
      );
      await refused(other.runPodSandbox({ config }), grpc.ALREADY_EXISTS, new RegExp(podSandboxId));
      await refused(daemon.runtime.runPodSandbox({ config }), grpc.ALREADY_EXISTS, new RegExp(podSandboxId));
      await daemon.runtime.removePodSandbox({ podSandboxId });
    }
    t.diagnostic(`${heard} of ${creations} were answered in time`);
  });

  test(`${creations} CreateContainer calls, cut off at any time: the retry has the container`, async (t) => {
    const { daemon } = bench;
    const pod = await TestPod.run(daemon, 'pod', hostNetwork);
    let heard = 0;
    for (let index = 0; index < creations; index++) {
      // As kubelet asks again: with a new file for the container's last words.
      const request = (attempt: string) => ({
        podSandboxId: pod.id,
        sandboxConfig: pod.config,
        config: {
          metadata: { name: 'c', attempt: index },
          image: { image: bench.image.busybox },
          annotations: { 'io.kubernetes.container.terminationMessagePath': '/last-words' },
          mounts: [{ containerPath: '/last-words', hostPath: `${daemon.dir}/words-${index}-${attempt}` }],
          ...hostNetwork,
        },
      });
      const first = await impatient(
        (options) => daemon.runtime.createContainer(request('first'), options),
        deadlineOf(index, 20),
      );
      const { containerId } = await daemon.runtime.createContainer(request('second'));
      if (first) assert.equal(containerId, first.containerId);
      if (first) heard++;
      const { containers } = await daemon.runtime.listContainers({});
      assert.deepEqual(
        containers.map(({ id }) => id),
        [containerId],
      );
      await refused(daemon.runtime.createContainer(request('third')), grpc.ALREADY_EXISTS);
      await daemon.runtime.removeContainer({ containerId });
    }
    t.diagnostic(`${heard} of ${creations} were answered in time`);
    await pod.remove();
  });

  test('a retry that asks for something else is refused, and so is one of what is in use', async () => {
    const { daemon } = bench;
    const config = podConfig(daemon, 'other', hostNetwork);
    const soon = () => ({ deadline: Date.now() + 900 });
    const { podSandboxId } = await daemon.runtime.runPodSandbox({ config }, soon());
    const labelled = { ...config, labels: { another: 'yes' } };
    await refused(daemon.runtime.runPodSandbox({ config: labelled }), grpc.ALREADY_EXISTS, /not what this request/);
    assert.equal((await daemon.runtime.runPodSandbox({ config }, soon())).podSandboxId, podSandboxId);
    const container = { metadata: { name: 'c' }, image: { image: bench.image.busybox }, command: ['/bin/true'] };
    const request = { podSandboxId, sandboxConfig: config, config: { ...container, ...hostNetwork } };
    const { containerId } = await daemon.runtime.createContainer(request, soon());
    await refused(daemon.runtime.runPodSandbox({ config }), grpc.ALREADY_EXISTS);
    await daemon.runtime.startContainer({ containerId });
    await refused(daemon.runtime.createContainer(request), grpc.ALREADY_EXISTS);
    await daemon.runtime.removePodSandbox({ podSandboxId });
  });

  test('what was made before a crash is given to the first retry, unless it is in use', async () => {
    const { daemon } = bench;
    const config = podConfig(daemon, 'crashed', { ...hostNetwork, labels: { b: '2', a: '1' } });
    const { podSandboxId } = await daemon.runtime.runPodSandbox({ config });
    await daemon.kill();
    await daemon.start();
    assert.equal((await daemon.runtime.runPodSandbox({ config })).podSandboxId, podSandboxId);
    await refused(daemon.runtime.runPodSandbox({ config }), grpc.ALREADY_EXISTS);
    const container = {
      metadata: { name: 'c' },
      image: { image: bench.image.busybox },
      mounts: [{ containerPath: '/x', hostPath: daemon.dir }],
      devices: [{ containerPath: '/dev/mine', hostPath: '/dev/null', permissions: 'rw' }],
    };
    const request = { podSandboxId, sandboxConfig: config, config: { ...container, ...hostNetwork } };
    const { containerId } = await daemon.runtime.createContainer(request);
    await daemon.kill();
    await daemon.start();
    assert.equal((await daemon.runtime.createContainer(request)).containerId, containerId);
    await refused(daemon.runtime.createContainer(request), grpc.ALREADY_EXISTS);
    await refused(daemon.runtime.runPodSandbox({ config }), grpc.ALREADY_EXISTS);
    await daemon.runtime.removePodSandbox({ podSandboxId });
  });
});
