// The systemd cgroup driver, on a host with systemd as init (scripts/vm-tests boots one): slices, scopes, and their end.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { status as grpc } from '@grpc/grpc-js';
import { CgroupDriver } from '../../src/api/runtime/v1/cri.ts';
import { startUnit, stopUnit } from '../../src/sys/systemd.ts';
import { ownHost } from '../harness/own-host.ts';
import { podConfig, refused, TestPod, until, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';

await ownHost();

const skip =
  (!existsSync('/run/systemd/private') && 'systemd is not the init of this host') ||
  (process.env.BERTH_TEST_CGROUP_DRIVER !== 'systemd' && 'the tests run with the cgroupfs driver');
const units = () =>
  execFileSync('/usr/bin/systemctl', ['list-units', '--all', '--plain', '--no-legend', '*.scope', '*.slice'], {
    encoding: 'utf8',
  })
    .split('\n')
    .map((line) => line.split(' ')[0]!);
/** systemd forgets a scope in its own time, once it has heard that the last process is gone. */
const none = (which: (unit: string) => boolean) =>
  until('the end of the last unit', async () => !units().some((unit) => which(unit)));
const cgroupOf = (pid: number) => /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1];

for (const handler of ociRuntimes) {
  if (skip) {
    test('the systemd cgroup driver', { skip });
    break;
  }
  suite(`the systemd cgroup driver with ${handler}`, { handler }, (bench) => {
    const pids = async (pod: TestPod, containerId: string) => {
      const { info: ofPod } = await bench.daemon.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
      const { info } = await bench.daemon.runtime.containerStatus({ containerId, verbose: true });
      return [JSON.parse(ofPod.info!).pid as number, JSON.parse(info.info!).pid as number] as const;
    };

    test('pods and containers are scopes in the slice that kubelet names', async () => {
      const slice = `test${process.pid}-pod1.slice`;
      await startUnit(slice);
      const before = units();
      try {
        const { linux } = await bench.daemon.runtime.runtimeConfig({});
        assert.equal(linux?.cgroupDriver, CgroupDriver.SYSTEMD);
        for (const cgroupParent of [slice, `/test${process.pid}.slice/${slice}`]) {
          const pod = await TestPod.run(bench.daemon, 'kubelet', { linux: { cgroupParent } });
          const id = await pod.sh('c', bench.image.busybox, 'sleep 1000', {
            linux: { resources: { memoryLimitInBytes: 64n << 20n } },
          });
          const [pause, container] = await pids(pod, id);
          const folder = `/test${process.pid}.slice/${slice}`;
          assert.equal(cgroupOf(pause), `${folder}/cri-containerd-${pod.id}.scope`);
          // Not below it: cAdvisor counts the processes of this cgroup alone.
          assert.equal(cgroupOf(container), `${folder}/cri-containerd-${id}.scope`);
          assert.ok(units().includes(`cri-containerd-${id}.scope`));
          assert.equal(
            readFileSync(`/sys/fs/cgroup${cgroupOf(container)}/memory.max`, 'utf8').trim(),
            String(64 << 20),
          );
          await pod.remove();
        }
        await none((unit) => !before.includes(unit) && /test|berth/.test(unit));
        assert.ok(units().includes(slice), "kubelet's slice is kubelet's");
      } finally {
        await stopUnit(slice);
        await stopUnit(`test${process.pid}.slice`);
      }
    });

    test('a pod without a parent has a slice of its own, which goes with it', async () => {
      const pod = await TestPod.run(bench.daemon, 'own');
      const id = await pod.sh('c', bench.image.busybox, 'sleep 1000');
      const [pause, container] = await pids(pod, id);
      const slice = `${bench.daemon.name}-pod${pod.id}.slice`;
      assert.equal(cgroupOf(pause), `/${bench.daemon.name}.slice/${slice}/cri-containerd-${pod.id}.scope`);
      assert.ok(cgroupOf(container)?.includes(`/${slice}/cri-containerd-${id}.scope`));
      await pod.remove();
      await none((unit) => unit.includes(pod.id) || unit.includes(id));
    });

    test('a container that ends by itself, is killed or runs out of memory leaves no scope', async () => {
      const pod = await TestPod.run(bench.daemon, 'ends');
      const limited = { linux: { resources: { memoryLimitInBytes: 32n << 20n } } };
      const ended = await pod.sh('ended', bench.image.busybox, 'exit 3');
      assert.equal((await untilExited(bench.daemon, ended)).exitCode, 3);
      const killed = await pod.sh('killed', bench.image.busybox, 'sleep 1000');
      await bench.daemon.runtime.stopContainer({ containerId: killed, timeout: 0n });
      const oom = await pod.sh('oom', bench.image.busybox, 'exec dd if=/dev/zero of=/dev/null bs=200M', limited);
      assert.equal((await untilExited(bench.daemon, oom)).reason, 'OOMKilled');
      await pod.remove();
      await none((unit) => [ended, killed, oom].some((id) => unit.includes(id)));
    });

    const shows = (files: Readonly<Record<string, string>>) => (scope: string) =>
      Object.fromEntries(Object.keys(files).map((name) => [name, readFileSync(`${scope}/${name}`, 'utf8').trim()]));

    test('limits outlive a reload of systemd, with and without the daemon, and follow a change', async () => {
      const pod = await TestPod.run(bench.daemon, 'limits');
      const resources = { memoryLimitInBytes: 64n << 20n, cpuQuota: 50_000n, cpuPeriod: 100_000n, cpuShares: 512n };
      const unified = { 'memory.low': '16777216', 'memory.oom.group': '1', 'pids.max': '77', 'io.weight': '333' };
      const id = await pod.sh('c', bench.image.busybox, 'sleep 1000', {
        linux: { resources: { ...resources, cpusetCpus: '0', unified } },
      });
      const [, pid] = await pids(pod, id);
      const scope = `/sys/fs/cgroup${cgroupOf(pid)}`;
      const expected = {
        ...{ 'memory.max': String(64 << 20), 'memory.low': '16777216', 'memory.oom.group': '1', 'pids.max': '77' },
        ...{ 'cpu.max': '50000 100000', 'cpu.weight': '20', 'io.weight': 'default 333', 'cpuset.cpus': '0' },
      };
      const read = shows(expected);
      /** systemd writes before it answers, and what it does not know of comes back just after that. */
      const holds = (what: string, files: typeof expected) =>
        until(what, async () => isDeepStrictEqual(read(scope), files)).catch(() => {
          assert.deepEqual(read(scope), files, what);
        });
      const reload = () => execFileSync('/usr/bin/systemctl', ['daemon-reload']);
      assert.deepEqual(read(scope), expected);
      reload();
      await holds('after a reload', expected);
      await bench.daemon.kill();
      reload();
      await bench.daemon.start();
      await holds('after a reload without the daemon', expected);
      const changed = { ...expected, 'memory.max': String(128 << 20), 'cpu.max': '150000 100000', 'pids.max': '78' };
      const linux = { memoryLimitInBytes: 128n << 20n, cpuQuota: 150_000n, cpuPeriod: 100_000n };
      const more = { unified: { 'pids.max': '78' } };
      await bench.daemon.runtime.updateContainerResources({ containerId: id, linux: { ...linux, ...more } });
      assert.deepEqual(read(scope), changed);
      reload();
      await holds('after a change and a reload', changed);
      await pod.remove();
    });

    test('a reload of systemd opens no device', async () => {
      const pod = await TestPod.run(bench.daemon, 'devices');
      const look = 'mknod /tmp/kmsg c 1 11; while sleep 0.1; do (: < /tmp/kmsg) 2>&1 && echo open; done';
      const id = await pod.sh('c', bench.image.busybox, look);
      const lines = async () => (await pod.log('c')).map(({ text }) => text);
      await until('a look', async () => (await lines()).length > 0);
      execFileSync('/usr/bin/systemctl', ['daemon-reload']);
      const before = (await lines()).length;
      await until('two looks after the reload', async () => (await lines()).length > before + 1);
      for (const line of await lines()) assert.match(line, /Operation not permitted/);
      await bench.daemon.runtime.stopContainer({ containerId: id, timeout: 0n });
      await pod.remove();
    });

    test('a cgroup parent of the other driver is refused', async () => {
      const config = podConfig(bench.daemon, 'path', { linux: { cgroupParent: '/kubepods/pod1' } });
      await refused(bench.daemon.runtime.runPodSandbox({ config }), grpc.INVALID_ARGUMENT, /is not a slice/);
    });
  });
}
