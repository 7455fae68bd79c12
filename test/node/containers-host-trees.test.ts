// Containers that have parts of the host's own trees, as agents of a node do: what they see there, and that nothing of theirs is
// in the host's mounts afterwards.
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { MountPropagation } from '../../src/api/runtime/v1/cri.ts';
import { isAtOrBelow } from '../../src/oci/index.ts';
import { hierarchyOf, readCgroupTree } from '../../src/sys/cgroup-tree.ts';
import { ownHost } from '../harness/own-host.ts';
import { refused, TestPod } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { linesOf, loadImage, outputIn, outputOf, sharedFolder } from './containers-support.ts';

await ownHost();

for (const handler of ociRuntimes) {
  suite(`the host's trees with ${handler}`, { handler }, (bench) => {
    /** Places of the host below `top` on which something is mounted, each as often as that is so. */
    const mountedBelow = (top: string): string[] =>
      readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .map((line) => line.split(' ')[4] ?? '')
        .filter((place) => isAtOrBelow(place, top))
        .sort();

    test("the host's own /sys and /dev are in a container as they are, not under what it would have there itself", async () => {
      const hierarchy = hierarchyOf(readCgroupTree(), 'pids')!;
      const pod = await TestPod.run(bench.daemon, 'agent');
      const mounts = ['/sys', '/dev'].map((path) => ({
        containerPath: path,
        hostPath: path,
        readonly: path === '/sys',
      }));
      const marker = `berth-${process.pid}`;
      writeFileSync(`/dev/shm/${marker}`, '');
      try {
        const script = `ls -d ${hierarchy.path}/${bench.daemon.name}; ls /dev/pts /dev/shm`;
        const [cgroup, ...devices] = await outputIn(pod, bench.image.busybox, script, { mounts });
        assert.equal(cgroup, `${hierarchy.path}/${bench.daemon.name}`);
        assert.ok(!devices.includes(marker), "shared memory is the pod's");
      } finally {
        rmSync(`/dev/shm/${marker}`);
      }
      await pod.remove();
    });

    test('what a container shares with the host both ways brings it no mount of ours', async () => {
      using shared = sharedFolder(bench);
      const privileged = { linux: { securityContext: { privileged: true } } };
      const image = await loadImage(bench, 'both-ways', [], { Volumes: { '/both/inner': {}, '/alone': {} } });
      const pod = await TestPod.run(bench.daemon, 'both-ways', privileged);
      const seen = () => ['/sys', '/dev', shared.folder].flatMap(mountedBelow);
      const before = seen();
      const places = { '/sys/fs': '/sys/fs', '/dev': '/dev', '/both': shared.folder };
      const mounts = Object.entries(places).map(([containerPath, hostPath]) => ({
        ...{ containerPath, hostPath, propagation: MountPropagation.PROPAGATION_BIDIRECTIONAL },
      }));
      const terminal = pod.create('t', image, { command: ['/bin/sh'], mounts, tty: true, ...privileged });
      await refused(terminal, grpc.INVALID_ARGUMENT, /"\/dev" is refused: the terminal would be mounted over/);
      const script = 'grep -c " /alone " /proc/self/mountinfo; sleep 1000';
      await pod.talking('c', image, script, { mounts, ...privileged });
      assert.deepEqual(linesOf(pod, 'c'), ['1']);
      assert.deepEqual(seen(), before);
      await pod.remove();
      assert.deepEqual(seen(), before);
    });

    test("a privileged container leaves the host's cgroups their options", async () => {
      const cgroups = () =>
        readFileSync('/proc/self/mountinfo', 'utf8')
          .split('\n')
          .filter((line) => / - cgroup2? /.test(line))
          .map((line) => line.split(' - ')[1])
          .sort();
      const before = cgroups();
      const privileged = { linux: { securityContext: { privileged: true } } };
      const lines = await outputOf(bench, 'ls /sys/fs/cgroup', privileged, privileged);
      assert.ok(lines.length > 0);
      assert.deepEqual(cgroups(), before);
    });
  });
}
