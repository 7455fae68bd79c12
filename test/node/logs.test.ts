// No line of a container is lost, whenever it writes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, TestPod, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { linesOf } from './containers-support.ts';

await ownHost();

// Before it was mended one life in six lost lines, with either OCI runtime.
const lives = process.env.BERTH_SLOW === '1' ? 200 : 20;
const atOnce = 4;
const lines = 200_000;

for (const handler of ociRuntimes) {
  suite(`logs with ${handler}`, { handler }, (bench) => {
    test(`every line of ${lives} containers that do nothing but write`, { timeout: 600_000 }, async () => {
      const pods = Array.from({ length: atOnce }, (_, index) =>
        TestPod.run(bench.daemon, `writers-${index}`, hostNetwork),
      );
      await Promise.all(pods.map(async (pod) => writeMany(await pod, bench.image.busybox, lives / atOnce)));
    });
  });
}

async function writeMany(pod: TestPod, image: string, count: number): Promise<void> {
  const expected = Array.from({ length: lines }, (_, index) => `${index + 1}`).join('\n');
  for (let life = 0; life < count; life++) {
    const containerId = await pod.start('writer', image, {
      metadata: { name: 'writer', attempt: life },
      command: ['/bin/seq', '1', `${lines}`],
      logPath: `writer-${life}.log`,
      ...hostNetwork,
    });
    assert.equal((await untilExited(pod.daemon, containerId)).exitCode, 0);
    await pod.daemon.runtime.removeContainer({ containerId });
    const logged = linesOf(pod, `writer-${life}`).join('\n');
    assert.ok(logged === expected, `life ${life}: ${logged.length} bytes where ${expected.length} were written`);
  }
}
