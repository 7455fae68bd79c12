// What the pages of others ask crictl for, with jq: it works here as with the peers.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MountPropagation, NamespaceMode } from '../../src/api/runtime/v1/cri.ts';
import { ensureCrictl } from '../conformance/go.ts';
import { ownHost } from '../harness/own-host.ts';
import { hostNetwork, TestPod, until } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';

const ensureOurCrictl = () => ensureCrictl('/var/cache/berth');
await ownHost(ensureOurCrictl);

const crictl = await ensureOurCrictl();

for (const handler of ociRuntimes) {
  suite(`crictl and jq with ${handler}`, { handler }, (bench) => {
    const asked = (command: string[], recipe: string): string => {
      const options = ['-r', `unix://${bench.daemon.socket}`, '-i', `unix://${bench.daemon.socket}`];
      const json = execFileSync(crictl, [...options, ...command], { encoding: 'utf8' });
      return execFileSync('/usr/bin/jq', ['-r', recipe], { input: json, encoding: 'utf8' }).trim();
    };

    test('containers', async () => {
      const privileged = { linux: { securityContext: { privileged: true } } };
      const pod = await TestPod.run(bench.daemon, 'pod', privileged);
      const mounts = [
        { containerPath: '/data', hostPath: bench.daemon.logDir, readonly: true },
        { containerPath: '/both', hostPath: '/run', propagation: MountPropagation.PROPAGATION_BIDIRECTIONAL },
      ];
      const id = await pod.sh('c', bench.image.busybox, 'sleep 1000', {
        ...{ linux: { ...privileged.linux, resources: { cpuShares: 512n, memoryLimitInBytes: 64n << 20n } } },
        ...{ labels: { 'io.kubernetes.pod.name': 'p' }, envs: [{ key: 'A', value: Buffer.from('b') }], mounts },
      });
      const inspect = (recipe: string) => asked(['inspect', id], recipe);
      const pid = inspect('.info.pid');
      // While it executes its command it has no command line.
      await until('the process of the container', async () =>
        /sleep/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1')),
      );
      const recipes: [recipe: string, answer: string][] = [
        ['.info.sandboxID', pod.id],
        ['.info.snapshotKey', id],
        ['.info.removing', 'false'],
        ['.info.privileged', 'true'],
        ['.info.config.linux.security_context.privileged', 'true'],
        ['.info.config.metadata.name', 'c'],
        ['.info.config.image.image', bench.image.busybox],
        ['.info.config.labels["io.kubernetes.pod.name"]', 'p'],
        ['.info.config.envs[]|select(.key=="A").value', 'b'],
        ['.info.config.log_path', 'c.log'],
        [
          '.info.config.mounts[]|select(.container_path=="/data")|"\\(.host_path) \\(.readonly)"',
          `${bench.daemon.logDir} true`,
        ],
        ['.info.config.mounts[1].propagation', '2'],
        ['.info.config.linux.resources.memory_limit_in_bytes', String(64 << 20)],
        ['.info.config.linux.resources|has("cpu_quota")', 'false'],
        ['.info.runtimeSpec.process.args|join(" ")', '/bin/sh -c sleep 1000'],
        ['.info.runtimeSpec.mounts[]|select(.destination=="/data").source', bench.daemon.logDir],
        ['.info.runtimeSpec.linux.resources.memory.limit', String(64 << 20)],
        ['.info.runtimeSpec.linux.cgroupsPath', `/${bench.daemon.name}/${pod.id}/${id}`],
        ['.info.runtimeSpec.annotations["io.kubernetes.cri.sandbox-id"]', pod.id],
        ['.status.state', 'CONTAINER_RUNNING'],
      ];
      for (const [recipe, answer] of recipes) assert.equal(inspect(recipe), answer, recipe);
      const network = inspect('.info.runtimeSpec.linux.namespaces[]|select(.type=="network").path');
      assert.equal(`net:[${statSync(network).ino}]`, readlinkSync(`/proc/${pid}/ns/net`));
      const wanted = { cpuShares: 700n, memoryLimitInBytes: 80n << 20n };
      await bench.daemon.runtime.updateContainerResources({ containerId: id, linux: wanted });
      assert.equal(inspect('.info.runtimeSpec.linux.resources|"\\(.cpu.shares) \\(.memory.limit)"'), `700 ${80 << 20}`);
      await pod.remove();
    });

    test('pods', async () => {
      const namespaceOptions = { pid: NamespaceMode.POD };
      const pod = await TestPod.run(bench.daemon, 'pod', {
        ...{ hostname: 'here', annotations: { note: '1' }, labels: { app: 'web' } },
        linux: {
          ...{ sysctls: { 'net.ipv4.ip_forward': '1' }, securityContext: { namespaceOptions } },
          resources: { cpuShares: 200n },
        },
      });
      await bench.daemon.runtime.updatePodSandboxResources({ podSandboxId: pod.id, resources: { cpuShares: 300n } });
      const inspect = (recipe: string) => asked(['inspectp', pod.id], recipe);
      const pid = inspect('.info.pid');
      const recipes: [recipe: string, answer: string][] = [
        ['.info.processStatus', 'running'],
        ['.info.netNamespaceClosed', 'false'],
        ['.info.runtimeHandler', handler],
        ['.info.config.metadata.namespace', 'test'],
        ['.info.config.hostname', 'here'],
        ['.info.config.log_directory', pod.config.logDirectory!],
        ['.info.config.annotations.note', '1'],
        ['.info.config.labels.app', 'web'],
        ['.info.config.linux.sysctls["net.ipv4.ip_forward"]', '1'],
        ['.info.config.linux.security_context|has("privileged")', 'false'],
        ['.info.config.linux.security_context.namespace_options|has("pid")', 'false'],
        ['.info.runtimeSpec.hostname', 'here'],
        ['.info.runtimeSpec.annotations["io.kubernetes.cri.container-type"]', 'sandbox'],
        ['.info.runtimeSpec.annotations["io.kubernetes.cri.sandbox-name"]', 'pod'],
        ['.info.runtimeSpec.linux.cgroupsPath', `/${bench.daemon.name}/${pod.id}/${pod.id}`],
        ['.info.runtimeSpec.linux.sysctl["net.ipv4.ping_group_range"]', '0 2147483647'],
        ['.info.cniResult.Interfaces.eth0.IPConfigs[0].IP', await pod.ip()],
        [
          '.info.cniResult.Interfaces.eth0.Sandbox',
          inspect('.info.runtimeSpec.linux.namespaces[]|select(.type=="network").path'),
        ],
        ['.info.sandboxMetadata.Metadata.IP', await pod.ip()],
        ['.info.sandboxMetadata.Metadata.Name', 'pod_test_uid-pod_0'],
        ['.info.sandboxMetadata.Metadata.Config.hostname', 'here'],
        ['.info.sandboxMetadata.Metadata.NetNSPath', inspect('.info.cniResult.Interfaces.eth0.Sandbox')],
        ['.info|has("runtimeOptions"), has("overhead")', 'true\nfalse'],
        ['.info.resources.linux.cpu_shares', '300'],
        ['.status.network.ip', await pod.ip()],
      ];
      for (const [recipe, answer] of recipes) assert.equal(inspect(recipe), answer, recipe);
      for (const [type, name] of Object.entries({ network: 'net', ipc: 'ipc', uts: 'uts', pid: 'pid' })) {
        const path = inspect(`.info.runtimeSpec.linux.namespaces[]|select(.type=="${type}").path`);
        assert.equal(`${name}:[${statSync(path).ino}]`, readlinkSync(`/proc/${pid}/ns/${name}`), type);
        if (type === 'network') assert.match(path, /^\/var\/run\/netns\/cni-/);
      }
      execFileSync('/usr/bin/umount', ['-l', inspect('.info.cniResult.Interfaces.eth0.Sandbox')]);
      assert.equal(inspect('.info.netNamespaceClosed'), 'true');
      await pod.remove();
      const host = await TestPod.run(bench.daemon, 'host', hostNetwork);
      assert.equal(asked(['inspectp', host.id], '.info.netNamespaceClosed'), 'false');
      await host.remove();
    });

    test('the node', () => {
      assert.equal(asked(['info'], '.lastCNILoadStatus'), 'OK');
      assert.equal(asked(['info'], '.cniconfig.PluginConfDir'), bench.daemon.cniDir);
      assert.equal(asked(['info'], '.cniconfig.Networks[].Config.Name'), bench.daemon.name);
      assert.equal(asked(['info'], '.config.cgroupParent'), join('/', bench.daemon.name));
      assert.equal(asked(['info'], '.status.conditions[]|select(.type=="NetworkReady").status'), 'true');
    });
  });
}
