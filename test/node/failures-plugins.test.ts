// A CNI plugin that is not installed keeps no pod alive, and what it did is undone when it is back.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { ownHost } from '../harness/own-host.ts';
import { podConfig, refused, TestPod, until } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

const folder = mkdtempSync(join(tmpdir(), 'berth-plugins-'));
const program = join(folder, 'test-bridge');
const install = () => symlinkSync('/usr/lib/cni/bridge', program);
const uninstall = () => rmSync(program);

describe('CNI plugins that are not installed', () => {
  after(() => rmSync(folder, { recursive: true }));

  suite('one that comes and goes', { pluginDirs: [folder] }, (bench) => {
    const notInstalled = /CNI plugin "test-bridge" is in none of .*: install it/;
    const configure = () => {
      const [bridge, portmap] = bench.daemon.plugins();
      // To find the rules of ipMasq at DEL the plugin looks into the namespace, which outlives the pod for that.
      bench.daemon.writeConflist([{ ...bridge, type: 'test-bridge', ipMasq: true }, portmap!]);
    };
    /** What is left of attachments: the bridge plugin has host-local free the address. */
    const traces = () => [
      ...readdirSync(join(bench.daemon.dir, 'cni/cache/results')),
      ...readdirSync(join(bench.daemon.ipamDir, bench.daemon.name)).filter((name) => /^\d/.test(name)),
    ];
    const networkReady = async () => {
      const { status } = await bench.daemon.runtime.status({});
      return status!.conditions.find(({ type }) => type === 'NetworkReady')!;
    };

    /** A pod whose attachment had to be kept. */
    const removedWithoutPlugin = async (name: string) => {
      install();
      configure();
      const pod = await TestPod.run(bench.daemon, name);
      uninstall();
      await pod.remove();
      return pod;
    };

    test('never there: NetworkReady says so, RunPodSandbox is refused and leaves nothing', async () => {
      configure();
      const { status, reason, message } = await networkReady();
      assert.deepEqual([status, reason], [false, 'NetworkPluginNotReady']);
      assert.match(message, notInstalled);
      const { runtime } = bench.daemon;
      await refused(
        runtime.runPodSandbox({ config: podConfig(bench.daemon, 'x') }),
        grpc.FAILED_PRECONDITION,
        notInstalled,
      );
      assert.deepEqual([(await runtime.listPodSandbox({})).items, traces()], [[], []]);
    });

    test('gone after ADD: the pod is stopped and removed, the attachment is kept until it is back', async () => {
      const { daemon, image } = bench;
      install();
      configure();
      const pod = await TestPod.run(daemon, 'orphan');
      await pod.sh('c', image.busybox, 'sleep 1000');
      const before = traces();
      assert.equal(before.length, 2);
      uninstall();
      await daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
      await daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
      await daemon.runtime.removePodSandbox({ podSandboxId: pod.id });
      assert.deepEqual((await daemon.runtime.listPodSandbox({})).items, []);
      assert.deepEqual(traces(), before);
      const told = daemon.logged.find(({ pod: id, level }) => id === pod.id && level === 40);
      assert.deepEqual([told?.plugins, told?.name], [['test-bridge'], `${pod.config.metadata?.namespace}/orphan`]);
      assert.match(String(told?.msg), /install test-bridge in one of/);
      assert.equal((await networkReady()).status, false);
      install();
      assert.equal((await networkReady()).status, true);
      await until('the DEL', async () => traces().length === 0);
      uninstall();
    });

    test('gone, and the daemon is killed: the next one undoes it', async () => {
      const { daemon } = bench;
      await removedWithoutPlugin('later');
      await daemon.kill();
      install();
      await daemon.start();
      await until('the DEL', async () => traces().length === 0);
      uninstall();
    });

    test('gone, with a left-over directory of the pod: that is swept all the same', async () => {
      const { daemon } = bench;
      const pod = await removedWithoutPlugin('swept');
      await daemon.kill();
      mkdirSync(join(daemon.runDir, 'pods', pod.id));
      await daemon.start();
      assert.deepEqual(readdirSync(join(daemon.runDir, 'pods')), []);
      assert.equal(traces().length, 2);
      install();
      await networkReady();
      await until('the DEL', async () => traces().length === 0);
      uninstall();
    });
  });
});
