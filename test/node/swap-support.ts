// A node that changes its runtime below a running kubelet's pods: an old one, Berth, the old one again; by the commands of
// docs/install.md, line by line.
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
import { mountsBelow } from '../../src/sys/mountinfo.ts';
import { unmount } from '../../src/sys/mounts.ts';
import { ensureCrictl, ensureStreamClient } from '../conformance/go.ts';
import type { PeerHome } from '../conformance/peer.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { mountLines } from '../harness/leak-check.ts';
import { until } from '../harness/pods.ts';
import { type Registry, startTestRegistry } from '../images/index.ts';
import { cacheFolder } from '../images/paths.ts';
import { run } from '../images/run.ts';
import { ensureKubelet } from '../kubernetes/index.ts';
import { Kubelet, type KubePod } from '../kubernetes/kubelet.ts';
import { podNames, podSpecs, wordsOf } from './swap-pods.ts';

/** The runtime that the node has before. */
export type OldRuntime = {
  /** What ids of its containers begin with. */
  readonly scheme: string;
  readonly unit: string;
  readonly socket: string;
  /** What Berth's doctor tells of its pods. */
  readonly told: string;
  /** Starts it with what it has at home; what it says goes to a file. `pause` is the image for pods that it is to have. */
  readonly start: (home: PeerHome, logFile: string, pause: string) => Promise<AsyncDisposable>;
  /** Programs that the commands call, by their names. */
  readonly commands: Readonly<Record<string, string>>;
  /** Its images come along; otherwise they are pulled anew. */
  readonly givesImages: boolean;
  /** Words of the paper's commands, which are for containerd, and what they are for this one. */
  readonly otherwise: Readonly<Record<string, string>>;
};

const crictlFolder = cacheFolder('conformance');
/** What a host with no network but its own needs of what is built. */
export const prepareSwap = () => Promise.all([ensureKubelet(), ensureStreamClient(), ensureCrictl(crictlFolder)]);

const root = resolve(import.meta.dirname, '../..');

/** Where Berth answers as containerd does, too. */
const compatSocket = '/run/containerd/containerd.sock';

type Unit = { readonly start: () => Promise<void>; readonly stop: () => Promise<void> };
const verbs: Record<string, keyof Unit> = {
  start: 'start',
  stop: 'stop',
  'enable --now': 'start',
  'disable --now': 'stop',
};

/** The blocks of commands below a heading of a paper. */
function blocks(paper: string, heading: string): string[] {
  const [, section = ''] = readFileSync(join(root, paper), 'utf8').split(`## ${heading}\n`);
  return [...section.split('\n## ')[0]!.matchAll(/^```bash\n([\s\S]*?)^```$/gm)].map(([, block]) => block!);
}

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

/** A node with kubelet, what its systemd would do, and its commands. */
class SwapNode {
  readonly #old: OldRuntime;
  readonly daemon = new TestDaemon({
    network: false,
    settings: { cni: { conf_dir: '/etc/cni/net.d', bin_dirs: ['/usr/lib/cni'], cache_dir: '/var/lib/cni' } },
  });
  readonly #home: PeerHome;
  readonly #bin = join(this.daemon.dir, 'bin');
  readonly kubelet: Kubelet;
  #running: AsyncDisposable | null = null;
  #systemctl: Server | null = null;
  #registry: Registry | null = null;

