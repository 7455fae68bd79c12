// What a cluster is beside its node: etcd, the API server and what works for it, as children of this process, on a host of its own
// (test/harness/own-host.ts). When one of them ends, so does this process.
import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../../test/harness/pods.ts';
import { program, run } from '../../test/images/run.ts';
import { type ClusterProgram, ensureNameServer, ensureProgram } from '../../test/kubernetes/index.ts';
import { Kubelet, type KubeNode } from '../../test/kubernetes/kubelet.ts';
import { api } from './place.ts';

/** The node's address: that of an API server must not be loopback's. */
const address = '10.101.0.1';
const domain = 'cluster.local';
const etcd = 'http://127.0.0.1:2379';
const minutes = 180_000;

type Flags = Readonly<Record<string, string>>;
export type ClusterOptions = {
  /** For logs and the kubeconfig; it stays. */
  readonly folder: string;
  /** For all else. */
  readonly dir: string;
  /** The runtime's pods' addresses. */
  readonly podCidr: string;
};

export class ControlPlane {
  readonly #options: ClusterOptions;
  readonly kubeconfig: string;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.kubeconfig = join(options.folder, 'kubeconfig');
  }

  async kubectl(...args: string[]): Promise<string> {
    return run(await ensureProgram('kubectl'), [`--kubeconfig=${this.kubeconfig}`, ...args]);
  }

  async start(): Promise<void> {
    mkdirSync(this.#options.dir, { recursive: true });
    await addNodeAddress();
    const token = randomUUID();
    this.#writeKubeconfig(token);
    await this.#startApi(token);
    await this.#startNameServer();
    await this.#startProgram('kube-scheduler', { kubeconfig: this.kubeconfig });
    await this.#startProgram('kube-proxy', {
      kubeconfig: this.kubeconfig,
      'cluster-cidr': this.#options.podCidr,
      'conntrack-max-per-core': '0', // the kernel's limits are not the cluster's to change
      'conntrack-tcp-timeout-established': '0',
      'conntrack-tcp-timeout-close-wait': '0',
      'hostname-override': 'test-node',
      'masquerade-all': 'true', // answers of a pod on the same bridge would pass kube-proxy's rules by
      'proxy-mode': 'iptables',
    });
  }

  /** Adds the one node; returns when it is ready. */
  async startNode(node: KubeNode): Promise<Kubelet> {
    const flags = { kubeconfig: this.kubeconfig, 'node-ip': address };
    const settings = { address: '0.0.0.0', clusterDNS: [address], clusterDomain: domain };
    const kubelet = new Kubelet({ ...node, flags }, settings);
    await kubelet.start();
    const ready = () => this.kubectl('wait', '--for=condition=Ready', 'node/test-node', '--timeout=10s');
    await until('the node to be ready', () => succeeds(ready()), minutes);
    return kubelet;
  }

  async #startNameServer(): Promise<void> {
    const file = join(this.#options.dir, 'Corefile');
    const zones = `${domain} in-addr.arpa`;
    const kubernetes = `kubernetes ${zones} {\n  kubeconfig ${this.kubeconfig}\n  pods verified\n}`;
    writeFileSync(file, `. {\nerrors\n${kubernetes}\n}\n`);
    this.#start('coredns', await ensureNameServer(), { conf: file });
  }

  #start(name: string, path: string, flags: Flags): void {
    const logFile = join(this.#options.folder, `${name}.log`);
    const log = openSync(logFile, 'a');
    const args = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
    const child = spawn(path, args, { stdio: ['ignore', log, log], env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
    closeSync(log);
    child.once('exit', (code, signal) => {
      console.error(`${name} ended (${code ?? signal}): see ${logFile}`);
      process.exitCode = 1;
      process.kill(process.pid, 'SIGTERM');
    });
  }

  async #startProgram(name: ClusterProgram, flags: Flags): Promise<void> {
    this.#start(name, await ensureProgram(name), flags);
  }

  #writeKubeconfig(token: string): void {
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'cluster', cluster: { server: api, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'admin', user: { token } }],
      contexts: [{ name: 'cluster', context: { cluster: 'cluster', user: 'admin' } }],
      'current-context': 'cluster',
    };
    writeFileSync(this.kubeconfig, JSON.stringify(config), { mode: 0o600 });
  }

  /** etcd, the API server and its controllers; everything in it is its administrator's. */
  async #startApi(token: string): Promise<void> {
    const { dir } = this.#options;
    const key = join(dir, 'service-accounts.pem');
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(key, privateKey.export({ type: 'pkcs1', format: 'pem' }), { mode: 0o600 });
    writeFileSync(join(dir, 'tokens.csv'), `${token},admin,admin,system:masters\n`, { mode: 0o600 });
    this.#start('etcd', program('etcd', 'etcd-server'), {
      'data-dir': join(dir, 'etcd'),
      'listen-client-urls': etcd,
      'advertise-client-urls': etcd,
      'listen-peer-urls': 'http://127.0.0.1:2380',
    });
    await until('etcd to serve', () => succeeds(fetch(`${etcd}/health`)), minutes);
    await this.#startProgram('kube-apiserver', {
      'advertise-address': address,
      'allow-privileged': 'true',
      'authorization-mode': 'AlwaysAllow',
      'cert-dir': join(dir, 'pki'),
      'etcd-servers': etcd,
      'kubelet-preferred-address-types': 'InternalIP',
      'service-account-issuer': 'https://kubernetes.default.svc',
      'service-account-key-file': key,
      'service-account-signing-key-file': key,
      'service-cluster-ip-range': '10.96.0.0/16',
      'token-auth-file': join(dir, 'tokens.csv'),
    });
    await until('the API server to serve', () => succeeds(this.kubectl('get', '--raw', '/readyz')), minutes);
    await this.#startProgram('kube-controller-manager', {
      kubeconfig: this.kubeconfig,
      'root-ca-file': join(dir, 'pki/apiserver.crt'),
      'service-account-private-key-file': key,
      'use-service-account-credentials': 'false',
    });
  }
}

const succeeds = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  );

/** With a way out: without a route the kernel refuses a service's address before kube-proxy's rules see it. */
async function addNodeAddress(): Promise<void> {
  const ip = (...args: string[]) => run('/usr/sbin/ip', args);
  await ip('link', 'add', 'node0', 'type', 'bridge');
  await ip('address', 'add', `${address}/24`, 'dev', 'node0');
  await ip('link', 'set', 'node0', 'up');
  await ip('route', 'add', 'default', 'via', '10.101.0.254', 'dev', 'node0', 'onlink');
}
