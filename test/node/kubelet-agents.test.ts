// What agents of a node ask of its runtime, under kubelet: mounts that others see, devices by CDI, rules in a pod's network.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { PodSandboxState } from '../../src/api/runtime/v1/cri.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { mountLines } from '../harness/leak-check.ts';
import { ownHost } from '../harness/own-host.ts';
import { until } from '../harness/pods.ts';
import { endTestRegistry, pullTestImages } from '../harness/suite.ts';
import { DevicePlugin } from '../kubernetes/device-plugin.ts';
import { ensureKubelet } from '../kubernetes/index.ts';
import { Kubelet } from '../kubernetes/kubelet.ts';

await ownHost(ensureKubelet);

let daemon: TestDaemon;
let kubelet: Kubelet;
let image: Awaited<ReturnType<typeof pullTestImages>>;
before(async () => {
  daemon = new TestDaemon({});
  await daemon.start();
  image = await pullTestImages(daemon);
  kubelet = new Kubelet(daemon);
  await kubelet.start();
});
after(async () => {
  await kubelet.dispose();
  await daemon.dispose();
  await endTestRegistry();
});
afterEach(async () => {
  for (const name of readdirSync(join(kubelet.dir, 'manifests'))) kubelet.remove(name.replace('.json', ''));
  await until('all pods to be stopped', async () =>
    (await daemon.runtime.listPodSandbox({})).items.every(({ state }) => state === PodSandboxState.SANDBOX_NOTREADY),
  );
});

const sh = (name: string, script: string, more: object = {}) => ({
  name,
  image: image.busybox,
  command: ['/bin/sh', '-c', script],
  ...more,
});
const forever = 'trap "exit 0" TERM; sleep 1000 & wait';
const soon = { terminationGracePeriodSeconds: 1 };
const fromHost = (name: string, path: string) => ({ name, hostPath: { path } });
const mountsAt = (point: string) => mountLines().filter((line) => line.startsWith(`${point} `)).length;
const unmount = (point: string) => execFileSync('/usr/bin/umount', [point]);

test('an init container mounts a file system of bpf for the node, and the agent beside it has it', async () => {
  const point = '/sys/fs/bpf';
  const mounted = (mountPropagation: string) => ({
    volumeMounts: [{ name: 'bpf', mountPath: point, mountPropagation }],
  });
  assert.equal(mountsAt(point), 0);
  kubelet.apply('bpf', {
    ...soon,
    initContainers: [
      sh('mount-bpf', `mount | grep -q "${point} type bpf" || mount -t bpf bpf ${point}`, {
        securityContext: { privileged: true },
        ...mounted('Bidirectional'),
      }),
    ],
    containers: [sh('agent', forever, mounted('HostToContainer'))],
    volumes: [fromHost('bpf', point)],
  });
  await kubelet.untilReady('bpf');
  try {
    assert.equal(mountsAt(point), 1);
    assert.match(await kubelet.run('bpf', 'agent', 'grep', point, '/proc/mounts'), / bpf /);
    mkdirSync(join(point, 'berth-test')); // a folder of pinned objects
    assert.match(await kubelet.run('bpf', 'agent', 'ls', point), /^berth-test$/m);
  } finally {
    unmount(point);
  }
});

test("a driver's mounts reach the node and pods that run already, also after a restart of Berth", async () => {
  const plugins = join(kubelet.dir, 'root/plugins/driver');
  const [driver, user] = ['/csi', '/volumes'];
  const volumes = [{ ...fromHost('plugins', plugins), hostPath: { path: plugins, type: 'DirectoryOrCreate' } }];
  const onPlugins = (mountPath: string, mountPropagation: string) => ({
    volumeMounts: [{ name: 'plugins', mountPath, mountPropagation }],
  });
  kubelet.apply('driver', {
    ...soon,
    containers: [sh('main', forever, { securityContext: { privileged: true }, ...onPlugins(driver, 'Bidirectional') })],
    volumes,
  });
  kubelet.apply('user', { ...soon, containers: [sh('main', forever, onPlugins(user, 'HostToContainer'))], volumes });
  kubelet.apply('private', { ...soon, containers: [sh('main', forever, onPlugins(user, 'None'))], volumes });
  for (const name of ['driver', 'user', 'private']) await kubelet.untilReady(name);
  const publish = async (name: string) => {
    await kubelet.run('driver', 'main', 'mkdir', `${driver}/${name}`);
    await kubelet.run('driver', 'main', 'mount', '-t', 'tmpfs', name, `${driver}/${name}`);
    await kubelet.run('driver', 'main', 'touch', `${driver}/${name}/published`);
  };
  const assertSeen = async (name: string) => {
    assert.equal(mountsAt(join(plugins, name)), 1);
    assert.equal(await kubelet.run('user', 'main', 'ls', `${user}/${name}`), 'published\n');
    assert.equal(await kubelet.run('private', 'main', 'ls', `${user}/${name}`), '');
  };
  await publish('one');
  await assertSeen('one');
  await daemon.kill();
  await daemon.start();
  await until('an answer through kubelet', () =>
    kubelet.run('driver', 'main', 'true').then(
      () => true,
      () => false,
    ),
  );
  await publish('two');
  for (const name of ['one', 'two']) await assertSeen(name);
  await kubelet.run('driver', 'main', 'umount', `${driver}/one`);
  assert.equal(mountsAt(join(plugins, 'one')), 0);
  assert.equal(await kubelet.run('user', 'main', 'ls', `${user}/one`), '');
  unmount(join(plugins, 'two'));
});

