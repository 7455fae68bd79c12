// What each call answers, field by field.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import { parseLog, refused, TestPod, until, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';

await ownHost();

const { NODE, POD, CONTAINER } = cri.NamespaceMode;

suite('node calls', {}, (bench) => {
  test('Version answers whatever version was asked for', async () => {
    for (const version of ['', 'v1', '99']) {
      const answer = await bench.daemon.runtime.version({ version });
      assert.deepEqual([answer.runtimeName, answer.runtimeApiVersion], ['berth', 'v1']);
      assert.match(answer.runtimeVersion, /^\d+\.\d+\.\d+/);
    }
  });

  test('Status has conditions, handlers and features; verbose tells the configuration and that there is no pause image', async () => {
    const { status, runtimeHandlers, features, info } = await bench.daemon.runtime.status({ verbose: true });
    assert.deepEqual(
      status?.conditions.map(({ type, status: ok }) => [type, ok]),
      [
        ['RuntimeReady', true],
        ['NetworkReady', true],
      ],
    );
    assert.deepEqual(
      runtimeHandlers.map(({ name }) => name),
      ['', 'crun', 'runc'],
    );
    assert.equal(features?.supplementalGroupsPolicy, true);
    const { runDir, cni, maxContainerLogLineSize } = JSON.parse(info.config!);
    assert.equal(runDir, bench.daemon.runDir);
    // Where clients of containerd look for them.
    assert.deepEqual([cni.confDir, maxContainerLogLineSize], [bench.daemon.cniDir, 16384]);
    assert.match(Object.values(info).join(), /none/);
    assert.deepEqual((await bench.daemon.runtime.status({})).info, {});
  });

  test('RuntimeConfig tells the cgroup driver', async () => {
    const { linux } = await bench.daemon.runtime.runtimeConfig({});
    assert.equal(linux?.cgroupDriver, cri.CgroupDriver.CGROUPFS);
  });

  test('UpdateRuntimeConfig checks the pod CIDR', async () => {
    const { runtime } = bench.daemon;
    await runtime.updateRuntimeConfig({});
    await runtime.updateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr: '10.1.0.0/24,fd00::/64' } } });
    await refused(
      runtime.updateRuntimeConfig({ runtimeConfig: { networkConfig: { podCidr: '10.1.0.0/40' } } }),
      grpc.INVALID_ARGUMENT,
      /pod_cidr/,
    );
  });
});

