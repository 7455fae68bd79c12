// What a pod was made with stays its own: a configuration that changes afterwards changes new pods only.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse, stringify } from 'smol-toml';
import { removeCgroup } from '../../src/sys/cgroups.ts';
import { cgroupV2 } from '../harness/cgroups.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, TestPod, until, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { program } from '../images/run.ts';

await ownHost();

const other: Record<string, string> = { crun: 'runc', runc: 'crun' };

for (const handler of ociRuntimes) {
  suite(`handlers that changed, with ${handler}`, { handler }, (bench) => {
    /** Restarts the daemon with these settings over what its file says, and runs `body`; then the old ones hold again. */
    const reconfigured = async (settings: Record<string, unknown>, body: () => Promise<void>) => {
      const { configFile } = bench.daemon;
      const before = readFileSync(configFile, 'utf8');
      const restart = async (text: string) => {
        await bench.daemon.stop();
        writeFileSync(configFile, text);
        await bench.daemon.start();
      };
      await restart(stringify({ ...parse(before), ...settings }));
      try {
        await body();
      } finally {
        await restart(before);
      }
    };
    const onlyThe = (name: string, path: string) => ({ default_handler: name, handlers: { [name]: { path } } });
    const state = () => readdirSync(join(bench.daemon.runDir, 'oci', handler));

    /** A pod with a container that runs and one that is only created. */
    const populated = async (name: string, config = hostNetwork) => {
      const pod = await TestPod.run(bench.daemon, name, config);
      const running = await pod.talking(
        'running',
        bench.image.busybox,
        'trap "exit 3" TERM; echo ready; while :; do sleep 0.1; done',
        config,
      );
      const created = await pod.create('created', bench.image.busybox, { command: ['/bin/true'], ...config });
      return { pod, running, created };
    };

    /** All that a client does with a pod, to its end. */
    const worksAndEnds = async ({ pod, running, created }: Awaited<ReturnType<typeof populated>>) => {
      const { runtime } = bench.daemon;
      const { exitCode } = await runtime.execSync({ containerId: running, cmd: ['/bin/true'], timeout: 10n });
      assert.equal(exitCode, 0);
      await runtime.updateContainerResources({ containerId: running, linux: { cpuShares: 256n } });
      await runtime.startContainer({ containerId: created });
      assert.equal((await untilExited(bench.daemon, created)).exitCode, 0);
      const later = await pod.sh('later', bench.image.busybox, 'exit 4', hostNetwork);
      assert.equal((await untilExited(bench.daemon, later)).exitCode, 4);
      await runtime.stopContainer({ containerId: running, timeout: 10n });
      assert.equal((await untilExited(bench.daemon, running)).exitCode, 3);
      await until('the release of all', async () => state().length === 0);
      await pod.remove();
    };

    test('another default handler, and the old one gone from the configuration', async () => {
      const made = await populated('orphaned');
      await reconfigured(onlyThe(other[handler]!, program(other[handler]!, other[handler]!)), async () => {
        const { info } = await bench.daemon.runtime.podSandboxStatus({ podSandboxId: made.pod.id, verbose: true });
        assert.equal(JSON.parse(info.info!).runtimeHandler, handler);
        await worksAndEnds(made);
      });
    });

    test('another default handler, for pods whose records are of before and say only a name', async () => {
      const made = await populated('of-before');
      await bench.daemon.stop();
      for (const kind of ['pods', 'containers']) {
        const folder = join(bench.daemon.dataDir, 'v1', kind);
        for (const name of readdirSync(folder)) {
          const { resolvedHandler: _, ...record } = JSON.parse(readFileSync(join(folder, name), 'utf8'));
          writeFileSync(join(folder, name), JSON.stringify(record));
        }
      }
      await bench.daemon.start();
      await worksAndEnds(made);
    });

    test('another cgroup parent, for pods with one of their own', async () => {
      const made = await populated('of-another-parent');
      const elsewhere = `/${bench.daemon.name}-other`;
      const folder = `/sys/fs/cgroup/${cgroupV2 ? '' : 'memory/'}${bench.daemon.name}/${made.pod.id}`;
      assert.ok(existsSync(folder));
      try {
        await reconfigured({ cgroup_parent: elsewhere }, () => worksAndEnds(made));
        assert.equal(existsSync(folder), false);
      } finally {
        await removeCgroup(elsewhere);
      }
    });

    test("the handler's program is gone", async () => {
      const copy = join(bench.daemon.dir, `copy-of-${handler}`);
      copyFileSync(program(handler, handler), copy);
      await reconfigured(onlyThe(handler, copy), async () => {
        const { pod, running } = await populated('without-program');
        rmSync(copy);
        await bench.daemon.runtime.stopContainer({ containerId: running, timeout: 10n });
        assert.equal((await untilExited(bench.daemon, running)).exitCode, 3);
        await pod.remove();
        assert.deepEqual(state(), []);
      });
    });

    test("the handler's program moved", async () => {
      const copy = join(bench.daemon.dir, `copy-of-${handler}`);
      copyFileSync(program(handler, handler), copy);
      let made: Awaited<ReturnType<typeof populated>>;
      await reconfigured(onlyThe(handler, copy), async () => {
        made = await populated('moved');
        rmSync(copy);
      });
      await worksAndEnds(made!);
      assert.equal(existsSync(copy), false);
    });

    test('a container is undone by what made it though the record of its pod is lost', async () => {
      const { pod, running } = await populated('lost');
      await bench.daemon.stop();
      rmSync(join(bench.daemon.dataDir, 'v1/pods', `${pod.id}.json`));
      await reconfigured(onlyThe(other[handler]!, program(other[handler]!, other[handler]!)), async () => {
        assert.equal((await bench.daemon.runtime.listContainers({ filter: { id: running } })).containers.length, 0);
        assert.deepEqual(state(), []);
      });
    });
  });
}