test("a device plugin's device comes to the pod that asks for one, by its name of CDI", async () => {
  const kind = 'example.com/gadget';
  const edits = (id: string) => ({
    env: [`GADGET=${id}`],
    deviceNodes: [{ path: `/dev/${id}`, hostPath: '/dev/full' }],
  });
  const devices = ['gadget0', 'gadget1'].map((name) => ({ name, containerEdits: edits(name) }));
  mkdirSync('/var/run/cdi', { recursive: true });
  writeFileSync('/var/run/cdi/gadget.json', JSON.stringify({ cdiVersion: '0.6.0', kind, devices }));
  const plugin = new DevicePlugin(kind, ['gadget0', 'gadget1'], kind);
  await plugin.start();
  try {
    await until('kubelet to know of the devices', async () =>
      /Processed device updates for resource".*gadget.* totalCount=2/.test(readFileSync(kubelet.logFile, 'utf8')),
    );
    const asking = { resources: { limits: { [kind]: '1' } } };
    const show = `echo $GADGET; stat -c %t:%T /dev/gadget*; (echo x >/dev/$GADGET) 2>&1 | grep -o 'No space'; ${forever}`;
    kubelet.apply('asks', {
      ...soon,
      containers: [sh('main', show, asking), sh('beside', 'ls /dev/gadget*; exec sleep 1000')],
    });
    await kubelet.untilReady('asks');
    assert.equal(plugin.allocated.length, 1);
    const [[given] = []] = plugin.allocated;
    await until('its words', async () => (await kubelet.logs('asks', 'main')) === `${given}\n1:7\nNo space\n`);
    await until('those of its neighbour', async () => /No such file/.test(await kubelet.logs('asks', 'beside')));
  } finally {
    plugin.stop();
  }
});

test("a mesh's init container leads the pod's traffic to its sidecar, which the application cannot undo", async () => {
  // The program and its libraries are the host's, as its tables are the kernel's.
  const places = { '/usr': '/usr', '/lib': '/usr/lib', '/lib64': '/usr/lib64' };
  const nameOf = (path: string) => `host${path.replaceAll('/', '-')}`;
  const iptables = Object.keys(places).map((mountPath) => ({ name: nameOf(mountPath), mountPath, readOnly: true }));
  const rules = [
    'PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 15006',
    'OUTPUT -p tcp --dport 80 -m owner ! --uid-owner 1337 -j REDIRECT --to-ports 15006',
  ].map((rule) => `/usr/sbin/iptables-nft -t nat -A ${rule}`);
  kubelet.apply('meshed', {
    ...soon,
    initContainers: [
      sh('redirect', rules.join(' && '), {
        securityContext: { capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] } },
        volumeMounts: iptables,
      }),
      sh('proxy', 'echo from the sidecar >/tmp/index.html; exec httpd -f -p 15006 -h /tmp', {
        restartPolicy: 'Always',
        securityContext: { runAsUser: 1337, runAsGroup: 1337, allowPrivilegeEscalation: false },
        startupProbe: { tcpSocket: { port: 15_006 }, periodSeconds: 1 },
      }),
    ],
    containers: [sh('app', forever, { volumeMounts: iptables })],
    volumes: Object.entries(places).map(([at, path]) => fromHost(nameOf(at), path)),
  });
  const { status } = await kubelet.untilReady('meshed');
  const asked = await kubelet.run('meshed', 'app', 'wget', '-q', '-O', '-', 'http://192.0.2.1/');
  assert.equal(asked, 'from the sidecar\n');
  assert.equal(await (await fetch(`http://${status.podIP}/`)).text(), 'from the sidecar\n');
  await assert.rejects(
    kubelet.run('meshed', 'app', '/usr/sbin/iptables-nft', '-t', 'nat', '-F'),
    /denied|not permitted/i,
  );
});
