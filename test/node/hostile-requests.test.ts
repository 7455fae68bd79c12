// Every field of every request takes every hostile value: a clear refusal or a correct answer, never a crash.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { NamespaceMode, type RunPodSandboxRequest } from '../../src/api/runtime/v1/cri.ts';
import { removeCgroup } from '../../src/sys/cgroups.ts';
import { ownHost } from '../harness/own-host.ts';
import { TestPod } from '../harness/pods.ts';
import { type Mutation, mutated, mutations } from '../harness/proto-fields.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

/** Codes that tell a client what it did wrong. */
const fair = new Set([
  grpc.INVALID_ARGUMENT,
  grpc.NOT_FOUND,
  grpc.FAILED_PRECONDITION,
  grpc.ALREADY_EXISTS,
  grpc.UNIMPLEMENTED,
  grpc.PERMISSION_DENIED,
  grpc.RESOURCE_EXHAUSTED,
]);

/** A sample always, everything with BERTH_SLOW; the same sample for the same seed. */
function* sample<T>(items: readonly T[], count: number, seed: number): Generator<T> {
  if (process.env.BERTH_SLOW || items.length <= count) return yield* items;
  let state = seed;
  for (let taken = 0; taken < count; taken++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield items[state % items.length]!;
  }
}

/** A cgroup that the client names is the client's, also where Berth had to make it: kubelet removes its own. */
async function removeParent(cgroupParent: string): Promise<void> {
  const [first] = cgroupParent.split('/').filter((part) => part !== '');
  if (first !== undefined) await removeCgroup(`/${first}`);
}

const seed = Number(process.env.BERTH_SEED ?? Date.now() % 100_000);

