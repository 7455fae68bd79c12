// User namespaces: what the pod's processes are to the host, and what files they see and leave.
import assert from 'node:assert/strict';
import { chownSync, mkdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { NamespaceMode } from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import {
  type ContainerConfig,
  idsFrom,
  inUserNamespace,
  type PodConfig,
  podConfig,
  refused,
  TestPod,
  until,
  untilExited,
} from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { ensureNewerRunc } from '../runtimes/newer.ts';

await ownHost(ensureNewerRunc);

const first = 200_000;
const map = idsFrom(first);
const inNamespace = (options: Parameters<typeof inUserNamespace>[1] = {}, ids = map) => inUserNamespace(ids, options);
const texts = (pod: TestPod, name: string) => pod.log(name).map(({ text }) => text);

const newer = { handler: 'newer-runc', settings: { handlers: { 'newer-runc': { path: await ensureNewerRunc() } } } };

for (const options of [...ociRuntimes.map((handler) => ({ handler })), newer]) {
  const { handler } = options;
  suite(`user namespaces with ${handler}`, options, (bench) => {
    const run = async (name: string, script: string, options = inNamespace(), more: ContainerConfig = {}) => {
      const pod = await TestPod.run(bench.daemon, name, options);
      const id = await pod.sh('c', bench.image.busybox, script, { ...options, ...more });
      const { exitCode } = await untilExited(bench.daemon, id);
      assert.equal(exitCode, 0, texts(pod, 'c').join('\n'));
      return pod;
    };

    test('root inside is nobody outside, owns the network, the root and the pod files', async () => {
      const script =
        'cat /proc/self/uid_map /proc/self/gid_map; id -u; stat -c "%n %u:%g" / /bin /etc/hosts /etc/hostname ' +
        '/etc/resolv.conf /dev/shm; ip link set lo mtu 1400 && echo network; echo text >/written && cat /written; ' +
        'su -s /bin/sh www-data -c "id -u; cat /etc/hosts >/dev/null && echo readable" 2>/dev/null || true';
      const cap = {
        linux: {
          securityContext: { ...inNamespace().linux.securityContext, capabilities: { addCapabilities: ['NET_ADMIN'] } },
        },
      };
      const pod = await run('root', script, inNamespace(), cap);
      const lines = texts(pod, 'c');
      assert.match(lines[0]!, new RegExp(`^ +0 +${first} +65536$`));
      assert.match(lines[1]!, new RegExp(`^ +0 +${first} +65536$`));
      assert.equal(lines[2], '0');
      for (const line of lines.slice(3, 9)) assert.match(line, / 0:0$/);
      assert.ok(lines.includes('network') && lines.includes('text'), lines.join('\n'));
      await pod.remove();
    });

    test('what it writes belongs to the mapped root on the disk', async () => {
      const pod = await TestPod.run(bench.daemon, 'disk', inNamespace());
      const id = await pod.sh(
        'c',
        bench.image.busybox,
        'touch /own; chown 7:8 /own; chmod 4755 /own; sleep 1000',
        inNamespace(),
      );
      const file = join(bench.daemon.dataDir, 'v1/snapshots', id, 'fs/own');
      const stat = await until('the file', async () => statSync(file, { throwIfNoEntry: false }));
      await until('its owner', async () => statSync(file).uid === first + 7);
      assert.equal(statSync(file).gid, first + 8);
      assert.ok(stat);
      const { status } = await bench.daemon.runtime.containerStatus({ containerId: id, verbose: true });
      assert.equal(status?.id, id);
      await pod.remove();
    });

    test('volumes show their owners through the mappings', async () => {
      const folder = join(bench.daemon.dir, `volume-${handler}`);
      mkdirSync(folder);
      writeFileSync(join(folder, 'roots'), 'secret', { mode: 0o600 });
      writeFileSync(join(folder, 'apps'), 'x');
      chownSync(join(folder, 'apps'), 1000, 1001);
      const file = join(bench.daemon.dir, `single-${handler}`);
      writeFileSync(file, 'one file');
      const mapped = { uidMappings: map, gidMappings: map };
      const mounts = [
        { containerPath: '/mapped', hostPath: folder, ...mapped },
        { containerPath: '/plain', hostPath: folder },
        { containerPath: '/single', hostPath: file, readonly: true, ...mapped },
      ];
      const script =
        'stat -c "%u:%g" /mapped/roots /mapped/apps /plain/roots /single; cat /mapped/roots; echo; cat /single; echo; ' +
        'cat /plain/roots 2>&1; touch /single 2>&1; echo new >/mapped/new';
      const pod = await run('volumes', script, inNamespace(), { mounts });
      const lines = texts(pod, 'c');
      assert.deepEqual(lines.slice(0, 6), ['0:0', '1000:1001', '65534:65534', '0:0', 'secret', 'one file']);
      assert.match(lines[6]!, /Permission denied/);
      assert.match(lines[7]!, /Read-only/);
      assert.deepEqual([statSync(join(folder, 'new')).uid, statSync(join(folder, 'new')).gid], [0, 0]);
      await pod.remove();
    });

    test("also on the host's network, which it does not own", async () => {
      const pod = await run(
        'host',
        'readlink /proc/self/ns/net; ls /sys/class/net >/dev/null && echo sys; cat /proc/self/uid_map',
        inNamespace({ network: NamespaceMode.NODE }),
      );
      const [net, sys, uids] = texts(pod, 'c');
      assert.deepEqual([net, sys], [readlinkSync('/proc/self/ns/net'), 'sys']);
      assert.match(uids!, new RegExp(`^ +0 +${first}`));
      await pod.remove();
    });

    test('with a PID namespace of the pod, exec, another user and a read-only root', async () => {
      const options = inNamespace({ pid: NamespaceMode.POD });
      const pod = await TestPod.run(bench.daemon, 'exec', options);
      const securityContext = { ...options.linux.securityContext, readonlyRootfs: true, runAsUser: { value: 1234n } };
      const id = await pod.sh('c', bench.image.busybox, 'cat /proc/1/comm; sleep 1000', { linux: { securityContext } });
      const { stdout } = await bench.daemon.runtime.execSync({
        containerId: id,
        cmd: ['/bin/sh', '-c', 'id -u; cat /proc/self/uid_map; touch /x 2>&1'],
        timeout: 10n,
      });
      assert.match(Buffer.from(stdout).toString(), new RegExp(`^1234\\n +0 +${first} +65536\\n.*Read-only`));
      await until('its line', async () => texts(pod, 'c')[0] === 'berth-pause');
      const info = await bench.daemon.runtime.containerStatus({ containerId: id, verbose: true });
      const { pid } = JSON.parse(info.info.info!);
      assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), new RegExp(`^Uid:\\t${first + 1234}\\t`, 'm'));
      await pod.remove();
    });

    test('it opens its own standard streams, as root, as a user, and in an exec', async () => {
      const { securityContext } = inNamespace().linux;
      const write = 'echo out >/dev/stdout && echo err >/dev/stderr && cat </dev/stdin';
      for (const [name, uid] of Object.entries({ root: 0n, user: 1234n })) {
        const config = { linux: { securityContext: { ...securityContext, runAsUser: { value: uid } } } };
        const pod = await TestPod.run(bench.daemon, `streams-${name}`, inNamespace());
        const id = await pod.sh('c', bench.image.busybox, `${write} & sleep 1000`, { stdin: true, ...config });
        await until('its lines', async () => texts(pod, 'c').length === 2);
        assert.deepEqual(texts(pod, 'c').sort(), ['err', 'out']);
        const cmd = ['/bin/sh', '-c', write.replace(' && cat </dev/stdin', '')];
        const { stdout, stderr } = await bench.daemon.runtime.execSync({ containerId: id, cmd, timeout: 10n });
        assert.deepEqual([Buffer.from(stdout).toString(), Buffer.from(stderr).toString()], ['out\n', 'err\n']);
        await pod.remove();
      }
    });

    test('maps that CRI does not allow are refused, and leave nothing', async () => {
      const attempt = (name: string, options: PodConfig) =>
        bench.daemon.runtime.runPodSandbox({ config: podConfig(bench.daemon, name, options) });
      const two = inNamespace({}, [...map, { containerId: 70_000, hostId: 400_000, length: 10 }]);
      const notRoot = inNamespace({}, [{ containerId: 1, hostId: first, length: 10 }]);
      await refused(attempt('two', two), grpc.INVALID_ARGUMENT, /exactly one mapping/);
      await refused(attempt('not-root', notRoot), grpc.INVALID_ARGUMENT, /must map container id 0/);
      await refused(attempt('host-pid', inNamespace({ pid: NamespaceMode.NODE })), grpc.INVALID_ARGUMENT, /host's pid/);
      const { items } = await bench.daemon.runtime.listPodSandbox({});
      assert.deepEqual(items, []);
    });
  });
}