  constructor(old: OldRuntime) {
    this.#old = old;
    this.#home = {
      dir: join(this.daemon.dir, 'old'),
      socket: old.socket,
      state: '/run/containerd',
      cniDir: '/etc/cni/net.d',
    };
    this.kubelet = new Kubelet({ dir: this.daemon.dir, name: this.daemon.name, socket: old.socket });
  }

  /** Units end as those of the old runtime and Berth do: with their pods left as they are. */
  readonly units: Record<string, Unit> = {
    kubelet: { start: () => this.kubelet.start(), stop: () => this.kubelet.kill('SIGTERM') },
    berth: { start: () => this.daemon.start(), stop: () => this.daemon.stop() },
  };

  get images() {
    const { address } = this.#registry!;
    return { busybox: `${address}/e2e-test-images/busybox:1.29-2`, pause: `${address}/pause:3.9` };
  }

  async prepare(): Promise<void> {
    const { daemon, units } = this;
    units[this.#old.unit] = {
      start: async () => {
        const log = join(daemon.dir, `${this.#old.unit}.log`);
        this.#running = await this.#old.start(this.#home, log, this.images.pause);
      },
      stop: async () => {
        await this.#running?.[Symbol.asyncDispose]();
        this.#running = null;
      },
    };
    for (const folder of [this.#home.dir, this.#bin, '/etc/cni/net.d', '/run/netns'])
      mkdirSync(folder, { recursive: true });
    for (const name of ['networks/node', 'results']) mkdirSync(join('/var/lib/cni', name), { recursive: true });
    const ipam = { type: 'host-local', ranges: [[{ subnet: daemon.subnet }]] };
    const bridge = { type: 'bridge', bridge: daemon.bridge, isGateway: true, ipMasq: true, ipam };
    const portmap = { type: 'portmap', capabilities: { portMappings: true } };
    const list = { cniVersion: '0.4.0', name: 'node', plugins: [bridge, portmap] };
    writeFileSync('/etc/cni/net.d/10-node.conflist', JSON.stringify(list));
    writeFileSync('/etc/hosts', '127.0.0.1 localhost test-node\n'); // the name in kubelet's certificate
    symlinkSync(daemon.dir, '/etc/berth'); // where config.toml is
    await this.#makeCommands();
    this.#registry = await startTestRegistry();
  }

  async #makeCommands(): Promise<void> {
    this.#systemctl = createServer(async ({ url }, response) => response.end(await this.#control(url!)));
    await once(this.#systemctl.listen(0, '127.0.0.1'), 'listening');
    const { port } = this.#systemctl.address() as AddressInfo;
    const commands = {
      sudo: 'exec "$@"',
      systemctl: `said=$(busybox wget -q -O - "http://127.0.0.1:${port}/$(echo "$*" | tr ' ' /)") && [ -z "$said" ] || { echo "$said" >&2; exit 1; }`,
      berth: `exec ${process.execPath} ${root}/src/main.ts "$@"`,
      crictl: `exec ${await ensureCrictl(crictlFolder)} "$@"`,
      ...Object.fromEntries(Object.entries(this.#old.commands).map(([name, path]) => [name, `exec ${path} "$@"`])),
    };
    for (const [name, script] of Object.entries(commands))
      writeFileSync(join(this.#bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }

  /** `systemctl VERB UNIT`, as a path: its answer is the error, if there is one. */
  async #control(path: string): Promise<string> {
    const words = path.split('/').slice(1);
    const [verb, unit] = [verbs[words.slice(0, -1).join(' ')], this.units[words.at(-1)!]];
    if (!verb || !unit) return `systemctl: does not know ${words.join(' ')}`;
    return unit[verb]().then(
      () => '',
      (error) => `systemctl: ${error}`,
    );
  }

  paste(block = ''): Promise<string> {
    return run('/bin/bash', ['-euxo', 'pipefail', '-c', block], {
      cwd: this.daemon.dir,
      env: { PATH: `${this.#bin}:/usr/sbin:/usr/bin:/sbin:/bin` },
    });
  }

  /** Has kubelet ask another runtime, as its configuration says. */
  pointKubelet(socket: string): void {
    const file = join(this.kubelet.dir, 'config.json');
    const settings = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...settings, containerRuntimeEndpoint: `unix://${socket}` }));
  }

  /** Images are taken along: nobody gives them any more. */
  async endRegistry(): Promise<void> {
    await this.#registry![Symbol.asyncDispose]();
  }

  async dispose(): Promise<void> {
    await this.kubelet.dispose();
    await this.#running?.[Symbol.asyncDispose]();
    for (const target of await mountsBelow(this.#home.dir)) unmount(target, { detach: true }); // of pods that are its last
    await this.daemon.dispose();
    this.#systemctl?.close();
    await this.#registry?.[Symbol.asyncDispose]();
  }

  /** What of pods is on the host, kubelet's own apart. */
  traces() {
    // kubelet's, the folder of namespaces, and the one that CRI-O's storage keeps mounted while it likes.
    const ownMounts = [this.kubelet.dir, '/run/netns ', `${join(this.#home.dir, 'root/overlay')} `];
    return {
      processes: processes()
        .filter((command) => !command.includes('docker-registry'))
        .sort(),
      mounts: mountLines()
        .filter((line) => !ownMounts.some((start) => line.startsWith(start)))
        .sort(),
      namespaces: readdirSync('/run/netns'),
      addresses: readdirSync('/var/lib/cni/networks/node').filter((name) => name.startsWith('10.')),
      results: readdirSync('/var/lib/cni/results'),
      links: readdirSync('/sys/class/net').filter((name) => name !== this.daemon.bridge), // which its plugin keeps
      cgroups: below(`/sys/fs/cgroup/pids${this.kubelet.cgroup}`).filter((path) => /[0-9a-f]{64}/.test(path)),
    };
  }

  /** What `berth doctor` says of other runtimes; no daemon has to run for it. */
  others(): string[] {
    const { stdout } = spawnSync(join(this.#bin, 'berth'), ['doctor', '--json'], { encoding: 'utf8' });
    return (JSON.parse(stdout) as Finding[])
      .filter(({ check }) => check === 'other runtimes')
      .map(({ value }) => value);
  }

  /** A command in a container by kubelet's streaming, with kubectl's own library: what it said of what it was told. */
  async #exec(pod: string, input: string): Promise<string> {
    const query = new URLSearchParams({ input: '1', output: '1' });
    for (const word of ['/bin/sed', 's/^/heard: /']) query.append('command', word);
    const url = `https://test-node:10250/exec/test/${pod}-test-node/main?${query}`;
    const child = spawn(await ensureStreamClient(), ['-url', url, '-transport', 'websocket', '-stdin', '-stdout'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { SSL_CERT_FILE: join(this.kubelet.dir, 'pki/kubelet.crt') },
    });
    child.stdin.end(input);
    return text(child.stdout);
  }

  /** All pods are there, and all that kubelet is asked about them is answered, by the runtime of this scheme. */
  async assertAlive(scheme: string, life: number): Promise<void> {
    const { kubelet } = this;
    for (const name of podNames) {
      const isThis = ({ status }: KubePod) =>
        status.containerStatuses!.every(({ containerID, ready }) => ready && containerID.startsWith(`${scheme}://`));
      await kubelet.untilPod(name, `ready with ${scheme}`, (pod) => pod.status.containerStatuses && isThis(pod));
      const words = wordsOf(name, life);
      await until(`"${words}" in its log`, async () => (await kubelet.logs(name, 'main', 'tailLines=1')) === words);
      assert.equal(await this.#exec(name, `${name}\n`), `heard: ${name}\n`);
    }
    await until('figures with labels, of every pod', async () => {
      const figures = (await kubelet.get('/metrics/cadvisor')).split('\n');
      const parts = (name: string) => ['container="main"', `pod="${name}-test-node"`, 'image="127'];
      return podNames.every((name) =>
        figures.some((line) =>
          ['container_memory_working_set_bytes{', ...parts(name)].every((part) => line.includes(part)),
        ),
      );
    });
  }
}

/** The tests of one old runtime, on a host of their own. */
export function swapTests(old: OldRuntime): void {
  const node = new SwapNode(old);
  before(() => node.prepare());
  after(() => node.dispose());
  const [leave, arrive, leaveBerth, back, ...rest] = blocks(
    'docs/install.md',
    'From containerd or CRI-O, and back',
  ).map((block) => Object.entries(old.otherwise).reduce((so, [words, other]) => so.replaceAll(words, other), block));
  let clean: ReturnType<SwapNode['traces']>;

  test(`kubelet runs pods on ${old.unit}`, async () => {
    const unit = node.units[old.unit]!;
    await unit.start();
    await unit.stop();
    // CRI-O leaves a process that it forked, for a moment.
    await until(`the end of ${old.unit}`, async () => !processes().some((line) => line.includes(`/${old.unit} `)));
    clean = node.traces();
    await unit.start();
    await node.units.kubelet!.start();
    const specs = podSpecs(node.images.busybox);
    for (const name of podNames) node.kubelet.apply(name, specs[name]);
    await node.assertAlive(old.scheme, 1);
    assert.deepEqual(node.others(), [old.told]);
  });

  test('the steps to Berth, as they are pasted: nothing of the old one is left, and the pods come back', async () => {
    assert.deepEqual(rest, [], 'blocks of commands that no test knows');
    await node.paste(leave);
    assert.deepEqual(node.traces(), clean);
    assert.deepEqual(node.others(), ['no other one has pods here']);
    if (old.givesImages) await node.endRegistry();
    node.pointKubelet(compatSocket);
    await node.paste(arrive);
    await node.assertAlive('berth', 2);
  });

  test('the steps back, as they are pasted: nothing of Berth is left, and the pods come back', async () => {
    await node.paste(leaveBerth);
    assert.deepEqual(node.traces(), clean);
    node.pointKubelet(old.socket);
    await node.paste(back);
    await node.assertAlive(old.scheme, 3);
  });
}
