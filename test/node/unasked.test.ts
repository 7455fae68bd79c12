// What pods and containers have without asking: as with containerd 2, and as an operator says.
import assert from 'node:assert/strict';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { capabilityNames } from '../../src/base/capability-names.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, inUserNamespace, TestPod, until } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { outputIn, outputOf } from './containers-support.ts';

await ownHost();

const inNamespace = inUserNamespace();
const sysctls = (name: string) => `cat /proc/sys/net/ipv4/${name}`;
const look = `${sysctls('ip_unprivileged_port_start')}; ${sysctls('ping_group_range')}`;
const byUser = (more: object = {}) => ({ linux: { securityContext: { runAsUser: { value: 1000n }, ...more } } });

for (const handler of ociRuntimes) {
  suite(`by default, with ${handler}`, { handler }, (bench) => {
    test('who is not root listens at every port and may ping, in a pod with a network of its own', async () => {
      assert.deepEqual(await outputOf(bench, look), ['0', '0\t2147483647']);
      const drop = byUser({ capabilities: { dropCapabilities: ['ALL'] } });
      assert.deepEqual(await outputOf(bench, 'httpd -p 80 -h /tmp && echo listens', drop), ['listens']);
      const { stdout } = await onHost(bench, look);
      assert.notEqual(stdout, '0\n0\t2147483647\n', 'the host has its own');
    });

    test('in a user namespace groups that it does not map cannot be let ping', async () => {
      const pod = await TestPod.run(bench.daemon, 'mapped', inNamespace);
      const [ports, groups] = await outputIn(pod, bench.image.busybox, look, inNamespace);
      assert.deepEqual([ports, groups === '0\t2147483647'], ['0', false]);
      await pod.remove();
    });

    test('what the pod asks for goes before', async () => {
      const asked = { 'net.ipv4.ip_unprivileged_port_start': '99', 'net/ipv4/ping_group_range': '1 2' };
      assert.deepEqual(await outputOf(bench, look, {}, { linux: { sysctls: asked } }), ['99', '1\t2']);
    });

    test('a log is 0640 in folders that everybody passes: a collector needs the group alone', async () => {
      const pod = await TestPod.run(bench.daemon, 'logs');
      const containerId = await pod.create('c', bench.image.busybox, { logPath: 'deep/er/0.log' });
      await bench.daemon.runtime.startContainer({ containerId });
      const top = pod.config.logDirectory!;
      const modes = ['deep/er/0.log', 'deep/er', 'deep', ''].map((each) => statSync(join(top, each)).mode & 0o7777);
      assert.deepEqual(modes, [0o640, 0o755, 0o755, 0o755]);
      rmSync(join(top, 'deep'), { recursive: true });
      await pod.remove();
    });
  });

  const settings = {
    pods: {
      unprivileged_ports: false,
      unprivileged_icmp: false,
      sysctls: ['net.core.somaxconn=77', 'kernel.sem=1 2 3 4'],
    },
    containers: {
      capabilities: ['KILL'],
      env: ['A=of the operator', 'FLAVOR=x=y'],
      ulimits: ['nofile=100:200', 'core=0:1024', 'data=unlimited', 'fsize=4096000:unlimited', 'sigpending=600'],
      device_ownership_from_security_context: true,
    },
  };
  suite(`as the operator says, with ${handler}`, { handler, settings }, (bench) => {
    test('sysctls of pods, where they have the namespace', async () => {
      const script = `${look}; ${sysctls('../core/somaxconn')}; cat /proc/sys/kernel/sem`;
      const [ports, groups, ...rest] = await outputOf(bench, script);
      assert.deepEqual([ports, groups === '0\t2147483647', ...rest], ['1024', false, '77', '1\t2\t3\t4']);
      const { stdout } = await onHost(bench, sysctls('../core/somaxconn'));
      assert.notEqual(stdout.trim(), '77');
    });

    test('capabilities, variables, limits of containers', async () => {
      const script =
        'grep CapBnd /proc/self/status; echo $A; echo $FLAVOR; ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc';
      const kill = (1n << BigInt(capabilityNames.indexOf('CAP_KILL'))).toString(16).padStart(16, '0');
      const lines = await outputOf(bench, script);
      assert.deepEqual(lines, [`CapBnd:\t${kill}`, 'of the operator', 'x=y', '100', '200', '0', '2']); // core in blocks of 512
      const envs = [{ key: 'A', value: Buffer.from('of the request') }];
      assert.equal((await outputOf(bench, 'echo $A', { envs }))[0], 'of the request');
    });

    test('no limit is none: at the start, in an exec, and once other limits were changed; tools read it as it is', async () => {
      const pod = await TestPod.run(bench.daemon, 'unlimited');
      const script = 'grep -E "Max (data|file) size|pending" /proc/self/limits';
      const words = (output: string) => output.trim().replaceAll(/ +/g, ' ').split(/ ?\n/);
      const wanted = [
        'Max file size 4096000 unlimited bytes',
        'Max data size unlimited unlimited bytes',
        'Max pending signals 600 600 signals',
      ];
      const containerId = await pod.sh('c', bench.image.busybox, `${script}; sleep 1000`);
      await until('its words', async () => pod.log('c').length === wanted.length);
      assert.deepEqual(
        words(
          pod
            .log('c')
            .map(({ text }) => text)
            .join('\n'),
        ),
        wanted,
      );
      const { runtime } = bench.daemon;
      await runtime.updateContainerResources({ containerId, linux: { memoryLimitInBytes: 64n << 20n } });
      const { stdout } = await runtime.execSync({ containerId, cmd: ['/bin/sh', '-c', script] });
      assert.deepEqual(words(Buffer.from(stdout).toString()), wanted);
      const { info } = await runtime.containerStatus({ containerId, verbose: true });
      assert.match(info.info!, /\{"type":"RLIMIT_DATA","soft":18446744073709551615,"hard":18446744073709551615\}/);
      await pod.remove();
    });

    test('devices that are asked for belong to the user that is asked for', async () => {
      const devices = [{ hostPath: '/dev/fuse', containerPath: '/dev/own', permissions: 'rw' }];
      const script = 'stat -c %u:%g /dev/own /dev/zero';
      const of = (context: object) => outputOf(bench, script, { devices, ...byUser(context) });
      assert.deepEqual(await of({ runAsGroup: { value: 50n } }), ['1000:50', '0:0']);
      assert.deepEqual(await of({}), ['1000:0', '0:0']);
    });
  });
}

/** What a container with the network and IPC of the host sees. */
async function onHost(bench: Parameters<typeof outputOf>[0], script: string): Promise<{ stdout: string }> {
  const pod = await TestPod.run(bench.daemon, 'on-host', hostNetwork);
  const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000', hostNetwork);
  const { stdout } = await bench.daemon.runtime.execSync({ containerId, cmd: ['/bin/sh', '-c', script] });
  await pod.remove();
  return { stdout: Buffer.from(stdout).toString() };
}
