// How containers end is told as it was, whatever else happens to them.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { ContainerState } from '../../src/api/runtime/v1/cri.ts';
import { cgroupFolders, controllerFolder, pidsIn } from '../../src/sys/cgroups.ts';
import { Bystander } from '../harness/bystander.ts';
import { cgroupV2 } from '../harness/cgroups.ts';
import { ownHost } from '../harness/own-host.ts';
import { type ContainerConfig, hostNetwork, refused, TestPod, until, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { program } from '../images/run.ts';
import { ensureNewerRunc } from '../runtimes/newer.ts';
import { linesOf, secured } from './containers-support.ts';

await ownHost(ensureNewerRunc);

const folder = mkdtempSync(join(tmpdir(), 'berth-ends-'));
after(() => rmSync(folder, { recursive: true }));

/** The real OCI runtime; its run says that it began, and waits as long as the file `hold` exists. */
function slow(name: string, real: string): string {
  const path = join(folder, name);
  const wait = `case "$*" in *' run '*) echo >${folder}/begun; while [ -e ${folder}/hold ]; do sleep 0.02; done ;; esac`;
  writeFileSync(path, `#!/bin/sh\n${wait}\nexec ${real} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

const limited: ContainerConfig = {
  linux: { ...hostNetwork.linux, resources: { memoryLimitInBytes: 32n << 20n } },
};
/** More than the limit: the kernel kills it. */
const greedy = 'dd if=/dev/zero of=/dev/null bs=200M';

/** Debian's runtimes, and a runc of a later line, which ends things otherwise. */
const programs: Record<string, string> = {
  ...Object.fromEntries(ociRuntimes.map((name) => [name, program(name, name)])),
  'newer-runc': await ensureNewerRunc(),
};

for (const [handler, path] of Object.entries(programs)) {
  const settings = { handlers: { [handler]: { path: slow(handler, path) } } };
  suite(`ends with ${handler}`, { handler, settings }, (bench) => {
    test('OOMKilled is only what ended by the kill', async () => {
      const pod = await TestPod.run(bench.daemon, 'oom', hostNetwork);
      const cases = {
        [`exec ${greedy}`]: [137, 'OOMKilled'],
        [`${greedy}; exit 0`]: [0, 'Completed'],
        [`${greedy}; exit 7`]: [7, 'Error'],
        [`${greedy}; kill -TERM $$; sleep 10`]: [143, 'Error'],
      };
      for (const [index, [script, expected]] of Object.entries(cases).entries()) {
        const id = await pod.sh(`c${index}`, bench.image.busybox, script, limited);
        const { exitCode, reason } = await untilExited(bench.daemon, id);
        assert.deepEqual([exitCode, reason], expected, script);
      }
      const probed = await pod.sh('probed', bench.image.busybox, 'sleep 1000', limited);
      const cmd = ['/bin/sh', '-c', `exec ${greedy}`];
      const { exitCode: ofExec } = await bench.daemon.runtime.execSync({ containerId: probed, cmd, timeout: 30n });
      assert.equal(ofExec, 137, 'a command that ran out of memory');
      const { status: untouched } = await bench.daemon.runtime.containerStatus({ containerId: probed });
      assert.equal(untouched!.state, ContainerState.CONTAINER_RUNNING);
      await bench.daemon.runtime.stopContainer({ containerId: probed, timeout: 0n });
      assert.equal((await untilExited(bench.daemon, probed)).reason, 'Error', 'the kill was of its command');
      const outlives = await pod.sh('outlives', bench.image.busybox, `${greedy}; echo lives; sleep 1000`, limited);
      await until('the kill of its child', async () => linesOf(pod, 'outlives').includes('lives'));
      await bench.daemon.runtime.stopContainer({ containerId: outlives, timeout: 0n });
      const { exitCode, reason } = await untilExited(bench.daemon, outlives);
      assert.deepEqual([exitCode, reason], [137, 'Error'], 'killed by us');
      await pod.remove();
    });

    test('a container that is stopped while it starts does not run afterwards', async () => {
      const { runtime } = bench.daemon;
      const pod = await TestPod.run(bench.daemon, 'starting', hostNetwork);
      const containerId = await pod.create('c', bench.image.busybox, {
        command: ['/bin/sleep', '1000'],
        ...hostNetwork,
      });
      writeFileSync(join(folder, 'hold'), '');
      const started = runtime.startContainer({ containerId }).catch(() => {});
      await until('the start', async () => existsSync(join(folder, 'begun')));
      const stopped = runtime.stopContainer({ containerId, timeout: 0n });
      rmSync(join(folder, 'hold'));
      await Promise.all([started, stopped]);
      rmSync(join(folder, 'begun'));
      const { status } = await runtime.containerStatus({ containerId });
      assert.equal(status?.state, ContainerState.CONTAINER_EXITED);
      await pod.remove();
    });

    test('a frozen container is stopped, and a probe in it ends at its time', async () => {
      const { runtime } = bench.daemon;
      const pod = await TestPod.run(bench.daemon, 'frozen', hostNetwork);
      const cgroup = (id: string) => `/${bench.daemon.name}/${pod.id}/${id}`;
      const names = ['stopped', 'removed', 'with-its-pod'];
      const ids = await Promise.all(names.map((name) => pod.sh(name, bench.image.busybox, 'sleep 1000', hostNetwork)));
      const [stopped, removed] = ids as [string, string];
      const probe = runtime.execSync({ containerId: stopped, cmd: ['/bin/sleep', '1000'], timeout: 1n });
      const late = refused(probe, grpc.DEADLINE_EXCEEDED);
      await until('the probe', async () => (await pidsIn(cgroup(stopped))).filter(sleeps).length === 2);
      const bystander = await Bystander.start(bench.daemon, bench.image.busybox);
      await bystander.watched('frozen containers', async () => {
        for (const id of ids) freeze(cgroup(id));
        await late;
        await runtime.stopContainer({ containerId: stopped, timeout: 0n });
        assert.equal((await untilExited(bench.daemon, stopped)).exitCode, 137);
        await runtime.removeContainer({ containerId: removed });
        await pod.remove();
      });
      await bystander.remove();
    });

    test('a privileged container with cgroups deeper than a path may be long is stopped and removed', async () => {
      const { runtime } = bench.daemon;
      const privileged = secured({ privileged: true });
      const controller = cgroupV2 ? 'pids' : 'freezer'; // of v1 one that no kubelet looks through: it starts with none so deep
      const pod = await TestPod.run(bench.daemon, 'deep', privileged);
      const deepen =
        'n=$(printf %0200d 0); i=0; while [ $i -lt 30 ]; do mkdir $n && cd -P $n || exit 1; i=$((i+1)); done';
      const enter = 'sleep 1000 & echo $! >cgroup.procs && echo ready';
      const script = `set -e; cd /sys/fs/cgroup/${cgroupV2 ? '' : controller}; ${deepen}; ${enter}; wait`;
      const [stopped, removed] = await Promise.all(
        ['stopped', 'removed'].map((name) => pod.talking(name, bench.image.busybox, script, privileged)),
      );
      const folder = controllerFolder(`/${bench.daemon.name}/${pod.id}/${stopped}`, controller)!;
      assert.ok(existsSync(folder));
      await runtime.stopContainer({ containerId: stopped!, timeout: 0n });
      assert.equal((await untilExited(bench.daemon, stopped!)).exitCode, 137);
      await until('the end of its cgroups', async () => !existsSync(folder));
      await runtime.removeContainer({ containerId: removed! });
      await pod.remove();
    });

    test('what a command that timed out may have left is told, where it left anything', async () => {
      const pod = await TestPod.run(bench.daemon, 'left', hostNetwork);
      const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000', hostNetwork);
      const exec = (script: string) =>
        bench.daemon.runtime.execSync({ containerId, cmd: ['/bin/sh', '-c', script], timeout: 1n });
      await refused(exec('sleep 1000 & sleep 1000'), grpc.DEADLINE_EXCEEDED, /timed out$/);
      await refused(exec('setsid sleep 2000 & sleep 1000'), grpc.DEADLINE_EXCEEDED, /timed out$/);
      const daemon = '(setsid sleep 3000 &) ; sleep 1000';
      await refused(exec(daemon), grpc.DEADLINE_EXCEEDED, /timed out; processes .* go on: \d+ \(sleep\)$/);
      await pod.remove();
    });

    test('an exec with more seconds than a timer takes is not timed out', async () => {
      const pod = await TestPod.run(bench.daemon, 'patient', hostNetwork);
      const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000', hostNetwork);
      for (const timeout of [2n ** 31n / 1000n + 1n, 2n ** 40n]) {
        const { exitCode } = await bench.daemon.runtime.execSync({ containerId, cmd: ['/bin/true'], timeout });
        assert.equal(exitCode, 0);
      }
      await pod.remove();
    });
  });
}

/** An OCI runtime's helper is in the cgroup before the probe is. */
const sleeps = (pid: number) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n';

/** By the v1 freezer, or by v2. */
function freeze(path: string): void {
  for (const folder of cgroupFolders(path)) {
    for (const [file, text] of Object.entries({ 'freezer.state': 'FROZEN', 'cgroup.freeze': '1' })) {
      if (existsSync(join(folder, file))) writeFileSync(join(folder, file), text);
    }
  }
}
