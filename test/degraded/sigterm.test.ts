// SIGTERM with calls of every kind in flight: the daemon ends by itself, says so to its clients, and touches no container.
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { ContainerState, PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, podConfig, TestPod, until } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

const folder = mkdtempSync(join(tmpdir(), 'berth-sigterm-'));
after(() => rmSync(folder, { recursive: true }));
/** A plugin whose ADD takes as long as the file `slow` is there; what waits in it says so. */
writeFileSync(
  join(folder, 'waits'),
  `#!/bin/sh
cat >/dev/null
[ "$CNI_COMMAND" = ADD ] || exit 0
touch ${folder}/in-$CNI_CONTAINERID
while [ -e ${folder}/slow ]; do sleep 0.05; done
echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}]}'
`,
);
chmodSync(join(folder, 'waits'), 0o755);

suite('SIGTERM', { pluginDirs: [folder] }, (bench) => {
  test('with 50 calls in flight', async () => {
    const { daemon, image } = bench;
    daemon.writeConflist([{ type: 'waits' }]);
    const pod = await TestPod.run(daemon, 'bystander', hostNetwork);
    const containerId = await pod.talking(
      'c',
      image.busybox,
      'trap "" TERM; echo ready; while :; do sleep 1; done',
      hostNetwork,
    );
    const pidOf = async () => {
      const { info } = await daemon.runtime.containerStatus({ containerId, verbose: true });
      return JSON.parse(info.info!).pid;
    };
    const pid = await pidOf();
    writeFileSync(join(folder, 'slow'), '');
    const exec = (n: number) =>
      daemon.runtime.execSync({ containerId, cmd: ['/bin/sh', '-c', `touch /begun-${n}; sleep 1000`], timeout: 0n });
    const calls = [
      ...Array.from({ length: 40 }, (_, n) => exec(n)),
      ...Array.from({ length: 9 }, (_, n) => daemon.runtime.runPodSandbox({ config: podConfig(daemon, `waits-${n}`) })),
      daemon.runtime.stopContainer({ containerId, timeout: 1000n }),
    ];
    const ends = Promise.allSettled(calls);
    await until('that all are under way', async () => {
      const { stdout } = await daemon.runtime.execSync({ containerId, cmd: ['/bin/ls', '/'], timeout: 10n });
      const adding = readdirSync(folder).filter((name) => name.startsWith('in-'));
      return (
        (
          Buffer.from(stdout)
            .toString()
            .match(/begun-/g) ?? []
        ).length === 40 && adding.length === 9
      );
    });
    await daemon.stop(); // its end is waited for, and it is not killed
    for (const end of await ends) {
      assert.equal(end.status, 'rejected');
      const { code } = (end as PromiseRejectedResult).reason;
      assert.ok([grpc.UNAVAILABLE, grpc.CANCELLED].includes(code), `${code}`);
    }
    rmSync(join(folder, 'slow'));
    await daemon.start();
    assert.equal(await pidOf(), pid, 'the container is the same process');
    const { status } = await daemon.runtime.containerStatus({ containerId });
    assert.equal(status!.state, ContainerState.CONTAINER_RUNNING);
    assert.equal((await pod.status()).state, PodSandboxState.SANDBOX_READY);
    const { items } = await daemon.runtime.listPodSandbox({});
    assert.deepEqual(
      items.map(({ id }) => id),
      [pod.id],
      'what was half made is undone',
    );
    for (let n = 0; n < 9; n++) await (await TestPod.run(daemon, `waits-${n}`)).remove();
    await pod.remove();
  });
});
