// A node that changes its runtime below a running kubelet's pods: containerd, Berth at its address, containerd again; by the
// commands of docs/install.md, line by line.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import type { Finding } from '../../src/commands/doctor-checks.ts';
import { ensureCrictl, ensureStreamClient } from '../conformance/go.ts';
import { type Peer, startContainerd } from '../conformance/peer.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { mountLines } from '../harness/leak-check.ts';
import { ownHost } from '../harness/own-host.ts';
import { until } from '../harness/pods.ts';
import { type Registry, startTestRegistry } from '../images/index.ts';
import { cacheFolder } from '../images/paths.ts';
import { run } from '../images/run.ts';
import { ensureKubelet } from '../kubernetes/index.ts';
import { Kubelet, type KubePod } from '../kubernetes/kubelet.ts';

const crictlFolder = cacheFolder('conformance');
await ownHost(() => Promise.all([ensureKubelet(), ensureStreamClient(), ensureCrictl(crictlFolder)]));

const root = resolve(import.meta.dirname, '../..');
/** The address that kubelet has in both lives of the node. */
const socket = '/run/containerd/containerd.sock';
const pods = ['plain', 'staged', 'on-host', 'probed'] as const;

const daemon = new TestDaemon({
  network: false,
  settings: { cni: { conf_dir: '/etc/cni/net.d', bin_dirs: ['/usr/lib/cni'], cache_dir: '/var/lib/cni' } },
});
const home = { dir: join(daemon.dir, 'containerd'), socket, state: '/run/containerd', cniDir: '/etc/cni/net.d' };
const bin = join(daemon.dir, 'bin');
let containerd: Peer | null = null;
let registry: Registry;
let kubelet: Kubelet;
let systemctl: Server;
let image = { busybox: '', pause: '' };

/** What the node's systemd would do. Units end as those of containerd and Berth do: with their pods left as they are. */
const units: Record<string, { start: () => Promise<void>; stop: () => Promise<void> }> = {
  kubelet: { start: () => kubelet.start(), stop: () => kubelet.kill('SIGTERM') },
  berth: { start: () => daemon.start(), stop: () => daemon.stop() },
  containerd: {
    start: async () => {
      containerd = await startContainerd(join(daemon.dir, 'containerd.log'), '', home);
    },
    stop: async () => {
      await containerd?.[Symbol.asyncDispose]();
      containerd = null;
    },
  },
};
const verbs: Record<string, 'start' | 'stop'> = {
  start: 'start',
  stop: 'stop',
  'enable --now': 'start',
  'disable --now': 'stop',
};

/** `systemctl VERB UNIT`, as a path: its answer is the error, if there is one. */
async function control(path: string): Promise<string> {
  const words = path.split('/').slice(1);
  const [verb, unit] = [verbs[words.slice(0, -1).join(' ')], units[words.at(-1)!]];
  if (!verb || !unit) return `systemctl: does not know ${words.join(' ')}`;
  return unit[verb]().then(
    () => '',
    (error) => `systemctl: ${error}`,
  );
}

before(async () => {
  for (const folder of [home.dir, bin, '/etc/cni/net.d']) mkdirSync(folder, { recursive: true });
  const ipam = { type: 'host-local', ranges: [[{ subnet: daemon.subnet }]] };
  const bridge = { type: 'bridge', bridge: daemon.bridge, isGateway: true, ipMasq: true, ipam };
  const portmap = { type: 'portmap', capabilities: { portMappings: true } };
  const list = { cniVersion: '0.4.0', name: 'node', plugins: [bridge, portmap] };
  writeFileSync('/etc/cni/net.d/10-node.conflist', JSON.stringify(list));
  writeFileSync('/etc/hosts', '127.0.0.1 localhost test-node\n'); // the name in kubelet's certificate
  symlinkSync(daemon.dir, '/etc/berth'); // where config.toml is

  systemctl = createServer(async ({ url }, response) => response.end(await control(url!))).listen(0, '127.0.0.1');
  await once(systemctl, 'listening');
  const { port } = systemctl.address() as AddressInfo;
  const commands = {
    sudo: 'exec "$@"',
    systemctl: `said=$(busybox wget -q -O - "http://127.0.0.1:${port}/$(echo "$*" | tr ' ' /)") && [ -z "$said" ] || { echo "$said" >&2; exit 1; }`,
    berth: `exec ${process.execPath} ${root}/src/main.ts "$@"`,
    crictl: `exec ${await ensureCrictl(crictlFolder)} "$@"`,
  };
  for (const [name, script] of Object.entries(commands))
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });

  registry = await startTestRegistry();
  image = { busybox: `${registry.address}/e2e-test-images/busybox:1.29-2`, pause: `${registry.address}/pause:3.9` };
  kubelet = new Kubelet({ dir: daemon.dir, name: daemon.name, socket });
});
after(async () => {
  await kubelet.dispose();
  await units.containerd!.stop();
  await daemon.dispose();
  systemctl.close();
  await registry[Symbol.asyncDispose]();
});

