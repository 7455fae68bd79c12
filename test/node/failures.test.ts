// What others break must leave no trace: the leak check of the suite is half of each test.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { ContainerState, PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, podConfig, refused, TestPod, until, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';

await ownHost();

/** A plugin or OCI runtime that fails as it is told. */
function program(path: string, script: string): void {
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

suite('broken CNI plugins', {}, (bench) => {
  const cases = [
    {
      name: 'fails with a CNI error',
      script: 'echo \'{"cniVersion":"1.0.0","code":7,"msg":"no address left"}\'; exit 1',
      message: /no address left/,
    },
    { name: 'fails without a word', script: 'exit 3', message: /exit code 3/ },
    { name: 'prints garbage', script: 'echo not-json', message: /printed no JSON/ },
    { name: 'is killed', script: 'kill -9 $$', message: /exit code 137/ },
  ];
  for (const { name, script, message } of cases) {
    test(`a plugin that ${name} on ADD: the error says so, nothing stays`, async () => {
      const { daemon } = bench;
      const bad = join(daemon.dir, 'bad-plugin');
      mkdirSync(bad, { recursive: true });
      // DEL succeeds: what the plugins before it did must be undone by their own DEL.
      program(join(bad, 'broken'), `[ "$CNI_COMMAND" = ADD ] || exit 0\ncat >/dev/null\n${script}`);
      rmSync('/usr/lib/cni/berth-test-broken', { force: true });
      program('/usr/lib/cni/berth-test-broken', `exec ${bad}/broken`);
      try {
        daemon.writeConflist([...daemon.plugins(), { type: 'berth-test-broken' }]);
        await refused(daemon.runtime.runPodSandbox({ config: podConfig(daemon, 'broken') }), grpc.INTERNAL, message);
        assert.deepEqual((await daemon.runtime.listPodSandbox({})).items, []);
        assert.deepEqual(
          readdirSync(join(daemon.ipamDir, daemon.name)).filter((file) => /^\d/.test(file)),
          [],
        );
      } finally {
        daemon.writeConflist();
        rmSync('/usr/lib/cni/berth-test-broken');
      }
      const pod = await TestPod.run(daemon, 'broken'); // the same name can be used
      await pod.remove();
    });
  }

  test('a pod whose plugin fails on DEL stays listed until it can be removed', async () => {
    const { daemon } = bench;
    const flag = join(daemon.dir, 'del-fails');
    program(
      '/usr/lib/cni/berth-test-del',
      `cat >/dev/null\n[ "$CNI_COMMAND" = DEL ] && [ -e ${flag} ] && exit 9\n[ "$CNI_COMMAND" = DEL ] || echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}]}'`,
    );
    try {
      daemon.writeConflist([{ type: 'berth-test-del' }]);
      const pod = await TestPod.run(daemon, 'del');
      writeFileSync(flag, '');
      await refused(pod.remove(), grpc.INTERNAL, /berth-test-del DEL failed/);
      const { items } = await daemon.runtime.listPodSandbox({});
      assert.equal(items.length, 1);
      rmSync(flag);
      await pod.remove();
      assert.deepEqual((await daemon.runtime.listPodSandbox({})).items, []);
    } finally {
      daemon.writeConflist();
      rmSync('/usr/lib/cni/berth-test-del');
    }
  });

  test('nothing is started in a pod that is being stopped', async () => {
    const { daemon, image } = bench;
    const [gate, inside] = [join(daemon.dir, 'gate'), join(daemon.dir, 'in-del')];
    execFileSync('/usr/bin/mkfifo', [gate]);
    program(
      '/usr/lib/cni/berth-test-slow',
      `cat >/dev/null\n[ "$CNI_COMMAND" = DEL ] && { touch ${inside}; cat ${gate}; exit 0; }\necho '{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}]}'`,
    );
    try {
      daemon.writeConflist([{ type: 'berth-test-slow' }]);
      const pod = await TestPod.run(daemon, 'slow');
      const containerId = await pod.create('late', image.busybox, { command: ['/bin/sleep', '1000'] });
      const stopping = daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
      await until('the DEL', async () => existsSync(inside));
      await refused(daemon.runtime.startContainer({ containerId }), grpc.FAILED_PRECONDITION, /is being stopped/);
      writeFileSync(gate, '');
      await stopping;
      const { status } = await daemon.runtime.containerStatus({ containerId });
      assert.equal(status!.state, ContainerState.CONTAINER_CREATED);
      await refused(daemon.runtime.startContainer({ containerId }), grpc.FAILED_PRECONDITION, /is not ready/);
      program('/usr/lib/cni/berth-test-slow', 'exit 0');
      await pod.remove();
    } finally {
      daemon.writeConflist();
      rmSync('/usr/lib/cni/berth-test-slow');
    }
  });

  test('NetworkReady is false with the reason while no conflist is valid, and true soon after one appears', async () => {
    const { daemon } = bench;
    const network = async () => {
      const { status } = await daemon.runtime.status({});
      return status!.conditions.find(({ type }) => type === 'NetworkReady')!;
    };
    assert.equal((await network()).status, true);
    rmSync(daemon.cniDir, { recursive: true });
    const gone = await network();
    assert.deepEqual([gone.status, gone.reason], [false, 'NetworkPluginNotReady']);
    assert.match(gone.message, /does not exist/);
    await refused(
      daemon.runtime.runPodSandbox({ config: podConfig(daemon, 'early') }),
      grpc.FAILED_PRECONDITION,
      /not ready/,
    );
    mkdirSync(daemon.cniDir);
    writeFileSync(join(daemon.cniDir, '05-bad.conflist'), '{"name": "x"');
    writeFileSync(join(daemon.cniDir, '06-path.conflist'), '{"name":"x","plugins":[{"type":"../../bin/sh"}]}');
    const bad = await network();
    assert.equal(bad.status, false);
    assert.match(bad.message, /05-bad.conflist.*06-path.conflist.*without a path/);
    daemon.writeConflist();
    assert.equal((await network()).status, true);
    for (const name of ['05-bad.conflist', '06-path.conflist']) rmSync(join(daemon.cniDir, name));
  });
});

for (const handler of ociRuntimes) {
  suite(`a broken ${handler}`, { handler }, (bench) => {
    test('an OCI runtime that fails leaves no trace', async () => {
      const { daemon } = bench;
      const pod = await TestPod.run(daemon, 'failing');
      // Kernel: a directory in /sys that does not exist cannot be made; the OCI runtime says so.
      const mounts = [{ containerPath: '/sys/nowhere/deep', hostPath: daemon.dir }];
      const containerId = await pod.create('c', bench.image.busybox, { command: ['/bin/true'], mounts });
      await refused(daemon.runtime.startContainer({ containerId }), grpc.INTERNAL, /sys/);
      await daemon.runtime.removeContainer({ containerId });
      const again = await pod.sh('c', bench.image.busybox, 'exit 0');
      assert.equal((await untilExited(daemon, again)).exitCode, 0);
      await pod.remove();
    });

    test('a container whose preparation fails was never there', async () => {
      const { daemon } = bench;
      const pod = await TestPod.run(daemon, 'unprepared');
      const cases = [
        {
          more: { linux: { securityContext: { runAsUsername: 'nobody-has-this-name' } } },
          code: grpc.FAILED_PRECONDITION,
        },
        { more: { linux: { securityContext: { privileged: true } } }, code: grpc.FAILED_PRECONDITION },
        {
          more: { linux: { securityContext: { capabilities: { addCapabilities: ['NOT_A_CAP'] } } } },
          code: grpc.INVALID_ARGUMENT,
        },
        { more: { image: { image: 'localhost/not/here:1' } }, code: grpc.NOT_FOUND },
        {
          more: { devices: [{ hostPath: '/dev/no-such-device', containerPath: '/dev/x', permissions: 'r' }] },
          code: null,
        },
      ];
      for (const { more, code } of cases) {
        if (code === null) await assert.rejects(pod.create('c', bench.image.busybox, more));
        else await refused(pod.create('c', bench.image.busybox, more), code);
        assert.deepEqual((await daemon.runtime.listContainers({})).containers, []);
      }
      await pod.remove();
    });

    test('a container whose preparation fails is not listed while it is undone either', async () => {
      const { daemon } = bench;
      const pod = await TestPod.run(daemon, 'undone', hostNetwork);
      const more = {
        linux: { securityContext: { ...hostNetwork.linux.securityContext, runAsUsername: 'nobody-at-all' } },
      };
      let failing = true;
      const failures = (async () => {
        for (let attempt = 0; attempt < 20; attempt++) {
          const config = { metadata: { name: 'c', attempt }, ...more };
          await refused(pod.create('c', bench.image.busybox, config), grpc.FAILED_PRECONDITION);
        }
      })().finally(() => {
        failing = false;
      });
      const seen: unknown[] = [];
      while (failing) seen.push(...(await daemon.runtime.listContainers({})).containers);
      await failures;
      assert.deepEqual(seen, []);
      await pod.remove();
    });

    test('the death of the shim is told: the pod is NotReady, its containers have ended', async () => {
      const { daemon } = bench;
      const pod = await TestPod.run(daemon, 'shimless');
      const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000');
      const { info } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
      process.kill(parentOf(JSON.parse(info.info!).pid), 'SIGKILL');
      const status = await untilExited(daemon, containerId);
      assert.deepEqual([status.exitCode, status.reason], [255, 'ContainerStatusUnknown']);
      await until('NotReady', async () => (await pod.status()).state === PodSandboxState.SANDBOX_NOTREADY);
      await pod.remove();
    });

    test('the death of the pause process is told', async () => {
      const { daemon } = bench;
      const pod = await TestPod.run(daemon, 'pauseless', {
        linux: { securityContext: { namespaceOptions: { pid: 1 } } },
      });
      const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000', {
        linux: { securityContext: { namespaceOptions: { pid: 1 } } },
      });
      const { info } = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id, verbose: true });
      process.kill(JSON.parse(info.info!).pid, 'SIGKILL');
      await until('NotReady', async () => (await pod.status()).state === PodSandboxState.SANDBOX_NOTREADY);
      const { status } = await daemon.runtime.containerStatus({ containerId });
      assert.equal(status?.state, ContainerState.CONTAINER_RUNNING);
      await pod.remove();
    });
  });
}

function parentOf(pid: number): number {
  const { readFileSync } = process.getBuiltinModule('node:fs');
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}
