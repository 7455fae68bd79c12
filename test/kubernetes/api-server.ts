// An API server over Debian's etcd, with programs of the release beside it that ask it, as children of this process.
import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../harness/pods.ts';
import { program, run } from '../images/run.ts';
import { type ClusterProgram, ensureProgram } from './index.ts';

export type Flags = Readonly<Record<string, string>>;
export type ApiServerOptions = {
  /** For logs and the kubeconfig; it stays. */
  readonly folder: string;
  /** For all else. */
  readonly dir: string;
  /** Of this host, and not loopback's: others learn it. */
  readonly address: string;
  /** Told that one of the programs ended unasked. */
  readonly onEnd: (what: string) => void;
};

const port = 6443;
const etcd = 'http://127.0.0.1:2379';
const minutes = 180_000 * Number(process.env.BERTH_TEST_SLOWNESS ?? 1);

export class ApiServer {
  readonly #options: ApiServerOptions;
  readonly #key: string;
  readonly #children: ChildProcess[] = [];
  /** Everything in it is its administrator's. */
  readonly kubeconfig: string;
  readonly address = `https://127.0.0.1:${port}`;

  constructor(options: ApiServerOptions) {
    this.#options = options;
    this.kubeconfig = join(options.folder, 'kubeconfig');
    this.#key = join(options.dir, 'service-accounts.pem');
  }

  async kubectl(...args: string[]): Promise<string> {
    return run(await ensureProgram('kubectl'), [`--kubeconfig=${this.kubeconfig}`, ...args]);
  }

  /** Returns when it serves. */
  async start(): Promise<void> {
    const { dir, address } = this.#options;
    mkdirSync(dir, { recursive: true });
    const token = randomUUID();
    this.#writeKubeconfig(token);
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(this.#key, privateKey.export({ type: 'pkcs1', format: 'pem' }), { mode: 0o600 });
    writeFileSync(join(dir, 'tokens.csv'), `${token},admin,admin,system:masters\n`, { mode: 0o600 });
    this.run('etcd', program('etcd', 'etcd-server'), {
      'data-dir': join(dir, 'etcd'),
      'listen-client-urls': etcd,
      'advertise-client-urls': etcd,
      'listen-peer-urls': 'http://127.0.0.1:2380',
    });
    await until('etcd to serve', () => succeeds(fetch(`${etcd}/health`)), minutes);
    await this.runProgram('kube-apiserver', {
      'advertise-address': address,
      'allow-privileged': 'true',
      'authorization-mode': 'AlwaysAllow',
      'cert-dir': join(dir, 'pki'),
      'etcd-servers': etcd,
      'kubelet-preferred-address-types': 'InternalIP',
      'secure-port': `${port}`,
      'service-account-issuer': 'https://kubernetes.default.svc',
      'service-account-key-file': this.#key,
      'service-account-signing-key-file': this.#key,
      'service-cluster-ip-range': '10.96.0.0/16',
      'token-auth-file': join(dir, 'tokens.csv'),
    });
    await until('the API server to serve', () => succeeds(this.kubectl('get', '--raw', '/readyz')), minutes);
  }

  /** Makes accounts, endpoints and all else that nobody makes by hand. */
  async startControllers(): Promise<void> {
    await this.runProgram('kube-controller-manager', {
      kubeconfig: this.kubeconfig,
      'root-ca-file': join(this.#options.dir, 'pki/apiserver.crt'),
      'service-account-private-key-file': this.#key,
      'use-service-account-credentials': 'false',
    });
  }

  async runProgram(name: ClusterProgram, flags: Flags): Promise<void> {
    this.run(name, await ensureProgram(name), flags);
  }

  run(name: string, path: string, flags: Flags): void {
    const logFile = join(this.#options.folder, `${name}.log`);
    const log = openSync(logFile, 'a');
    const args = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
    const child = spawn(path, args, { stdio: ['ignore', log, log], env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
    closeSync(log);
    this.#children.push(child);
    child.once('exit', (code, signal) => {
      if (this.#children.includes(child)) this.#options.onEnd(`${name} ended (${code ?? signal}): see ${logFile}`);
    });
  }

  /** Ends all of it, the last first. */
  async dispose(): Promise<void> {
    for (const child of this.#children.splice(0).reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }

  #writeKubeconfig(token: string): void {
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'cluster', cluster: { server: this.address, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'admin', user: { token } }],
      contexts: [{ name: 'cluster', context: { cluster: 'cluster', user: 'admin' } }],
      'current-context': 'cluster',
    };
    writeFileSync(this.kubeconfig, JSON.stringify(config), { mode: 0o600 });
  }
}

/** Whether the work succeeds. */
export const succeeds = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  );

/**
 * Gives this host an address that is not loopback's, and a way out: without a route the kernel refuses a service's address
 * before kube-proxy's rules see it.
 */
export async function addNodeAddress(address: string, gateway: string): Promise<void> {
  const ip = (...args: string[]) => run('/usr/sbin/ip', args);
  await ip('link', 'add', 'node0', 'type', 'bridge');
  await ip('address', 'add', `${address}/24`, 'dev', 'node0');
  await ip('link', 'set', 'node0', 'up');
  await ip('route', 'add', 'default', 'via', gateway, 'dev', 'node0', 'onlink');
}