suite(`hostile requests (BERTH_SEED=${seed})`, {}, (bench) => {
  const describe = ({ path, value }: Mutation) => `${path.join('.')} = ${String(value).slice(0, 40)}`;
  const namespaceOptions = { network: NamespaceMode.NODE };

  /** Calls once per mutation; `undo` takes back what was accepted. */
  async function attack(
    name: string,
    request: string,
    base: object,
    call: (request: never) => Promise<unknown>,
    undo: (answer: never, request: never) => Promise<unknown> = async () => {},
    count = 150,
    allowed = fair,
  ): Promise<void> {
    for (const mutation of sample(mutations(request), count, seed)) {
      try {
        const changed = mutated(base, mutation);
        const answer = await call(changed as never);
        await undo(answer as never, changed as never);
      } catch (error) {
        const { code = -1, details = String(error) } = error as { code?: number; details?: string };
        assert.ok(allowed.has(code), `${name} with ${describe(mutation)}: code ${code}: ${details}`);
        assert.ok(
          details.length <= 4096 && !/[\x00-\x08\x0b-\x1f]/.test(details),
          `${name}: control characters in: ${details}`,
        );
      }
    }
    await bench.daemon.runtime.version({});
    assert.ok(!existsSync('/tmp/berth-tripwire'), 'nothing outside the roots was touched');
  }

  test('RunPodSandbox', async () => {
    const { runtime } = bench.daemon;
    const config = {
      metadata: { name: 'h', uid: 'u', namespace: 'n' },
      linux: { securityContext: { namespaceOptions } },
    };
    await attack(
      'RunPodSandbox',
      'RunPodSandboxRequest',
      { config },
      (request) => runtime.runPodSandbox(request),
      async ({ podSandboxId }: { podSandboxId: string }, request: RunPodSandboxRequest) => {
        await runtime.removePodSandbox({ podSandboxId });
        await removeParent(request.config?.linux?.cgroupParent ?? '');
      },
      120,
    );
  });

  test('CreateContainer', async () => {
    const { runtime } = bench.daemon;
    const pod = await TestPod.run(bench.daemon, 'target', { linux: { securityContext: { namespaceOptions } } });
    const config = {
      metadata: { name: 'c' },
      image: { image: bench.image.busybox },
      command: ['/bin/true'],
      linux: { securityContext: { namespaceOptions } },
    };
    await attack(
      'CreateContainer',
      'CreateContainerRequest',
      { podSandboxId: pod.id, config, sandboxConfig: pod.config },
      (request) => runtime.createContainer(request),
      ({ containerId }: { containerId: string }) => runtime.removeContainer({ containerId }),
      200,
    );
    await pod.remove();
  });

  test('every call about a container or a pod', async () => {
    const { runtime } = bench.daemon;
    const options = { linux: { securityContext: { namespaceOptions } } };
    const pod = await TestPod.run(bench.daemon, 'target', options);
    const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000', options);
    const podSandboxId = pod.id;
    await attack('ContainerStatus', 'ContainerStatusRequest', { containerId }, (request) =>
      runtime.containerStatus(request),
    );
    await attack('PodSandboxStatus', 'PodSandboxStatusRequest', { podSandboxId }, (request) =>
      runtime.podSandboxStatus(request),
    );
    await attack('ListContainers', 'ListContainersRequest', {}, (request) => runtime.listContainers(request));
    await attack('ListPodSandbox', 'ListPodSandboxRequest', {}, (request) => runtime.listPodSandbox(request));
    await attack('ContainerStats', 'ContainerStatsRequest', { containerId }, (request) =>
      runtime.containerStats(request),
    );
    await attack('ListContainerStats', 'ListContainerStatsRequest', {}, (request) =>
      runtime.listContainerStats(request),
    );
    await attack('PodSandboxStats', 'PodSandboxStatsRequest', { podSandboxId }, (request) =>
      runtime.podSandboxStats(request),
    );
    await attack('ListPodSandboxStats', 'ListPodSandboxStatsRequest', {}, (request) =>
      runtime.listPodSandboxStats(request),
    );
    await attack('ReopenContainerLog', 'ReopenContainerLogRequest', { containerId }, (request) =>
      runtime.reopenContainerLog(request),
    );
    await attack('UpdatePodSandboxResources', 'UpdatePodSandboxResourcesRequest', { podSandboxId }, (request) =>
      runtime.updatePodSandboxResources(request),
    );
    await attack('UpdateRuntimeConfig', 'UpdateRuntimeConfigRequest', {}, (request) =>
      runtime.updateRuntimeConfig(request),
    );
    await attack('Exec', 'ExecRequest', { containerId, cmd: ['/bin/true'], stdout: true }, (request) =>
      runtime.exec(request),
    );
    await attack('Attach', 'AttachRequest', { containerId, stdout: true }, (request) => runtime.attach(request));
    await attack('PortForward', 'PortForwardRequest', { podSandboxId, port: [80] }, (request) =>
      runtime.portForward(request),
    );
    await attack('StartContainer', 'StartContainerRequest', { containerId }, (request) =>
      runtime.startContainer(request),
    );
    assert.equal((await runtime.containerStatus({ containerId })).status?.state, 1, 'the container never noticed');
    await attack('StopContainer', 'StopContainerRequest', { containerId: 'none' }, (request) =>
      runtime.stopContainer(request),
    );
    await attack('RemoveContainer', 'RemoveContainerRequest', { containerId: 'none' }, (request) =>
      runtime.removeContainer(request),
    );
    await attack('StopPodSandbox', 'StopPodSandboxRequest', { podSandboxId: 'none' }, (request) =>
      runtime.stopPodSandbox(request),
    );
    await attack('RemovePodSandbox', 'RemovePodSandboxRequest', { podSandboxId: 'none' }, (request) =>
      runtime.removePodSandbox(request),
    );
    await pod.remove();
  });

  test('ExecSync and UpdateContainerResources, also of what runs', async () => {
    const { runtime } = bench.daemon;
    const options = { linux: { securityContext: { namespaceOptions } } };
    const pod = await TestPod.run(bench.daemon, 'target', options);
    const running = await pod.sh('running', bench.image.busybox, 'sleep 1000', options);
    const created = await pod.create('created', bench.image.busybox, { command: ['/bin/true'], ...options });
    const exec = (request: never) => runtime.execSync(request);
    const request = { containerId: running, cmd: ['/bin/true'], timeout: 10n };
    // INTERNAL is what an OCI runtime says of a command that is not there.
    await attack('ExecSync', 'ExecSyncRequest', request, exec, async () => {}, 150, new Set([...fair, grpc.INTERNAL]));
    for (const containerId of [running, created])
      await attack('UpdateContainerResources', 'UpdateContainerResourcesRequest', { containerId }, (request) =>
        runtime.updateContainerResources(request),
      );
    await pod.remove();
  });

  test('PullImage, of what no registry has', async () => {
    const { images } = bench.daemon;
    const nobody = new Set([...fair, grpc.UNAVAILABLE]);
    await attack(
      'PullImage',
      'PullImageRequest',
      { image: { image: 'localhost:9/x' } },
      (request) => images.pullImage(request),
      async () => {},
      60,
      nobody,
    );
  });

  test('calls about images, but the one that would ask a registry', async () => {
    const { images } = bench.daemon;
    await attack('ImageStatus', 'ImageStatusRequest', { image: { image: 'localhost/x' } }, (request) =>
      images.imageStatus(request),
    );
    await attack('ListImages', 'ListImagesRequest', {}, (request) => images.listImages(request));
    await attack('RemoveImage', 'RemoveImageRequest', { image: { image: 'localhost/x' } }, (request) =>
      images.removeImage(request),
    );
  });
});
