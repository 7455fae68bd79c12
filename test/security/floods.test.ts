// What one container or client asks for in bulk costs neither its pod nor the daemon.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statfsSync } from 'node:fs';
import { test } from 'node:test';
import { ContainerState, PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, TestPod, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { linesOf } from '../node/containers-support.ts';

await ownHost();

const atOnce = 8;
const megabytes = 40;
const kept = 16 * 1024 * 1024;
/** What the shim keeps of all of them; without a bound it would be four times as much. */
const keptInAll = 4 * kept;
/** Its program and what is on its way. */
const others = 3 * kept;

/** The most memory that the pod's shim has had, bytes. */
function peakOfShim(podId: string): number {
  const [pid] = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isShimOf(podId, name));
  return 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

function isShimOf(podId: string, pid: string): boolean {
  try {
    const [program = '', folder = ''] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return program.endsWith('/berth-shim') && folder.endsWith(podId);
  } catch {
    return false; // it ended while we looked
  }
}

for (const handler of ociRuntimes) {
  suite(`floods with ${handler}`, { handler, network: false }, (bench) => {
    test('a container that writes its hosts, hostname, resolv.conf and /dev/shm full leaves the run_dir its space', async () => {
      const free = () => statfsSync(bench.daemon.runDir, { bigint: true }).bavail;
      const pod = await TestPod.run(bench.daemon, 'writer', hostNetwork);
      const before = free();
      const fill = ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf', '/dev/shm/file']
        .map((path) => `dd if=/dev/zero bs=1M count=200 2>/dev/null >>${path}`)
        .join('; ');
      const id = await pod.sh(
        'c',
        bench.image.busybox,
        `${fill}; du -cm /etc/hosts /dev/shm/file | tail -1`,
        hostNetwork,
      );
      assert.equal((await untilExited(bench.daemon, id)).exitCode, 0);
      const written = Number.parseInt(linesOf(pod, 'c')[0]!, 10);
      assert.ok(written > 60 && written <= 64, `${written} MB`); // else nothing was tried
      const lost = Number(before - free()) * Number(statfsSync(bench.daemon.runDir).bsize);
      assert.ok(lost < 1 << 20, `${lost} bytes of the run_dir are gone`);
      await pod.remove();
    });

    test(`${atOnce} execs with ${megabytes} MB on both streams take no sidecar down`, async () => {
      const { runtime } = bench.daemon;
      const pod = await TestPod.run(bench.daemon, 'flooded', hostNetwork);
      const sidecar = await pod.sh('sidecar', bench.image.busybox, 'sleep 1000', hostNetwork);
      const zeros = `dd if=/dev/zero bs=1M count=${megabytes} 2>/dev/null`;
      const flood = `${zeros} & { ${zeros}; } >&2; wait`;
      const exec = () =>
        runtime.execSync({ containerId: sidecar, cmd: ['/bin/sh', '-c', flood], timeout: 60n }).catch((error) => error);
      const results = await Promise.all(Array.from({ length: atOnce }, exec));
      for (const { exitCode, stdout, stderr } of results) {
        assert.equal(exitCode, 0);
        assert.ok(stdout.length <= kept && stderr.length <= kept);
      }
      const answered = results.reduce((sum, { stdout, stderr }) => sum + stdout.length + stderr.length, 0);
      assert.ok(answered >= kept, `${answered} bytes of output`); // else nothing was flooded
      const peak = peakOfShim(pod.id);
      assert.ok(peak > keptInAll / 2 && peak <= keptInAll + others, `the shim had ${peak} bytes`);
      assert.equal((await pod.status()).state, PodSandboxState.SANDBOX_READY);
      const { status } = await runtime.containerStatus({ containerId: sidecar });
      assert.equal(status?.state, ContainerState.CONTAINER_RUNNING);
      await pod.remove();
    });
  });
}