suite('pod calls', {}, (bench) => {
  test('PodSandboxStatus has every field, both addresses, and the containers', async () => {
    const { daemon } = bench;
    const ipam = {
      type: 'host-local',
      dataDir: daemon.ipamDir,
      ranges: [[{ subnet: daemon.subnet }], [{ subnet: 'fd00:be::/64' }]],
      routes: [{ dst: '0.0.0.0/0' }],
    };
    daemon.writeConflist([{ type: 'bridge', bridge: daemon.bridge, isGateway: true, ipam }]);
    const pod = await TestPod.run(daemon, 'full', { labels: { l: '1' }, annotations: { a: '2' } });
    daemon.writeConflist();
    const id = await pod.sh('c', bench.image.busybox, 'sleep 1000');
    const answer = await daemon.runtime.podSandboxStatus({ podSandboxId: pod.id.slice(0, 13), verbose: true });
    const { status } = answer;
    assert.deepEqual(
      [status?.id, status?.metadata, status?.state],
      [pod.id, pod.config.metadata, cri.PodSandboxState.SANDBOX_READY],
    );
    assert.deepEqual([status?.labels, status?.annotations], [{ l: '1' }, { a: '2' }]);
    assert.match(status?.network?.ip ?? '', /^10\./);
    assert.match(status?.network?.additionalIps[0]?.ip ?? '', /^fd00:be::/);
    assert.ok(status && status.createdAt > 0n);
    assert.equal(answer.timestamp, 0n, 'kubelet trusts a status with a time more than it should');
    assert.deepEqual(
      answer.containersStatuses.map((container) => [container.id, container.state]),
      [[id, cri.ContainerState.CONTAINER_RUNNING]],
    );
    const info = JSON.parse(answer.info.info!);
    for (const key of ['pid', 'runtimeHandler', 'cniResult', 'config']) assert.ok(info[key], key);
    assert.deepEqual(Object.keys(answer.info), ['info']);
    await pod.remove();
  });

  test('ListPodSandbox and ListContainers: the parts of a filter all hold, ids by prefix', async () => {
    const { runtime } = bench.daemon;
    const options = { linux: { securityContext: { namespaceOptions: { network: NODE } } } };
    const pods = await Promise.all(
      ['a', 'b', 'c'].map((name) => TestPod.run(bench.daemon, name, { ...options, labels: { name, all: 'yes' } })),
    );
    const [a, b, c] = pods as [TestPod, TestPod, TestPod];
    const running = await a.sh('run', bench.image.busybox, 'sleep 1000', { ...options, labels: { kind: 'x' } });
    const created = await a.create('made', bench.image.busybox, { ...options, labels: { kind: 'x' } });
    const ended = await b.sh('end', bench.image.busybox, 'exit 0', { ...options, labels: { kind: 'y' } });
    await untilExited(bench.daemon, ended);
    await runtime.stopPodSandbox({ podSandboxId: c.id });
    const list = async (filter: object) => (await runtime.listPodSandbox({ filter })).items.map(({ id }) => id).sort();
    const sorted = (...ids: string[]) => ids.sort();
    assert.deepEqual(await list({}), sorted(a.id, b.id, c.id));
    assert.deepEqual(
      await list({ labelSelector: { all: 'yes' }, state: { state: cri.PodSandboxState.SANDBOX_READY } }),
      sorted(a.id, b.id),
    );
    assert.deepEqual(await list({ id: a.id.slice(0, 20) }), [a.id]);
    assert.deepEqual(await list({ id: a.id.slice(0, 20), labelSelector: { name: 'b' } }), []);
    const containers = async (filter: object) =>
      (await runtime.listContainers({ filter })).containers.map(({ id }) => id).sort();
    assert.deepEqual(await containers({}), sorted(running, created, ended));
    assert.deepEqual(await containers({ podSandboxId: a.id }), sorted(running, created));
    assert.deepEqual(await containers({ podSandboxId: a.id, state: { state: cri.ContainerState.CONTAINER_CREATED } }), [
      created,
    ]);
    assert.deepEqual(
      await containers({ labelSelector: { kind: 'x' }, state: { state: cri.ContainerState.CONTAINER_RUNNING } }),
      [running],
    );
    assert.deepEqual(await containers({ id: ended.slice(0, 8), podSandboxId: a.id }), []);
    await Promise.all(pods.map((pod) => pod.remove()));
  });

  test('a pod gets its name, its resolv.conf, its hosts file and its own /dev/shm', async () => {
    const pod = await TestPod.run(bench.daemon, 'files', {
      hostname: 'my-name',
      dnsConfig: { servers: ['10.9.8.7'], searches: ['a.example', 'b.example'], options: ['ndots:5'] },
    });
    const id = await pod.sh(
      'c',
      bench.image.busybox,
      'hostname; cat /etc/hostname; cat /etc/resolv.conf; cat /etc/hosts; df -m /dev/shm | tail -1',
    );
    await untilExited(bench.daemon, id);
    const text = pod.log('c').map((line) => line.text);
    assert.deepEqual(text.slice(0, 5), [
      'my-name',
      'my-name',
      'search a.example b.example',
      'nameserver 10.9.8.7',
      'options ndots:5',
    ]);
    assert.ok(text.includes(`${await pod.ip()}\tmy-name`));
    assert.match(text.at(-1) ?? '', /\s64\s/);
    await pod.remove();
  });

  test('IPC is shared in the pod, PID only when asked', async () => {
    const pod = await TestPod.run(bench.daemon, 'ipc', {
      linux: { securityContext: { namespaceOptions: { ipc: POD, pid: CONTAINER } } },
    });
    const own = { linux: { securityContext: { namespaceOptions: { pid: CONTAINER } } } };
    const a = await pod.sh(
      'a',
      bench.image.busybox,
      'echo shared >/dev/shm/note; readlink /proc/self/ns/ipc; readlink /proc/self/ns/pid; sleep 1000',
      own,
    );
    await until('its lines', async () => pod.log('a').length === 2);
    const b = await pod.sh(
      'b',
      bench.image.busybox,
      'readlink /proc/self/ns/ipc; readlink /proc/self/ns/pid; cat /dev/shm/note',
      own,
    );
    await untilExited(bench.daemon, b);
    const [first, second] = [pod.log('a'), pod.log('b')].map((lines) => lines.map(({ text }) => text));
    assert.equal(first![0], second![0]);
    assert.notEqual(first![1], second![1]);
    assert.equal(second![2], 'shared');
    await bench.daemon.runtime.stopContainer({ containerId: a, timeout: 0n });
    await pod.remove();
  });
});

