// What an operator sees: pods and containers over the socket, on real images, CNI plugins and OCI runtimes.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { ContainerState, NamespaceMode, PodSandboxState, Protocol } from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, podConfig, refused, TestPod, until, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';

await ownHost();

/** Asks until the server in the pod listens. */
const page = (url: string): Promise<string> =>
  until(`an answer from ${url}`, async () => {
    try {
      return await (await fetch(url, { headers: { connection: 'close' } })).text();
    } catch {
      return undefined;
    }
  });

for (const handler of ociRuntimes) {
  suite(`pods with ${handler}`, { handler }, (bench) => {
    test('nginx behind CNI answers on the pod IP and on the host port', async () => {
      const hostPort = 20_000;
      const portMappings = [{ protocol: Protocol.TCP, containerPort: 80, hostPort, hostIp: '' }];
      const pod = await TestPod.run(bench.daemon, 'web', { portMappings });
      await pod.start('nginx', bench.image.nginx);
      assert.match(await page(`http://${await pod.ip()}/`), /nginx/i);
      assert.match(await page(`http://127.0.0.1:${hostPort}/`), /nginx/i);
      await pod.remove();
    });

    test('the containers of a pod share the network, and the PID namespace when asked', async () => {
      const shared = { linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.POD } } } };
      const own = { linux: { securityContext: { namespaceOptions: { pid: NamespaceMode.CONTAINER } } } };
      for (const [name, options] of Object.entries({ shared, own })) {
        const pod = await TestPod.run(bench.daemon, name, options);
        await pod.sh(
          'server',
          bench.image.busybox,
          'mkdir /www; echo from-server >/www/index.html; exec httpd -f -p 8080 -h /www',
          options,
        );
        const id = await pod.sh('client', bench.image.busybox, 'sleep 1000', options);
        const exec = async (script: string) => {
          const { stdout } = await bench.daemon.runtime.execSync({
            containerId: id,
            cmd: ['/bin/sh', '-c', script],
            timeout: 10n,
          });
          return Buffer.from(stdout).toString();
        };
        const answer = await until(
          'the server',
          async () => (await exec('wget -qO- http://127.0.0.1:8080/ || true')) || undefined,
        );
        assert.equal(answer, 'from-server\n');
        assert.equal((await exec('ps')).includes('httpd'), name === 'shared');
        assert.equal((await exec('cat /proc/1/comm')).trim(), name === 'shared' ? 'berth-pause' : 'sleep');
        await pod.remove();
      }
    });

    test("a host-network pod has the host's interfaces, name and no IP of its own", async () => {
      const pod = await TestPod.run(bench.daemon, 'host', hostNetwork);
      const id = await pod.sh('c', bench.image.busybox, 'hostname; ls /sys/class/net', hostNetwork);
      assert.equal((await untilExited(bench.daemon, id)).exitCode, 0);
      assert.equal(await pod.ip(), '');
      const lines = pod.log('c').map(({ text }) => text);
      assert.equal(lines[0], hostname());
      assert.ok(lines.includes(bench.daemon.bridge) || lines.includes('lo'));
      await pod.remove();
    });

    test('a host-network pod takes no other name than the host has, as it has no UTS namespace', async () => {
      const refusal = TestPod.run(bench.daemon, 'renamed', { ...hostNetwork, hostname: 'other' });
      await refused(refusal, grpc.INVALID_ARGUMENT, /config\.hostname = "other".*leave it empty/);
      const same = await TestPod.run(bench.daemon, 'same', { ...hostNetwork, hostname: hostname() });
      await same.remove();
    });

    test('exit codes and reasons are the truth', async () => {
      const pod = await TestPod.run(bench.daemon, 'exits');
      const limited = { linux: { resources: { memoryLimitInBytes: 32n << 20n } } };
      const cases = [
        { name: 'zero', script: 'exit 0', code: 0, reason: 'Completed' },
        { name: 'seven', script: 'exit 7', code: 7, reason: 'Error' },
        { name: 'signal', script: 'kill -9 $$', code: 137, reason: 'Error' },
        { name: 'term', script: 'kill -TERM $$; sleep 9', code: 143, reason: 'Error' },
        {
          name: 'oom',
          script: 'exec dd if=/dev/zero of=/dev/null bs=200M',
          code: 137,
          reason: 'OOMKilled',
          more: limited,
        },
      ];
      for (const { name, script, code, reason, more } of cases) {
        // The pod shares its PID namespace: as PID 1 of its own the shell would be shielded from its own signals.
        const id = await pod.sh(name, bench.image.busybox, script, more);
        const status = await untilExited(bench.daemon, id);
        assert.deepEqual([name, status.exitCode, status.reason], [name, code, reason]);
        assert.ok(status.startedAt > 0n && status.finishedAt >= status.startedAt);
      }
      await pod.remove();
    });

    test('a command that does not exist fails StartContainer with StartError', async () => {
      const pod = await TestPod.run(bench.daemon, 'nocommand');
      const containerId = await pod.create('c', bench.image.busybox, { command: ['/no/such/command'] });
      await refused(bench.daemon.runtime.startContainer({ containerId }), grpc.INTERNAL, /no\/such\/command/);
      const { status } = await bench.daemon.runtime.containerStatus({ containerId });
      assert.equal(status?.state, ContainerState.CONTAINER_EXITED);
      assert.deepEqual([status?.exitCode, status?.reason, status?.startedAt], [128, 'StartError', 0n]);
      assert.match(status?.message ?? '', /no\/such\/command/);
      await refused(bench.daemon.runtime.startContainer({ containerId }), grpc.FAILED_PRECONDITION);
      await pod.remove();
    });

    test('a thousand log lines stay in order, and a last one without a newline is kept', async () => {
      const pod = await TestPod.run(bench.daemon, 'logs');
      const id = await pod.sh(
        'c',
        bench.image.busybox,
        'i=0; while [ $i -lt 1000 ]; do echo "line $i"; i=$((i+1)); done; printf last',
      );
      await untilExited(bench.daemon, id);
      const texts = pod.log('c').map(({ text }) => text);
      assert.deepEqual(texts, [...Array.from({ length: 1000 }, (_, index) => `line ${index}`), 'last']);
      // Tagged as a piece, it has no newline for `kubectl logs` and for a termination message either.
      assert.match(readFileSync(join(pod.config.logDirectory!, 'c.log'), 'utf8'), / stdout P last\n$/);
      await pod.remove();
    });

    test('ExecSync returns output and exit code, and kills what takes too long', async () => {
      const pod = await TestPod.run(bench.daemon, 'exec');
      const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000', {
        envs: [{ key: 'FROM_POD', value: Buffer.from('yes') }],
        workingDir: '/tmp',
      });
      const exec = (script: string, timeout = 10n) =>
        bench.daemon.runtime.execSync({ containerId, cmd: ['/bin/sh', '-c', script], timeout });
      const { stdout, stderr, exitCode } = await exec('echo "$FROM_POD $PWD"; echo problem >&2; exit 42');
      assert.deepEqual(
        [Buffer.from(stdout).toString(), Buffer.from(stderr).toString(), exitCode],
        ['yes /tmp\n', 'problem\n', 42],
      );
      await refused(exec('sleep 500 & sleep 500', 1n), grpc.DEADLINE_EXCEEDED, /timed out/);
      const { stdout: processes } = await exec('ps');
      assert.doesNotMatch(Buffer.from(processes).toString(), /sleep 500/);
      const { stdout: large } = await exec('dd if=/dev/zero bs=1M count=20 2>/dev/null', 60n);
      assert.equal(large.length, 16 << 20);
      await refused(
        bench.daemon.runtime.execSync({ containerId, cmd: ['/no/such'], timeout: 5n }),
        grpc.INTERNAL,
        /no\/such/,
      );
      await pod.remove();
    });

    test('every call may be repeated', async () => {
      const { runtime, images } = bench.daemon;
      const pod = await TestPod.run(bench.daemon, 'twice');
      await refused(runtime.runPodSandbox({ config: pod.config }), grpc.ALREADY_EXISTS, /exists already/);
      assert.equal((await pod.status()).state, PodSandboxState.SANDBOX_READY);
      const containerId = await pod.create('c', bench.image.busybox, { command: ['/bin/sleep', '1000'] });
      const config = { metadata: { name: 'c', attempt: 0 }, image: { image: bench.image.busybox } };
      const again = runtime.createContainer({ podSandboxId: pod.id, config, sandboxConfig: pod.config });
      await refused(again, grpc.ALREADY_EXISTS);
      await runtime.startContainer({ containerId });
      await refused(runtime.startContainer({ containerId }), grpc.FAILED_PRECONDITION);
      for (let i = 0; i < 2; i++) await runtime.stopContainer({ containerId, timeout: 0n });
      for (let i = 0; i < 2; i++) await runtime.removeContainer({ containerId });
      for (let i = 0; i < 2; i++) await runtime.stopPodSandbox({ podSandboxId: pod.id });
      assert.equal((await pod.status()).state, PodSandboxState.SANDBOX_NOTREADY);
      for (let i = 0; i < 2; i++) await runtime.removePodSandbox({ podSandboxId: pod.id });
      for (let i = 0; i < 2; i++) await images.pullImage({ image: { image: bench.image.busybox } });
      for (let i = 0; i < 2; i++) await images.removeImage({ image: { image: 'localhost/never/was:there' } });
    });

    test('unknown ids: Stop and Remove succeed, everything else is NOT_FOUND', async () => {
      const { runtime, images } = bench.daemon;
      const unknown = 'f'.repeat(64);
      await runtime.stopPodSandbox({ podSandboxId: unknown });
      await runtime.removePodSandbox({ podSandboxId: unknown });
      await runtime.stopContainer({ containerId: unknown, timeout: 1n });
      await runtime.removeContainer({ containerId: unknown });
      await refused(runtime.podSandboxStatus({ podSandboxId: unknown }), grpc.NOT_FOUND, /f{64}/);
      await refused(runtime.containerStatus({ containerId: unknown }), grpc.NOT_FOUND, /f{64}/);
      await refused(runtime.startContainer({ containerId: unknown }), grpc.NOT_FOUND);
      await refused(runtime.execSync({ containerId: unknown, cmd: ['true'] }), grpc.NOT_FOUND);
      await refused(runtime.reopenContainerLog({ containerId: unknown }), grpc.NOT_FOUND);
      const config = { metadata: { name: 'c' }, image: { image: bench.image.busybox } };
      await refused(
        runtime.createContainer({ podSandboxId: unknown, config, sandboxConfig: podConfig(bench.daemon, 'x') }),
        grpc.NOT_FOUND,
      );
      assert.deepEqual((await runtime.listPodSandbox({ filter: { id: unknown } })).items, []);
      assert.equal((await images.imageStatus({ image: { image: 'localhost/never/was:there' } })).image, undefined);
    });

    test('30 pods at once', async () => {
      const pods = await Promise.all(
        Array.from({ length: 30 }, async (_, index) => {
          const pod = await TestPod.run(bench.daemon, `many-${index}`);
          await pod.sh('c', bench.image.busybox, `echo pod ${index}; sleep 1000`);
          return pod;
        }),
      );
      const ips = await Promise.all(pods.map((pod) => pod.ip()));
      assert.equal(new Set(ips).size, 30);
      for (const [index, pod] of pods.entries()) {
        await until('its line', async () => pod.log('c').length > 0);
        assert.deepEqual(pod.log('c'), [{ stream: 'stdout', text: `pod ${index}` }]);
      }
      const { containers } = await bench.daemon.runtime.listContainers({
        filter: { state: { state: ContainerState.CONTAINER_RUNNING } },
      });
      assert.equal(containers.length, 30);
      await Promise.all(pods.map((pod) => pod.remove()));
    });
  });
}
