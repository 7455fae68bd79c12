// A kubelet, without an API server mostly: it runs what stands in its folder of manifests, on a node of the test's own.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { until } from '../harness/pods.ts';
import { ensureKubelet } from './index.ts';
import { hideTunables, showTunables } from './tunables.ts';

/** The parts of a pod (core/v1) that tests look at. */
export type KubePod = {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly spec: { readonly containers: readonly { readonly name: string }[] };
  readonly status: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly KubeContainerStatus[];
    readonly initContainerStatuses?: readonly KubeContainerStatus[];
  };
};
export type KubeContainerStatus = {
  readonly name: string;
  readonly ready: boolean;
  readonly restartCount: number;
  readonly containerID: string;
  readonly image: string;
  readonly state: { readonly running?: object; readonly terminated?: KubeTermination };
  readonly lastState: { readonly terminated?: KubeTermination };
};
type KubeTermination = { readonly exitCode: number; readonly reason: string; readonly message?: string };

/** What a kubelet is of. */
export type KubeNode = {
  /** A folder of the test's, and a name that cgroups may carry. */
  readonly dir: string;
  readonly name: string;
  /** The runtime's. */
  readonly socket: string;
  readonly port?: number;
  /** For one with an API server: its flags beside those of a kubelet alone. */
  readonly flags?: Readonly<Record<string, string>>;
};

export class Kubelet {
  readonly #node: KubeNode;
  readonly #settings: object;
  readonly dir: string;
  readonly cgroup: string;
  #child: ChildProcess | null = null;

  /** A kubelet of this node, such as a TestDaemon; `settings` lie over the fields of its KubeletConfiguration. */
  constructor(node: KubeNode, settings: object = {}) {
    this.#node = node;
    this.#settings = settings;
    this.dir = join(node.dir, 'kubelet');
    this.cgroup = `/${node.name}kube`;
    for (const folder of ['manifests', 'pki', 'root', 'tunables'])
      mkdirSync(join(this.dir, folder), { recursive: true });
    mkdirSync(this.podLogs, { recursive: true });
    writeFileSync(join(this.dir, 'config.json'), JSON.stringify(this.#configuration()));
    this.#makeCgroups();
    showTunables(join(this.dir, 'tunables'));
  }

  get port(): number {
    return this.#node.port ?? 10_250;
  }

  get podLogs(): string {
    return join(this.dir, 'pod-logs');
  }

  get logFile(): string {
    return join(this.dir, 'kubelet.log');
  }

  #configuration(): object {
    return {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      address: '127.0.0.1',
      port: this.port,
      authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
      authorization: { mode: 'AlwaysAllow' },
      containerRuntimeEndpoint: `unix://${this.#node.socket}`,
      staticPodPath: join(this.dir, 'manifests'),
      fileCheckFrequency: '1s',
      syncFrequency: '1s',
      podLogsDir: this.podLogs,
      cgroupDriver: 'cgroupfs',
      cgroupRoot: this.cgroup,
      enforceNodeAllocatable: ['pods'],
      failCgroupV1: false,
      failSwapOn: false,
      protectKernelDefaults: true,
      evictionHard: { 'memory.available': '1Mi', 'nodefs.available': '1Mi', 'imagefs.available': '1Mi' },
      imageGCHighThresholdPercent: 100,
      ...this.#settings,
    };
  }

  /** kubelet makes its groups below one that is there in each hierarchy; a cpuset without processors takes no process. */
  #makeCgroups(): void {
    for (const hierarchy of readdirSync('/sys/fs/cgroup', { withFileTypes: true })) {
      if (!hierarchy.isDirectory()) continue;
      const parent = join('/sys/fs/cgroup', hierarchy.name);
      mkdirSync(join(parent, this.cgroup), { recursive: true });
      for (const name of ['cpuset.cpus', 'cpuset.mems']) {
        if (!existsSync(join(parent, name))) continue;
        writeFileSync(join(parent, this.cgroup, name), readFileSync(join(parent, name)));
      }
    }
  }

