// The host was rebooted, or everything of Berth's was killed: what ran has ended, whoever has its pids now; pods can be
// stopped, removed and made anew, and their addresses come back.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ContainerState, PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import { killCgroup, pidsIn, removeCgroup } from '../../src/sys/cgroups.ts';
import { mountsBelow } from '../../src/sys/mountinfo.ts';
import { unmount } from '../../src/sys/mounts.ts';
import type { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, podConfig, TestPod, until } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';
import { removeRules } from './rules.ts';

await ownHost();

/** Somebody who has nothing to do with Berth, and gets the pids of what ended. */
const stranger = spawn('/bin/sleep', ['100000'], { stdio: 'ignore' });
after(() => stranger.kill());

/** Ends every process of the daemon's pods, as a reboot does. */
async function endAll(daemon: TestDaemon): Promise<void> {
  const folder = `${daemon.runDir}/pods/`;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const [program = '', argument = ''] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      if (program.endsWith('berth-shim') && argument.startsWith(folder)) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // it ended
    }
  }
  const cgroup = `/${daemon.name}`;
  await killCgroup(cgroup);
  await until('the end of all', async () => (await pidsIn(cgroup)).length === 0);
}

/** What every record says of processes is of another boot, and of a stranger's pid. */
function edit(
  daemon: TestDaemon,
  change: (record: Record<string, unknown>, state: Record<string, unknown>) => void,
): void {
  for (const kind of ['pods', 'containers']) {
    const folder = join(daemon.dataDir, 'v1', kind);
    for (const name of readdirSync(folder)) {
      const record = JSON.parse(readFileSync(join(folder, name), 'utf8'));
      change(record, record.state);
      writeFileSync(join(folder, name), JSON.stringify(record));
    }
  }
}

function withStrangersPid(_: unknown, state: Record<string, unknown>): void {
  if ('pid' in state) state.pid = stranger.pid;
  if ('pausePid' in state) state.pausePid = stranger.pid;
}

suite('a reboot', {}, (bench) => {
  const addresses = () => readdirSync(join(bench.daemon.ipamDir, bench.daemon.name)).filter((name) => /^\d/.test(name));

  /** What happens to the host while the daemon is down. */
  const disasters: Record<string, () => Promise<void>> = {
    'the host was rebooted': async () => {
      const { daemon } = bench;
      await endAll(daemon);
      for (const folder of [daemon.runDir, '/run/netns']) {
        for (const target of await mountsBelow(folder)) unmount(target, { detach: true });
        for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
      }
      await removeCgroup(`/${daemon.name}`);
      removeRules(daemon.name);
      edit(daemon, (record, state) => {
        record.bootId = 'an-earlier-boot';
        withStrangersPid(record, state);
      });
    },
    'everything was killed, and others have the pids': async () => {
      await endAll(bench.daemon);
      edit(bench.daemon, withStrangersPid);
    },
  };
  for (const [name, strike] of Object.entries(disasters)) {
    test(name, async () => {
      const { daemon, image } = bench;
      const pods = [await TestPod.run(daemon, 'networked'), await TestPod.run(daemon, 'host', hostNetwork)];
      const made = [];
      for (const [index, pod] of pods.entries()) {
        const config = index === 0 ? {} : hostNetwork;
        const running = await pod.sh('running', image.busybox, 'sleep 1000', config);
        const created = await pod.create('created', image.busybox, { command: ['/bin/true'], ...config });
        made.push({ pod, running, created });
      }
      await daemon.kill();
      await strike();
      await daemon.start();
      const { runtime } = daemon;

      for (const { pod, running, created } of made) {
        assert.equal((await pod.status()).state, PodSandboxState.SANDBOX_NOTREADY);
        const { status } = await runtime.containerStatus({ containerId: running });
        assert.equal(status!.state, ContainerState.CONTAINER_EXITED);
        assert.deepEqual([status!.exitCode, status!.reason], [255, 'ContainerStatusUnknown']);
        await assert.rejects(runtime.execSync({ containerId: running, cmd: ['/bin/true'], timeout: 5n }));
        await assert.rejects(runtime.startContainer({ containerId: created }));
        // kubelet makes the next attempt before it removes the last one.
        const { metadata, ...rest } = pod.config;
        const config = { ...rest, metadata: { ...metadata!, attempt: 1 } };
        const { podSandboxId } = await runtime.runPodSandbox({ config });
        await runtime.stopContainer({ containerId: running, timeout: 5n });
        await runtime.removeContainer({ containerId: running });
        await runtime.stopPodSandbox({ podSandboxId: pod.id });
        await pod.remove();
        await runtime.removePodSandbox({ podSandboxId });
      }
      assert.deepEqual(addresses(), []);
      assert.equal(stranger.exitCode ?? stranger.signalCode, null, 'nobody touched the stranger');
      const again = await runtime.runPodSandbox({ config: podConfig(daemon, 'networked') });
      await runtime.removePodSandbox(again);
    });
  }
});
