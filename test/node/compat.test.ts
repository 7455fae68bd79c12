// Agents that know containerd only: cAdvisor in kubelet, by its calls, and containerd's own ctr.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, test } from 'node:test';
import { type Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import * as containers from '../../src/api/containerd/services/containers/v1/containers.ts';
import * as tasks from '../../src/api/containerd/services/tasks/v1/tasks.ts';
import * as versions from '../../src/api/containerd/services/version/v1/version.ts';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { connectTo } from '../../src/commands/rpc.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { podConfig, refused, TestPod, until, untilExited } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

const socket = '/run/compat/containerd.sock';
const compat = { containerd_socket: socket, runtime_name: 'containerd' };

/** A plugin that tells for whom it is asked, and waits until it may go on. */
const folder = mkdtempSync(join(tmpdir(), 'berth-held-'));
const [asking, release] = [join(folder, 'asking'), join(folder, 'release')];
execFileSync('/usr/bin/mkfifo', [release]);
const held = `#!/bin/sh
[ "$CNI_COMMAND" = ADD ] || exit 0
printf %s "$CNI_CONTAINERID" >${asking}.new
mv ${asking}.new ${asking}
read -r _ <${release}
`;
writeFileSync(join(folder, 'held'), held, { mode: 0o755 });
after(() => rmSync(folder, { recursive: true }));

/**
 * What cAdvisor asks for one cgroup's id, as container/containerd/client.go and handler.go of its v0.49 and v0.53 do: the container by
 * its id, then its task, both in the namespace that it sends along; and what it takes of the answers without looking whether it is there.
 */
class Cadvisor implements Disposable {
  readonly #clients = [containers.ContainersClient, tasks.TasksClient, versions.VersionClient].map(
    (Type) => new Type(`unix://${socket}`, credentials.createInsecure(), { 'grpc.default_authority': 'localhost' }),
  ) as [containers.ContainersClient, tasks.TasksClient, versions.VersionClient];

  readonly metadata = new Metadata();

  constructor(namespace = 'k8s.io') {
    if (namespace !== '') this.metadata.set('containerd-namespace', namespace);
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients as Client[]) client.close();
  }

  async loadContainer(id: string) {
    const { container } = await asked<containers.GetContainerResponse>((done) =>
      this.#clients[0].get({ id }, this.metadata, done),
    );
    const { labels, image, spec, snapshotter, snapshotKey } = container!;
    assert.equal(spec!.typeUrl, 'types.containerd.io/opencontainers/runtime-spec/1/Spec');
    const { process, ...rest } = JSON.parse(spec!.value.toString());
    return { labels, image, snapshotter, snapshotKey, env: process.env as string[], spec: rest };
  }

  async taskPid(containerId: string): Promise<number> {
    const { process } = await asked<tasks.GetResponse>((done) =>
      this.#clients[1].get({ containerId, execId: '' }, this.metadata, done),
    );
    assert.notEqual(process!.status, tasks.Status.UNKNOWN);
    return process!.pid;
  }

  async version(): Promise<string> {
    return (await asked<versions.VersionResponse>((done) => this.#clients[2].version({}, done))).version;
  }
}

function asked<T>(call: (done: (error: ServiceError | null, answer: T) => void) => unknown): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  call((error, answer) => (error ? reject(error) : resolve(answer)));
  return promise;
}

const ctr = (...args: string[]): string =>
  execFileSync('/usr/bin/ctr', ['--address', socket, '--namespace', 'k8s.io', ...args], { encoding: 'utf8' });