  async start(): Promise<void> {
    const log = openSync(this.logFile, 'a');
    const args = {
      config: join(this.dir, 'config.json'),
      'root-dir': join(this.dir, 'root'),
      'cert-dir': join(this.dir, 'pki'),
      'hostname-override': 'test-node',
      v: '2',
      ...this.#node.flags,
    };
    this.#child = spawn(
      await ensureKubelet(),
      Object.entries(args).map(([name, value]) => `--${name}=${value}`),
      { stdio: ['ignore', log, log], env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } },
    );
    const ended = once(this.#child, 'exit').then(([code]) => {
      throw new Error(`kubelet ended (${code}) before it served:\n${readFileSync(this.logFile, 'utf8').slice(-4000)}`);
    });
    await Promise.race([
      ended,
      until('kubelet to serve', () =>
        this.get('/healthz').then(
          () => true,
          () => false,
        ),
      ),
    ]);
    ended.catch(() => {}); // later ends are wanted
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }

  /** Ends it and takes back what it did to the host; its pods are the runtime's to remove. */
  async dispose(): Promise<void> {
    await this.kill();
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '');
    for (const point of mounts.reverse()) {
      if (point.startsWith(`${this.dir}/root/`)) execFileSync('/usr/bin/umount', ['-l', point]);
    }
    hideTunables();
  }

  /** A static pod: core/v1's `metadata` and `spec`. */
  apply(name: string, spec: object, metadata: object = {}): void {
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'test', ...metadata }, spec };
    const file = join(this.dir, 'manifests', `${name}.json`);
    writeFileSync(file, JSON.stringify(pod));
  }

  remove(name: string): void {
    rmSync(join(this.dir, 'manifests', `${name}.json`));
  }

  async pod(name: string): Promise<KubePod | undefined> {
    const { items } = JSON.parse(await this.get('/pods')) as { items: KubePod[] | null };
    return items?.find(({ metadata }) => metadata.name === `${name}-test-node`);
  }

  /** Waits for a pod that is as wanted; a failure says how it was at last. */
  async untilPod(name: string, wanted: string, is: (pod: KubePod) => unknown, ms = 60_000): Promise<KubePod> {
    let last: KubePod | undefined;
    try {
      return await until(
        `pod ${name} ${wanted}`,
        async () => {
          last = await this.pod(name);
          return last && is(last) ? last : undefined;
        },
        ms,
      );
    } catch (error) {
      assert.fail(
        `${error}\n${JSON.stringify(last?.status, null, 1)}\n${readFileSync(this.logFile, 'utf8').slice(-6000)}`,
      );
    }
  }

  untilReady(name: string): Promise<KubePod> {
    return this.untilPod(name, 'ready', ({ status }) => isReady(status));
  }

  get(path: string): Promise<string> {
    return this.#ask('GET', path);
  }

  /** Runs a command in a container and gives what it printed (kubelet's /run). */
  run(pod: string, container: string, ...command: string[]): Promise<string> {
    const query = new URLSearchParams({ cmd: command.join(' ') }); // which it splits at spaces
    return this.#ask('POST', `/run/test/${pod}-test-node/${container}?${query}`);
  }

  logs(pod: string, container: string, query = ''): Promise<string> {
    return this.get(`/containerLogs/test/${pod}-test-node/${container}?${query}`);
  }

  #ask(method: string, path: string): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const sent = request(
      { host: '127.0.0.1', port: this.port, method, path, rejectUnauthorized: false, timeout: 30_000, agent: false },
      (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part) => parts.push(part));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(parts).toString();
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
        });
      },
    );
    sent.on('timeout', () => sent.destroy(new Error(`${method} ${path}: no answer within 30 s`)));
    sent.on('error', reject);
    sent.end();
    return promise;
  }
}

export const isReady = (status: KubePod['status']): boolean =>
  status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
