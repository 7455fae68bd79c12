// kubelet itself, without an API server: what it asks of a runtime while pods live, fail, are looked into and go.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { ContainerState, PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { until } from '../harness/pods.ts';
import { endTestRegistry, pullTestImages } from '../harness/suite.ts';
import { ensureKubelet } from '../kubernetes/index.ts';
import { isReady, Kubelet, type KubePod } from '../kubernetes/kubelet.ts';

await ownHost(ensureKubelet);

let daemon: TestDaemon;
let kubelet: Kubelet;
let image: Awaited<ReturnType<typeof pullTestImages>>;
before(async () => {
  // The address at which cAdvisor, in kubelet, looks for containerd; this host has a /run of its own.
  daemon = new TestDaemon({ settings: { compat: { containerd_socket: '/run/containerd/containerd.sock' } } });
  await daemon.start();
  image = await pullTestImages(daemon);
  const featureGates = { PodAndContainerStatsFromCRI: true };
  kubelet = new Kubelet(daemon, { featureGates, containerLogMaxSize: '100Ki', containerLogMonitorInterval: '3s' });
  await kubelet.start();
});
after(async () => {
  await kubelet.dispose();
  await daemon.dispose();
  await endTestRegistry();
});

const sh = (name: string, text: string, more: object = {}) => ({
  name,
  image: image.busybox,
  command: ['/bin/sh', '-c', text],
  ...more,
});
const exec = (text: string) => ({ exec: { command: ['/bin/sh', '-c', text] }, periodSeconds: 1 });
const forever = 'trap "exit 0" TERM; sleep 1000 & wait';
const containerOf = (pod: KubePod, name: string) =>
  [...(pod.status.containerStatuses ?? []), ...(pod.status.initContainerStatuses ?? [])].find(
    (status) => status.name === name,
  );

/** Takes every manifest away. What has ended kubelet removes once a minute: the last test sees to that. */
afterEach(async () => {
  for (const name of readdirSync(join(kubelet.dir, 'manifests'))) kubelet.remove(name.replace('.json', ''));
  await until('all pods to be stopped', async () =>
    (await daemon.runtime.listPodSandbox({})).items.every(({ state }) => state === PodSandboxState.SANDBOX_NOTREADY),
  );
});

test('the node is ready for kubelet: runtime, network, handlers', async () => {
  const log = () => readFileSync(kubelet.logFile, 'utf8');
  await until('kubelet to have its runtime', async () =>
    /Container runtime initialized.*containerRuntime="/.test(log()),
  );
  assert.doesNotMatch(log(), /runtime network not ready|Container runtime status.*false/);
});

test('init containers, a sidecar and probes of each kind', async () => {
  kubelet.apply('probed', {
    terminationGracePeriodSeconds: 2,
    initContainers: [
      sh('first', 'echo one > /shared/order', { volumeMounts: [{ name: 'shared', mountPath: '/shared' }] }),
      sh('sidecar', `echo two >> /shared/order; ${forever}`, {
        restartPolicy: 'Always',
        startupProbe: exec('grep two /shared/order'),
        volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
      }),
    ],
    containers: [
      sh('main', `cat /shared/order; echo three >> /shared/order; touch /tmp/ready; ${forever}`, {
        readinessProbe: exec('test -e /tmp/ready'),
        volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
      }),
      {
        name: 'web',
        image: image.nginx,
        readinessProbe: { httpGet: { path: '/', port: 80 }, periodSeconds: 1 },
        livenessProbe: { tcpSocket: { port: 80 }, periodSeconds: 1 },
      },
    ],
    volumes: [{ name: 'shared', emptyDir: {} }],
  });
  const pod = await kubelet.untilReady('probed');
  assert.equal(await kubelet.logs('probed', 'main'), 'one\ntwo\n');
  assert.equal(await kubelet.run('probed', 'main', 'cat', '/shared/order'), 'one\ntwo\nthree\n');
  assert.equal(containerOf(pod, 'first')?.state.terminated?.reason, 'Completed');
  for (const name of ['sidecar', 'main', 'web']) assert.equal(containerOf(pod, name)?.restartCount, 0, name);
  assert.equal(containerOf(pod, 'main')?.image, image.busybox);
});

test('a failing liveness probe and an end by itself are restarts; the log is the message', async () => {
  kubelet.apply('restarts', {
    terminationGracePeriodSeconds: 1,
    containers: [
      sh('dies', `test -e /shared/once && { ${forever}; }; touch /shared/once; printf 'the last words'; exit 7`, {
        terminationMessagePolicy: 'FallbackToLogsOnError',
        volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
      }),
      sh('hangs', `touch /tmp/well; sleep 1; test -e /shared/hung || rm /tmp/well; touch /shared/hung; ${forever}`, {
        livenessProbe: { ...exec('test -e /tmp/well'), failureThreshold: 1, initialDelaySeconds: 1 },
        volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
      }),
    ],
    volumes: [{ name: 'shared', emptyDir: {} }],
  });
  const pod = await kubelet.untilPod(
    'restarts',
    'restarted and ready',
    (now) => isReady(now.status) && now.status.containerStatuses!.every(({ restartCount }) => restartCount === 1),
  );
  const ended = containerOf(pod, 'dies')!.lastState.terminated!;
  assert.deepEqual([ended.exitCode, ended.reason, ended.message], [7, 'Error', 'the last words']);
  assert.equal(containerOf(pod, 'hangs')!.lastState.terminated!.exitCode, 0); // the trap's, at SIGTERM
});