/** The blocks of commands below a heading of a paper. */
function blocks(paper: string, heading: string): string[] {
  const [, section = ''] = readFileSync(join(root, paper), 'utf8').split(`## ${heading}\n`);
  return [...section.split('\n## ')[0]!.matchAll(/^```bash\n([\s\S]*?)^```$/gm)].map(([, block]) => block!);
}
const [leave, arrive, leaveBerth, back, ...rest] = blocks('docs/install.md', 'From containerd or CRI-O, and back');
const paste = (block = ''): Promise<string> =>
  run('/bin/bash', ['-euxo', 'pipefail', '-c', block], {
    cwd: daemon.dir,
    env: { PATH: `${bin}:/usr/sbin:/usr/bin:/sbin:/bin` },
  });

const sh = (name: string, script: string, more: object = {}) => ({
  name,
  image: image.busybox,
  command: ['/bin/sh', '-c', script],
  ...more,
});
const forever = 'trap "exit 0" TERM; sleep 1000 & wait';
const onData = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
const withData = { volumes: [{ name: 'data', emptyDir: {} }], terminationGracePeriodSeconds: 1 };
const said = (name: string) => `${name} began`;
/** Each counts its lives in a volume, and says so in its log. */
const main = (name: string, more: object = {}) =>
  sh('main', `echo life >>/data/lives; echo ${said(name)} $(wc -l </data/lives); ${forever}`, { ...onData, ...more });

const specs: Record<(typeof pods)[number], () => object> = {
  plain: () => ({ ...withData, containers: [main('plain')] }),
  staged: () => ({
    ...withData,
    initContainers: [
      sh('first', 'echo one >/data/order', onData),
      sh('sidecar', `echo two >>/data/order; ${forever}`, {
        ...onData,
        restartPolicy: 'Always',
        startupProbe: { exec: { command: ['/bin/grep', 'two', '/data/order'] }, periodSeconds: 1 },
      }),
    ],
    containers: [main('staged')],
  }),
  'on-host': () => ({
    ...withData,
    hostNetwork: true,
    containers: [
      main('on-host'),
      sh('web', 'trap "exit 0" TERM; httpd -f -p 18080 -h /etc & wait', {
        readinessProbe: { httpGet: { path: '/group', port: 18_080 }, periodSeconds: 1 },
      }),
    ],
  }),
  probed: () => ({
    ...withData,
    containers: [
      main('probed', {
        ports: [{ containerPort: 80, hostPort: 18_081 }],
        readinessProbe: { exec: { command: ['/bin/test', '-s', '/data/lives'] }, periodSeconds: 1 },
        livenessProbe: { exec: { command: ['/bin/true'] }, periodSeconds: 1 },
      }),
    ],
  }),
};

const processes = (): string[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')];
      } catch {
        return []; // it ended while we looked
      }
    });

const below = (folder: string): string[] => readdirSync(folder, { recursive: true, encoding: 'utf8' });

