// Network namespaces are where agents on a node look for them: one folder that can be mounted, that ip-netns(8) lists.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MountPropagation } from '../../src/api/runtime/v1/cri.ts';
import { mountTableAtOnce, parseMountInfo } from '../../src/sys/mountinfo.ts';
import { isMountPoint } from '../../src/sys/mounts.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, TestPod } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

const folder = '/var/run/netns';
const ip = (...args: string[]) => execFileSync('/usr/sbin/ip', args, { encoding: 'utf8' });
const listed = () =>
  ip('netns', 'list')
    .split('\n')
    .flatMap((line) => line.split(' ')[0] || []);
/** The mounts of a folder itself. */
const mountsOf = (path: string) => parseMountInfo(mountTableAtOnce()).filter(({ mountPoint }) => mountPoint === path);
const unmountAll = () => execFileSync('/usr/bin/umount', ['--recursive', '--lazy', folder]);

suite('network namespaces by name', {}, (bench) => {
  test('ip netns lists that of a pod, an agent that has the folder mounted sees it, and it goes with the pod', async () => {
    const { daemon } = bench;
    const agent = await TestPod.run(daemon, 'agent', hostNetwork);
    const propagation = MountPropagation.PROPAGATION_HOST_TO_CONTAINER;
    const mounts = [{ containerPath: '/netns', hostPath: folder, propagation }];
    const containerId = await agent.sh('c', bench.image.busybox, 'sleep 1000', { ...hostNetwork, mounts });
    assert.deepEqual(listed(), [], 'a pod on the network of the host has none');

    const pod = await TestPod.run(daemon, 'pod');
    const [name = '', ...more] = listed();
    assert.match(name, /^cni-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.deepEqual(more, []);
    assert.ok(ip('netns', 'exec', name, 'ip', 'addr').includes(` ${await pod.ip()}/`));
    const seen = () => daemon.runtime.execSync({ containerId, cmd: ['grep', ` /netns/${name} nsfs `, '/proc/mounts'] });
    assert.equal((await seen()).exitCode, 0);

    ip('netns', 'add', 'other');
    await pod.remove();
    assert.deepEqual(listed(), ['other']);
    assert.notEqual((await seen()).exitCode, 0);
    ip('netns', 'delete', 'other');
    await agent.remove();
  });

  test('nothing of a pod stays there that was half-made when the daemon died', async () => {
    const { daemon } = bench;
    for (const at of ['run-pod:pause', 'run-pod:network', 'release-pod:network']) {
      await daemon.stop();
      await daemon.start({ BERTH_CRASH_AT: at });
      const run = TestPod.run(daemon, 'half').then((pod) => pod.remove());
      await assert.rejects(run);
      await daemon.ended();
      assert.equal(listed().length, 1, at);
      await daemon.start();
      for (const { id } of (await daemon.runtime.listPodSandbox({})).items) {
        await daemon.runtime.removePodSandbox({ podSandboxId: id });
      }
      assert.deepEqual(readdirSync(folder), [], at);
    }
  });

  test('a pod of an earlier build has its namespace in its own directory, and takes it along', async () => {
    const { daemon } = bench;
    const pod = await TestPod.run(daemon, 'old');
    const [name = ''] = listed();
    const record = join(daemon.dataDir, 'v1/pods', `${pod.id}.json`);
    const { netns: _, scopePrefix: __, ...old } = JSON.parse(execFileSync('/bin/cat', [record], { encoding: 'utf8' }));
    await daemon.stop();
    writeFileSync(record, JSON.stringify(old));
    const place = join(daemon.runDir, 'pods', pod.id, 'netns');
    mkdirSync(join(place, '..'), { recursive: true });
    writeFileSync(place, '');
    execFileSync('/bin/mount', ['--bind', join(folder, name), place]);
    ip('netns', 'delete', name);
    const results = join(daemon.dir, 'cni/cache/results');
    const attached = readdirSync(results).map((file) => join(results, file));
    execFileSync('/bin/sed', ['-i', `s#${join(folder, name)}#${place}#`, ...attached]);
    await daemon.start();
    const id = await pod.sh('c', bench.image.busybox, 'sleep 1000');
    const { stdout } = await daemon.runtime.execSync({ containerId: id, cmd: ['ip', 'addr'] });
    assert.ok(Buffer.from(stdout).includes(` ${await pod.ip()}/`));
    assert.ok(isMountPoint(place));
    await pod.remove();
    assert.ok(!existsSync(place));
  });

  test('a folder that was taken away is there again with the next pod', async () => {
    const { daemon } = bench;
    const before = await TestPod.run(daemon, 'before');
    unmountAll();
    rmSync(folder, { recursive: true });
    const after = await TestPod.run(daemon, 'after');
    assert.equal(listed().length, 1);
    assert.deepEqual(
      mountsOf('/run/netns').map(({ shared }) => shared),
      [true],
    );
    for (const pod of [before, after]) await pod.remove();
    assert.deepEqual(readdirSync(folder), []);
  });

  test('a mount that is private there is shared from the start on', async () => {
    const { daemon } = bench;
    await daemon.stop();
    unmountAll();
    execFileSync('/usr/bin/mount', ['--bind', folder, folder]);
    execFileSync('/usr/bin/mount', ['--make-private', folder]);
    await daemon.start();
    assert.deepEqual(
      mountsOf('/run/netns').map(({ shared }) => shared),
      [true],
    );
  });

  test('a link in place of the folder is followed, and nothing is mounted twice', async () => {
    const { daemon } = bench;
    await daemon.stop();
    unmountAll();
    renameSync('/run/netns', '/run/elsewhere');
    symlinkSync('elsewhere', '/run/netns');
    await daemon.start();
    for (const name of ['one', 'two']) {
      const pod = await TestPod.run(daemon, name);
      assert.equal(listed().length, 1);
      await pod.remove();
    }
    assert.equal(mountsOf('/run/elsewhere').length, 1);
    await daemon.stop();
    execFileSync('/usr/bin/umount', ['/run/elsewhere']);
    rmSync('/run/netns');
    renameSync('/run/elsewhere', '/run/netns');
    await daemon.start();
  });
});
