// A start of the daemon with something stuck: everybody else is served, and nothing stays stuck for ever.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { ContainerState, PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, podConfig, refused, TestPod, until, untilExited } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

const folder = mkdtempSync(join(tmpdir(), 'berth-stuck-'));
after(() => rmSync(folder, { recursive: true }));
const stuck = join(folder, 'stuck');

/** The real plugin; its DEL says that it began, and waits as long as `stuck` exists. */
const slowBridge = `#!/bin/sh
if [ "$CNI_COMMAND" = DEL ]; then
  while [ -e ${stuck} ]; do echo >${stuck}.begun; sleep 0.05; done
fi
exec /usr/lib/cni/bridge "$@"
`;
writeFileSync(join(folder, 'bridge'), slowBridge);
chmodSync(join(folder, 'bridge'), 0o755);

suite('a start with something stuck', { pluginDirs: [folder] }, (bench) => {
  test('a half-made pod whose DEL hangs keeps nobody waiting but its own calls', async () => {
    const { daemon } = bench;
    const other = await TestPod.run(daemon, 'other', hostNetwork);
    const running = await other.sh('c', bench.image.busybox, 'sleep 1000', hostNetwork);
    await daemon.stop();
    await daemon.start({ BERTH_CRASH_AT: 'run-pod:network' });
    await assert.rejects(TestPod.run(daemon, 'half'));
    await daemon.ended();
    writeFileSync(stuck, '');
    await daemon.start({}, { mended: false });
    await until('the DEL', async () => existsSync(`${stuck}.begun`));

    const { items } = await daemon.runtime.listPodSandbox({});
    assert.deepEqual(
      items.map(({ metadata, state }) => [metadata?.name, state]),
      [['other', PodSandboxState.SANDBOX_READY]],
    );
    const { status } = await daemon.runtime.containerStatus({ containerId: running });
    assert.equal(status?.state, ContainerState.CONTAINER_RUNNING);
    const { exitCode } = await daemon.runtime.execSync({ containerId: running, cmd: ['/bin/true'], timeout: 10n });
    assert.equal(exitCode, 0);
    const another = await TestPod.run(daemon, 'another', hostNetwork);
    await another.remove();

    // Its own name waits for it, as long as the client does, and is free afterwards.
    const again = daemon.runtime.runPodSandbox({ config: podConfig(daemon, 'half') });
    const impatient = { deadline: Date.now() + 300 };
    await refused(
      daemon.runtime.runPodSandbox({ config: podConfig(daemon, 'half') }, impatient),
      grpc.DEADLINE_EXCEEDED,
    );
    rmSync(stuck);
    const { podSandboxId } = await again;
    await daemon.runtime.removePodSandbox({ podSandboxId });
    await other.remove();
  });

  test('a shim that does not answer is killed, its pod is down and can be removed', async () => {
    const { daemon } = bench;
    const [mute, other] = await Promise.all([TestPod.run(daemon, 'mute'), TestPod.run(daemon, 'other', hostNetwork)]);
    const id = await mute.sh('c', bench.image.busybox, 'sleep 1000');
    const fine = await other.sh('c', bench.image.busybox, 'sleep 1000', hostNetwork);
    const { info } = await daemon.runtime.podSandboxStatus({ podSandboxId: mute.id, verbose: true });
    const pause = JSON.parse(info.info!).pid;
    const shim = Number(/^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pause}/status`, 'utf8'))?.[1]);
    await daemon.stop();
    process.kill(shim, 'SIGSTOP');
    await daemon.start({}, { mended: false });
    const listed = await daemon.runtime.listContainers({ filter: { id } });
    assert.deepEqual(
      listed.containers.map(({ state }) => state),
      [ContainerState.CONTAINER_UNKNOWN],
    );
    const { exitCode } = await daemon.runtime.execSync({ containerId: fine, cmd: ['/bin/true'], timeout: 10n });
    assert.equal(exitCode, 0);
    assert.equal((await mute.status()).state, PodSandboxState.SANDBOX_NOTREADY, 'known once it is answered');
    assert.equal((await untilExited(daemon, id)).reason, 'ContainerStatusUnknown');
    assert.equal(existsSync(`/proc/${shim}/exe`), false);
    await Promise.all([mute.remove(), other.remove()]);
  });
});