test('a kubelet and a Berth that are killed find each other, and the pods, as they were', async () => {
  kubelet.apply('steady', {
    terminationGracePeriodSeconds: 1,
    containers: [sh('main', forever, { readinessProbe: exec('true'), livenessProbe: exec('true') })],
  });
  const before = containerOf(await kubelet.untilReady('steady'), 'main')!;
  await daemon.kill();
  await daemon.start();
  await until('an answer through kubelet', () =>
    kubelet.run('steady', 'main', 'echo', 'here').then(
      (text) => text === 'here\n',
      () => false,
    ),
  );
  await kubelet.kill();
  await kubelet.start();
  const again = containerOf(await kubelet.untilReady('steady'), 'main')!;
  assert.deepEqual([again.containerID, again.restartCount], [before.containerID, 0]);
  const { containers } = await daemon.runtime.listContainers({
    filter: { state: { state: ContainerState.CONTAINER_RUNNING } },
  });
  assert.deepEqual(
    containers.map(({ id }) => `berth://${id}`),
    [before.containerID],
  );
});

test('a log is rotated by kubelet, and no line is lost or doubled', async () => {
  const lines = 20_000;
  kubelet.apply('chatty', {
    terminationGracePeriodSeconds: 1,
    containers: [sh('main', `i=0; while [ $i -lt ${lines} ]; do i=$((i+1)); echo line $i; done; ${forever}`)],
  });
  const pod = await kubelet.untilReady('chatty');
  const folder = join(kubelet.podLogs, `test_chatty-test-node_${pod.metadata.uid}`, 'main');
  await until('a rotated log', async () => existsSync(folder) && readdirSync(folder).length > 1, 60_000);
  const text = () =>
    readdirSync(folder)
      .filter((name) => !name.endsWith('.gz'))
      .map((name) => readFileSync(join(folder, name), 'utf8'));
  await until('the last line', async () => text().some((part) => part.includes(`line ${lines}\n`)));
  const numbers = text()
    .join('')
    .split('\n')
    .filter(Boolean)
    .map((line) => Number(line.split(' ').at(-1)))
    .sort((a, b) => a - b);
  assert.deepEqual(
    numbers,
    Array.from({ length: lines }, (_, i) => i + 1),
  );
});

test('its figures of pods come from Berth', async () => {
  kubelet.apply('measured', {
    containers: [sh('main', forever, { resources: { limits: { memory: '64Mi', cpu: '500m' } } })],
    terminationGracePeriodSeconds: 1,
  });
  kubelet.apply('on-host', { hostNetwork: true, containers: [sh('main', forever)], terminationGracePeriodSeconds: 1 });
  for (const name of ['measured', 'on-host']) await kubelet.untilReady(name);
  type Summary = {
    pods: {
      podRef: { name: string };
      network?: object;
      containers: { name: string; memory: { workingSetBytes: number }; rootfs: { usedBytes: number } }[];
    }[];
  };
  const pods = await until('both pods in the summary', async () => {
    const summary = JSON.parse(await kubelet.get('/stats/summary')) as Summary;
    return summary.pods.length === 2 && summary.pods.every((pod) => pod.containers.length === 1) && summary.pods;
  });
  for (const { podRef, network, containers } of pods) {
    assert.equal(network !== undefined, podRef.name === 'measured-test-node', podRef.name);
    assert.ok(containers[0]!.memory.workingSetBytes > 0);
  }
});

test('cAdvisor in kubelet knows whose the figures are', async () => {
  kubelet.apply('labelled', { containers: [sh('main', forever)], terminationGracePeriodSeconds: 1 });
  const pod = await kubelet.untilReady('labelled');
  const id = containerOf(pod, 'main')!.containerID.replace('berth://', '');
  const line = await until('its figures', async () =>
    (await kubelet.get('/metrics/cadvisor'))
      .split('\n')
      .find((text) => text.startsWith('container_memory_working_set_bytes{') && text.includes(id)),
  );
  for (const label of [
    'container="main"',
    'namespace="test"',
    'pod="labelled-test-node"',
    `name="${id}"`,
    `image="${image.busybox}"`,
  ]) {
    assert.ok(line.includes(label), `${label}: ${line}`);
  }
});

test('of pods that went kubelet removes the rest, and nothing is left', async () => {
  await until('no pod to be left', async () => (await daemon.runtime.listPodSandbox({})).items.length === 0, 90_000);
  assert.deepEqual((await daemon.runtime.listContainers({})).containers, []);
});