for (const handler of ociRuntimes) {
  suite(`container calls with ${handler}`, { handler }, (bench) => {
    test('ContainerStatus has every field filled', async () => {
      const { daemon } = bench;
      const source = join(daemon.dir, 'volume');
      mkdirSync(source, { recursive: true });
      const pod = await TestPod.run(daemon, 'status');
      const id = await pod.sh('c', bench.image.busybox, 'sleep 1000', {
        image: { image: bench.image.busybox, userSpecifiedImage: 'as-typed', annotations: { i: '3' } },
        labels: { l: '1' },
        annotations: { a: '2' },
        mounts: [{ containerPath: '/volume', hostPath: source, readonly: true }],
        linux: {
          resources: { cpuShares: 200n, memoryLimitInBytes: 64n << 20n },
          securityContext: { runAsUser: { value: 1234n }, runAsGroup: { value: 56n }, supplementalGroups: [78n] },
        },
        stopSignal: cri.Signal.SIGNAL_SIGUSR1,
      });
      const { image } = await daemon.images.imageStatus({ image: { image: bench.image.busybox } });
      const { status, info } = await daemon.runtime.containerStatus({ containerId: id, verbose: true });
      assert.ok(status);
      assert.deepEqual(
        [status.id, status.metadata, status.labels, status.annotations],
        [id, { name: 'c', attempt: 0 }, { l: '1' }, { a: '2' }],
      );
      assert.equal(status.imageId, image?.id);
      assert.equal(status.imageRef, image?.repoDigests[0]);
      assert.deepEqual(
        [status.image?.image, status.image?.userSpecifiedImage, status.image?.annotations],
        ['as-typed', 'as-typed', { i: '3' }],
      );
      assert.deepEqual(
        status.mounts.map((mount) => [mount.containerPath, mount.hostPath, mount.readonly]),
        [['/volume', source, true]],
      );
      assert.equal(status.logPath, join(pod.config.logDirectory!, 'c.log'));
      assert.deepEqual(
        [status.resources?.linux?.cpuShares, status.resources?.linux?.memoryLimitInBytes],
        [200n, 64n << 20n],
      );
      assert.deepEqual(status.user?.linux, { uid: 1234n, gid: 56n, supplementalGroups: [56n, 78n] }); // as id shows them: the primary one too
      assert.equal(status.stopSignal, cri.Signal.SIGNAL_SIGUSR1);
      assert.ok(status.createdAt > 0n && status.startedAt >= status.createdAt);
      assert.deepEqual([status.finishedAt, status.exitCode, status.reason], [0n, 0, '']);
      const parsed = JSON.parse(info.info!);
      for (const key of ['sandboxID', 'pid', 'runtimeSpec', 'config']) assert.ok(parsed[key], key);
      const { stdout } = await daemon.runtime.execSync({ containerId: id, cmd: ['/bin/id'], timeout: 10n });
      assert.match(Buffer.from(stdout).toString(), /uid=1234 gid=56.* groups=.*78/, 'exec is the same user');
      await pod.remove();
    });

    test('StopContainer sends the signal of the request, else of the image, else SIGTERM', async () => {
      const { daemon } = bench;
      const pod = await TestPod.run(daemon, 'signals', {
        linux: { securityContext: { namespaceOptions: { pid: CONTAINER } } },
      });
      const traps =
        'for s in TERM QUIT USR1; do trap "echo $s; exit 0" $s; done; echo ready; while true; do sleep 0.05; done';
      const own = { linux: { securityContext: { namespaceOptions: { pid: CONTAINER } } } };
      const cases = [
        { name: 'default', image: bench.image.busybox, stopSignal: cri.Signal.SIGNAL_RUNTIME_DEFAULT, heard: 'TERM' },
        { name: 'image', image: bench.image.nginx, stopSignal: cri.Signal.SIGNAL_RUNTIME_DEFAULT, heard: 'QUIT' },
        { name: 'request', image: bench.image.nginx, stopSignal: cri.Signal.SIGNAL_SIGUSR1, heard: 'USR1' },
      ];
      for (const { name, image, stopSignal, heard } of cases) {
        const containerId = await pod.sh(name, image, traps, { ...own, stopSignal });
        await until('its traps', async () => pod.log(name).length > 0);
        await daemon.runtime.stopContainer({ containerId, timeout: 30n });
        assert.deepEqual(
          pod.log(name).map(({ text }) => text),
          ['ready', heard],
        );
      }
      await pod.remove();
    });

    test('ReopenContainerLog loses no line and doubles none', async () => {
      const { daemon } = bench;
      const pod = await TestPod.run(daemon, 'reopen');
      const containerId = await pod.sh(
        'c',
        bench.image.busybox,
        'i=0; while [ $i -lt 20000 ]; do echo "$i"; i=$((i+1)); done',
      );
      const log = join(pod.config.logDirectory!, 'c.log');
      let rotated = 0;
      const running = async () =>
        (await daemon.runtime.containerStatus({ containerId })).status?.state === cri.ContainerState.CONTAINER_RUNNING;
      let open = true;
      while (rotated < 50 && open && (await running())) {
        renameSync(log, `${log}.${String(rotated++).padStart(3, '0')}`);
        open = await daemon.runtime.reopenContainerLog({ containerId }).then(
          () => true,
          (error: { code?: number }) => {
            assert.equal(error.code, grpc.FAILED_PRECONDITION, 'it ended meanwhile');
            return false;
          },
        );
      }
      await untilExited(daemon, containerId);
      assert.ok(rotated > 0);
      const files = readdirSync(pod.config.logDirectory!).sort((a, b) =>
        a === 'c.log' ? 1 : b === 'c.log' ? -1 : a < b ? -1 : 1,
      );
      const lines = files.flatMap((file) =>
        parseLog(readFileSync(join(pod.config.logDirectory!, file), 'utf8')).map(({ text }) => text),
      );
      assert.deepEqual(
        lines,
        Array.from({ length: 20_000 }, (_, index) => `${index}`),
      );
      await refused(daemon.runtime.reopenContainerLog({ containerId }), grpc.FAILED_PRECONDITION, /exited/);
      await pod.remove();
    });

    test('a missing host path is made as a directory', async () => {
      const { daemon } = bench;
      const pod = await TestPod.run(daemon, 'hostpath');
      const hostPath = join(daemon.logDir, 'made/for/it');
      const id = await pod.sh('c', bench.image.busybox, 'echo hello >/data/file', {
        mounts: [{ containerPath: '/data', hostPath }],
      });
      assert.equal((await untilExited(daemon, id)).exitCode, 0);
      assert.equal(readFileSync(join(hostPath, 'file'), 'utf8'), 'hello\n');
      await pod.remove();
    });

    test('RemoveContainer kills a running one, and keeps its log', async () => {
      const { daemon } = bench;
      const pod = await TestPod.run(daemon, 'removed');
      const containerId = await pod.sh('c', bench.image.busybox, 'echo here; sleep 1000');
      await until('its line', async () => pod.log('c').length > 0);
      await daemon.runtime.removeContainer({ containerId });
      await refused(daemon.runtime.containerStatus({ containerId }), grpc.NOT_FOUND);
      assert.deepEqual(
        pod.log('c').map(({ text }) => text),
        ['here'],
      );
      await pod.remove();
    });
  });
}