suite("containerd's socket", { settings: { compat }, pluginDirs: [folder] }, (bench) => {
  test('all of CRI is there, for root alone, under the name that was asked for', async () => {
    assert.equal(statSync(socket).mode & 0o777, 0o660);
    assert.equal(statSync(dirname(socket)).mode & 0o777, 0o700);
    const runtime = connectTo(cri.RuntimeServiceClient, cri, socket);
    const images = connectTo(cri.ImageServiceClient, cri, socket);
    try {
      assert.equal((await runtime.version({})).runtimeName, 'containerd');
      const { podSandboxId } = await runtime.runPodSandbox({ config: podConfig(bench.daemon, 'by-the-other') });
      assert.equal((await bench.daemon.runtime.podSandboxStatus({ podSandboxId })).status?.id, podSandboxId);
      assert.ok((await images.listImages({})).images.length > 0);
    } finally {
      runtime.close();
      images.close();
    }
  });

  test("cAdvisor learns labels, image, variables and process of a pod's containers, and of the pod", async () => {
    using cadvisor = new Cadvisor();
    assert.match(await cadvisor.version(), /^\d+\.\d+\.\d+$/);
    const labels = { 'io.kubernetes.pod.name': 'p', 'io.kubernetes.pod.namespace': 'n' };
    const pod = await TestPod.run(bench.daemon, 'pod', { labels });
    const ofContainer = { ...labels, 'io.kubernetes.container.name': 'c', 'io.cri-containerd.kind': 'forged' };
    const id = await pod.create('c', bench.image.busybox, {
      ...{ command: ['/bin/sleep', '1000'], labels: ofContainer },
      envs: [{ key: 'A', value: Buffer.from('b') }],
    });
    await refused(cadvisor.taskPid(id), status.NOT_FOUND, /: not found$/); // asked for again until it is there
    assert.equal((await cadvisor.loadContainer(id)).labels['io.kubernetes.container.name'], 'c');
    await bench.daemon.runtime.startContainer({ containerId: id });

    const container = await cadvisor.loadContainer(id);
    assert.deepEqual(container.labels, { ...ofContainer, 'io.cri-containerd.kind': 'container' });
    assert.deepEqual([container.image, container.snapshotKey], [bench.image.busybox, id]);
    assert.ok(container.env.includes('A=b'));
    const pid = await cadvisor.taskPid(id);
    // While it executes its command it has no command line.
    await until('the process of the container', async () =>
      /sleep/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1')),
    );

    const sandbox = await cadvisor.loadContainer(pod.id);
    assert.deepEqual(sandbox.labels, { ...labels, 'io.cri-containerd.kind': 'sandbox' });
    assert.equal(sandbox.spec.annotations['io.kubernetes.cri.sandbox-id'], pod.id);
    const network = readFileSync(`/proc/${await cadvisor.taskPid(pod.id)}/net/dev`, 'utf8');
    assert.match(network, /eth0/); // where it takes the figures of the pod's network from

    await bench.daemon.runtime.stopContainer({ containerId: id, timeout: 0n });
    await untilExited(bench.daemon, id);
    await refused(cadvisor.taskPid(id), status.NOT_FOUND, /: not found$/);
    await bench.daemon.runtime.stopPodSandbox({ podSandboxId: pod.id });
    await refused(cadvisor.taskPid(pod.id), status.NOT_FOUND, /: not found$/);
    assert.deepEqual((await cadvisor.loadContainer(id)).env, []); // its bundle is gone
    await pod.remove();
    await refused(cadvisor.loadContainer(id), status.NOT_FOUND, /^container "[0-9a-f]{64}" in .*"k8s.io": not found$/);
  });

  test('a pod is known while it is being made: its cgroup is seen then, and not looked at again soon', async () => {
    using cadvisor = new Cadvisor();
    bench.daemon.writeConflist([...bench.daemon.plugins(), { type: 'held' }]);
    const made = TestPod.run(bench.daemon, 'slow');
    const id = await until('the call of the plugin', async () => existsSync(asking) && readFileSync(asking, 'utf8'));
    assert.equal((await cadvisor.loadContainer(id)).labels['io.cri-containerd.kind'], 'sandbox');
    await refused(cadvisor.taskPid(id), status.NOT_FOUND);
    writeFileSync(release, '\n');
    const pod = await made;
    assert.equal(pod.id, id);
    await pod.remove();
    bench.daemon.writeConflist();
  });

  test('there is no other namespace, and no id but a whole one', async () => {
    const pod = await TestPod.run(bench.daemon, 'pod');
    using nowhere = new Cadvisor('');
    await refused(nowhere.loadContainer(pod.id), status.FAILED_PRECONDITION, /namespace/);
    using moby = new Cadvisor('moby');
    await refused(moby.loadContainer(pod.id), status.NOT_FOUND, /in namespace "moby": not found$/);
    using cadvisor = new Cadvisor();
    await refused(cadvisor.loadContainer(pod.id.slice(0, 32)), status.NOT_FOUND);
    await refused(cadvisor.taskPid('../../etc'), status.NOT_FOUND);
    await refused(cadvisor.loadContainer(''), status.INVALID_ARGUMENT, /id is empty/);
    await pod.remove();
  });

  test("containerd's own client understands it", async () => {
    const pod = await TestPod.run(bench.daemon, 'pod', { labels: { app: 'web' } });
    const id = await pod.sh('c', bench.image.busybox, 'sleep 1000', { labels: { tier: 'front' } });
    const container = JSON.parse(ctr('containers', 'info', id));
    assert.deepEqual([container.ID, container.Image, container.SnapshotKey], [id, bench.image.busybox, id]);
    assert.deepEqual(container.Labels, { tier: 'front', 'io.cri-containerd.kind': 'container' });
    assert.deepEqual(container.Spec.process.args, ['/bin/sh', '-c', 'sleep 1000']);
    assert.ok(Math.abs(Date.parse(container.CreatedAt) - Date.now()) < 600_000, container.CreatedAt);
    assert.equal(JSON.parse(ctr('containers', 'info', pod.id)).Labels['io.cri-containerd.kind'], 'sandbox');
    assert.throws(() => ctr('containers', 'info', '0'.repeat(64)), /not found/);
    assert.throws(() => ctr('containers', 'label', id, 'a=b'), /does not implement the method/);
    await pod.remove();
  });
});

