// The disk of data_dir takes no more writes, as ext4 makes of itself after an error: what runs goes on and ends truly, what
// starts is refused and leaves nothing, and all of it can be removed once the disk is well.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import { Bystander } from '../harness/bystander.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { assertNoLeak, footprint } from '../harness/leak-check.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, podConfig, refused, TestPod, untilExited } from '../harness/pods.ts';
import { endTestRegistry, pullTestImages } from '../harness/suite.ts';

await ownHost();

describe('a data_dir that is read-only', () => {
  let daemon: TestDaemon;
  let image = '';
  const remount = (how: 'ro' | 'rw') => execFileSync('/bin/mount', ['-o', `remount,${how}`, daemon.dataDir]);
  before(async () => {
    daemon = new TestDaemon({});
    mkdirSync(daemon.dataDir);
    execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=96M,mode=711', 'small-disk', daemon.dataDir]);
    await daemon.start();
    image = (await pullTestImages(daemon)).busybox;
  });
  afterEach(() => void remount('rw'));
  after(async () => {
    await daemon.removePods();
    await daemon.stop();
    execFileSync('/bin/umount', ['-l', daemon.dataDir]);
    await daemon.dispose();
    await endTestRegistry();
  });

  test('ends are true, stops work, starts are refused, removals say why and work later', async () => {
    const bystander = await Bystander.start(daemon, image);
    const clean = footprint(daemon);
    const { runtime } = daemon;
    const pod = await TestPod.run(daemon, 'sick');
    const running = await pod.talking('running', image, 'trap "exit 4" TERM; echo ready; while :; do sleep 0.1; done');
    const created = await pod.create('created', image, { command: ['/bin/true'] });
    remount('ro');
    await bystander.watched('a read-only data_dir', async () => {
      const readOnly = /EROFS|[Rr]ead-only file system/;
      const another = runtime.runPodSandbox({ config: podConfig(daemon, 'another', hostNetwork) });
      await refused(another, grpc.RESOURCE_EXHAUSTED, readOnly);
      await refused(pod.create('late', image), grpc.RESOURCE_EXHAUSTED, readOnly);
      await assert.rejects(runtime.startContainer({ containerId: created })); // crun does not say what stopped it
      assert.equal((await untilExited(daemon, created)).reason, 'StartError');
      await runtime.stopContainer({ containerId: running, timeout: 10n });
      assert.equal((await untilExited(daemon, running)).exitCode, 4);
      await runtime.stopPodSandbox({ podSandboxId: pod.id });
      assert.equal((await pod.status()).state, PodSandboxState.SANDBOX_NOTREADY);
      await refused(pod.remove(), grpc.RESOURCE_EXHAUSTED, readOnly);
      const { items } = await runtime.listPodSandbox({ filter: { id: pod.id } });
      assert.equal(items.length, 1, 'what cannot be forgotten is listed');
    });
    remount('rw');
    await pod.remove();
    assertNoLeak(clean, footprint(daemon));
  });

  test('a daemon that is started anew on it serves, and what runs goes on and is stopped', async () => {
    const pod = await TestPod.run(daemon, 'older');
    const running = await pod.talking('running', image, 'trap "exit 4" TERM; echo ready; while :; do sleep 0.1; done');
    await daemon.kill();
    writeFileSync(`${daemon.dataDir}/v1/pods/.half.json.1.0.tmp`, '{');
    remount('ro');
    await daemon.start();
    const { stdout } = await daemon.runtime.execSync({ containerId: running, cmd: ['/bin/echo', 'on'], timeout: 30n });
    assert.equal(Buffer.from(stdout).toString(), 'on\n');
    await daemon.runtime.stopContainer({ containerId: running, timeout: 10n });
    assert.equal((await untilExited(daemon, running)).exitCode, 4);
    await daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
    remount('rw');
    await pod.remove();
  });
});