/** What of pods is on the host, kubelet's own apart. */
const traces = () => ({
  processes: processes()
    .filter((command) => !command.includes('docker-registry'))
    .sort(),
  mounts: mountLines()
    .filter((line) => !line.startsWith(kubelet.dir) && !line.startsWith('/run/netns '))
    .sort(),
  namespaces: readdirSync('/run/netns'),
  addresses: readdirSync('/var/lib/cni/networks/node').filter((name) => name.startsWith('10.')),
  results: readdirSync('/var/lib/cni/results'),
  links: readdirSync('/sys/class/net').filter((name) => name !== daemon.bridge), // which its plugin keeps
  cgroups: below(`/sys/fs/cgroup/pids${kubelet.cgroup}`).filter((path) => /[0-9a-f]{64}/.test(path)),
});
let clean: ReturnType<typeof traces>;

/** What `berth doctor` says of other runtimes; no daemon has to run for it. */
function others(): string[] {
  const { stdout } = spawnSync(join(bin, 'berth'), ['doctor', '--json'], { encoding: 'utf8' });
  return (JSON.parse(stdout) as Finding[]).filter(({ check }) => check === 'other runtimes').map(({ value }) => value);
}
const noOthers = ['no other one has pods here'];

/** A command in a container by kubelet's streaming, with kubectl's own library: what it said of what it was told. */
async function exec(pod: string, input: string): Promise<string> {
  const query = new URLSearchParams({ input: '1', output: '1' });
  for (const word of ['/bin/sed', 's/^/heard: /']) query.append('command', word);
  const url = `https://test-node:10250/exec/test/${pod}-test-node/main?${query}`;
  const child = spawn(await ensureStreamClient(), ['-url', url, '-transport', 'websocket', '-stdin', '-stdout'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { SSL_CERT_FILE: join(kubelet.dir, 'pki/kubelet.crt') },
  });
  child.stdin.end(input);
  return text(child.stdout);
}

/** All pods are there, and all that kubelet is asked about them is answered, by the runtime of this name. */
async function assertAlive(runtime: string, life: number): Promise<void> {
  for (const name of pods) {
    const isThis = ({ status }: KubePod) =>
      status.containerStatuses!.every(({ containerID, ready }) => ready && containerID.startsWith(`${runtime}://`));
    await kubelet.untilPod(name, `ready with ${runtime}`, (pod) => pod.status.containerStatuses && isThis(pod));
    const words = `${said(name)} ${life}\n`;
    await until(`"${words}" in its log`, async () => (await kubelet.logs(name, 'main', 'tailLines=1')) === words);
    assert.equal(await exec(name, `${name}\n`), `heard: ${name}\n`);
  }
  await until('figures with labels, of every pod', async () => {
    const figures = await kubelet.get('/metrics/cadvisor');
    return pods.every((name) =>
      figures
        .split('\n')
        .some((line) =>
          ['container_memory_working_set_bytes{', 'container="main"', `pod="${name}-test-node"`, 'image="127'].every(
            (part) => line.includes(part),
          ),
        ),
    );
  });
}

test('kubelet runs pods on containerd', async () => {
  await units.containerd!.start();
  await run('/usr/bin/ctr', ['-n', 'k8s.io', 'images', 'pull', '--plain-http', image.pause]);
  await run('/usr/bin/ctr', ['-n', 'k8s.io', 'images', 'tag', image.pause, 'registry.k8s.io/pause:3.9']);
  for (const folder of ['/run/netns', '/var/lib/cni/networks/node', '/var/lib/cni/results'])
    mkdirSync(folder, { recursive: true });
  await units.containerd!.stop();
  clean = traces();
  await units.containerd!.start();
  await units.kubelet!.start();
  for (const name of pods) kubelet.apply(name, specs[name]());
  await assertAlive('containerd', 1);
  assert.deepEqual(others(), [`containerd: ${pods.length} of its shims run`]);
});

test('the steps to Berth, as they are pasted: nothing of containerd is left, and the pods come back', async () => {
  assert.deepEqual(rest, [], 'blocks of commands that no test knows');
  await paste(leave);
  assert.deepEqual(traces(), clean);
  assert.deepEqual(others(), noOthers);
  await registry[Symbol.asyncDispose](); // images are taken along
  await paste(arrive);
  await assertAlive('berth', 2);
});

test('the steps back, as they are pasted: nothing of Berth is left, and the pods come back', async () => {
  await paste(leaveBerth);
  assert.deepEqual(traces(), clean);
  await paste(back);
  await assertAlive('containerd', 3);
});
