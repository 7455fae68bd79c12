// A container that passes itself off as a part of Berth.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { ContainerState, NamespaceMode, PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import { processesNamed } from '../harness/hung.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, TestPod, until } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

suite('impostors', { network: false }, (bench) => {
  /** A pod whose shim somebody passes for. `lose` kills the true one, and has the pod removed. */
  async function target() {
    const pod = await TestPod.run(bench.daemon, 'other', hostNetwork);
    const [shim] = processesNamed('berth-shim', bench.daemon.pid);
    const lose = async () => {
      process.kill(shim!.pid, 'SIGKILL');
      await until('the loss', async () => (await pod.status()).state === PodSandboxState.SANDBOX_NOTREADY);
      await pod.remove();
    };
    return { folder: join(bench.daemon.runDir, 'pods', pod.id), lose };
  }

  for (const pid of [NamespaceMode.CONTAINER, NamespaceMode.NODE]) {
    test(`a container's process with the name of another pod's shim is not killed for it (pids: ${pid})`, async () => {
      const options = { linux: { securityContext: { namespaceOptions: { network: NamespaceMode.NODE, pid } } } };
      const { folder, lose } = await target();
      const pod = await TestPod.run(bench.daemon, 'impostor', options);
      const lines = ['mkdir -p $(dirname $folder)', 'echo "$script" > $folder', 'exec /bin/sh $folder'];
      const script = 'echo berth-shim > /proc/self/comm; echo up; while :; do sleep 1; done';
      const envs = Object.entries({ folder, script }).map(([key, value]) => ({ key, value: Buffer.from(value) }));
      const containerId = await pod.sh('c', bench.image.busybox, lines.join('; '), { envs, ...options });
      await until('its name', async () => pod.log('c').some(({ text }) => text === 'up'));
      await lose();
      const { status } = await bench.daemon.runtime.containerStatus({ containerId });
      assert.equal(status?.state, ContainerState.CONTAINER_RUNNING);
      await pod.remove();
    });
  }
});
