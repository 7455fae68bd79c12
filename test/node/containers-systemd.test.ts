// The systemd cgroup driver, on a host with systemd as init (scripts/vm-tests boots one): slices, scopes, and their end.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
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
          assert.equal(
            cgroupOf(container)?.startsWith(`${folder}/cri-containerd-${id}.scope`),
            true,
            String(cgroupOf(container)),
          );
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

    test('limits are those of the scope too, outlive a reload of systemd and follow a change', async () => {
      const pod = await TestPod.run(bench.daemon, 'limits');
      const [low, limit, later] = [16n << 20n, 64n << 20n, 128n << 20n];
      const resources = { memoryLimitInBytes: limit, cpuQuota: 50_000n, cpuPeriod: 100_000n };
      const id = await pod.sh('c', bench.image.busybox, 'sleep 1000', {
        linux: { resources: { ...resources, unified: { 'memory.low': String(low) } } },
      });
      const [, pid] = await pids(pod, id);
      const own = `/sys/fs/cgroup${cgroupOf(pid)}`;
      const scope = own.replace(/\.scope\/.*/, '.scope');
      const read = (folder: string) =>
        ['memory.max', 'memory.low', 'cpu.max'].map((name) => readFileSync(`${folder}/${name}`, 'utf8').trim());
      for (const folder of [scope, own]) assert.deepEqual(read(folder), [`${limit}`, `${low}`, '50000 100000']);
      execFileSync('/usr/bin/systemctl', ['daemon-reload']);
      for (const folder of [scope, own]) assert.deepEqual(read(folder), [`${limit}`, `${low}`, '50000 100000']);
      const linux = { memoryLimitInBytes: later, cpuQuota: 150_000n, cpuPeriod: 100_000n };
      await bench.daemon.runtime.updateContainerResources({ containerId: id, linux });
      for (const folder of [scope, own]) assert.deepEqual(read(folder), [`${later}`, `${low}`, '150000 100000']);
      await pod.remove();
    });

    test('a cgroup parent of the other driver is refused', async () => {
      const config = podConfig(bench.daemon, 'path', { linux: { cgroupParent: '/kubepods/pod1' } });
      await refused(bench.daemon.runtime.runPodSandbox({ config }), grpc.INVALID_ARGUMENT, /is not a slice/);
    });
  });
}
