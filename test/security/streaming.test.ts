// Anybody on the host may connect to the streaming server; whoever has a URL gets in all the same, and at once.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, TestPod, until } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';
import { Crowd, strangers } from '../streaming/crowd.ts';
import { finish, openCommand } from '../streaming/spdy-client.ts';

await ownHost();

const many = 8192;
const descriptors = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

suite('strangers at the streaming port', { network: false }, (bench) => {
  for (const kind of strangers) {
    for (const again of [false, true]) {
      test(`${many} connections ${kind}${again ? ', which come back,' : ''} keep nobody out`, {
        timeout: 60_000,
      }, async () => {
        const pod = await TestPod.run(bench.daemon, 'streams', hostNetwork);
        const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000');
        const exec = async () => {
          const { url } = await bench.daemon.runtime.exec({ containerId, cmd: ['/bin/echo', 'fine'], stdout: true });
          return url;
        };
        const { port } = new URL(await exec());
        const before = descriptors(bench.daemon.pid);
        const open = await openCommand(
          (await bench.daemon.runtime.exec({ containerId, cmd: ['/bin/cat'], stdin: true, stdout: true })).url,
          ['stdin', 'stdout'],
        );
        {
          await using _ = await Crowd.gathered({ port: Number(port), many, kind, again });
          for (let round = 0; round < 5; round++) {
            const from = performance.now();
            const { stdout } = await finish(await openCommand(await exec(), ['stdout']));
            assert.equal(`${stdout}`, 'fine\n');
            assert.ok(performance.now() - from < 10_000, `${performance.now() - from} ms`);
          }
          assert.ok(descriptors(bench.daemon.pid) < before + 8300, `${descriptors(bench.daemon.pid)} descriptors`);
          await open.stdin.write('still there');
          open.stdin.end();
          const { stdout } = await finish(open);
          assert.equal(`${stdout}`, 'still there', 'who was in stays in');
        }
        await until('they are gone', async () => descriptors(bench.daemon.pid) <= before + 10);
        await pod.remove();
      });
    }
  }
});