suite('image calls', {}, (bench) => {
  test('ImageStatus finds by tag, digest, id and prefix; a missing one is OK and empty', async () => {
    const { images } = bench.daemon;
    const of = async (image: string) => (await images.imageStatus({ image: { image }, verbose: true })).image;
    const image = await of(bench.image.busybox);
    assert.ok(image);
    assert.ok(image.repoTags.includes(bench.image.busybox));
    assert.match(image.repoDigests[0] ?? '', /@sha256:[0-9a-f]{64}$/);
    assert.ok(image.size > 500_000n);
    for (const name of [image.repoDigests[0]!, image.id, image.id.slice(7), image.id.slice(7, 20)])
      assert.equal((await of(name))?.id, image.id, name);
    assert.equal(await of('localhost/never/was:there'), undefined);
    const pulled = await images.pullImage({ image: { image: bench.image.busybox } });
    assert.equal(pulled.imageRef, image.id);
  });

  test('ListImages honours its filter', async () => {
    const { images } = bench.daemon;
    const all = (await images.listImages({})).images;
    assert.ok(all.length >= 2);
    const one = (await images.listImages({ filter: { image: { image: bench.image.nginx } } })).images;
    assert.deepEqual(
      one.map(({ repoTags }) => repoTags.includes(bench.image.nginx)),
      [true],
    );
    assert.deepEqual((await images.listImages({ filter: { image: { image: 'localhost/none:1' } } })).images, []);
  });

  test('ImageFsInfo tells bytes and inodes of images and of writable layers', async () => {
    const { daemon } = bench;
    const before = await daemon.images.imageFsInfo({});
    assert.ok(before.imageFilesystems[0]!.usedBytes!.value > 500_000n);
    assert.ok(before.imageFilesystems[0]!.inodesUsed!.value > 10n);
    const pod = await TestPod.run(daemon, 'layer');
    const id = await pod.sh('c', bench.image.busybox, 'dd if=/dev/zero of=/big bs=1M count=5');
    await untilExited(daemon, id);
    const after = await daemon.images.imageFsInfo({});
    const grown = after.containerFilesystems[0]!.usedBytes!.value - before.containerFilesystems[0]!.usedBytes!.value;
    assert.ok(grown >= 5n << 20n, `${grown}`);
    await pod.remove();
  });

  test('an image that a container uses can be removed; the container goes on', async () => {
    const { daemon } = bench;
    const pod = await TestPod.run(daemon, 'inuse');
    const containerId = await pod.sh('c', bench.image.nginx, 'sleep 1000');
    await daemon.images.removeImage({ image: { image: bench.image.nginx } });
    assert.equal((await daemon.images.imageStatus({ image: { image: bench.image.nginx } })).image, undefined);
    const { exitCode } = await daemon.runtime.execSync({
      containerId,
      cmd: ['/bin/sh', '-c', 'test -x /usr/sbin/nginx'],
      timeout: 10n,
    });
    assert.equal(exitCode, 0);
    await pod.remove();
    await daemon.images.pullImage({ image: { image: bench.image.nginx } });
  });
});