describe('without the setting', () => {
  test('the name is berth, and containerd is not imitated', async () => {
    const daemon = new TestDaemon({});
    await daemon.start();
    try {
      assert.equal((await daemon.runtime.version({})).runtimeName, 'berth');
      const client = new versions.VersionClient(`unix://${daemon.socket}`, credentials.createInsecure());
      await refused(
        asked((done) => client.version({}, done)),
        status.UNIMPLEMENTED,
      );
      client.close();
    } finally {
      await daemon.dispose();
    }
  });

  test('it may be the one socket, by whatever name: kubelet is told of the address that cAdvisor has', async () => {
    const daemon = new TestDaemon({});
    appendFileSync(daemon.configFile, `\n[compat]\ncontainerd_socket = "/var${daemon.socket}"\n`);
    await daemon.start();
    try {
      const client = new versions.VersionClient(`unix://${daemon.socket}`, credentials.createInsecure());
      assert.match((await asked<versions.VersionResponse>((done) => client.version({}, done))).version, /^\d/);
      client.close();
      assert.equal((await daemon.runtime.version({})).runtimeName, 'berth');
    } finally {
      await daemon.dispose();
    }
  });

  test('a socket that containerd serves is refused with a sentence, and stays', async () => {
    mkdirSync(dirname(socket), { recursive: true });
    const server = createServer().listen(socket);
    await once(server, 'listening');
    const daemon = new TestDaemon({ settings: { compat } });
    try {
      const wanted =
        /Another daemon serves \/run\/compat\/containerd\.sock: stop it or set another compat\.containerd_socket/;
      await assert.rejects(daemon.start(), wanted);
      assert.ok(statSync(socket).isSocket());
    } finally {
      server.close();
      rmSync(daemon.dir, { recursive: true, force: true });
      rmSync(daemon.runDir, { recursive: true, force: true });
    }
  });
});
