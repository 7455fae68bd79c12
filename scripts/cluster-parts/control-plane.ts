// What a cluster is beside its node: etcd, the API server and what works for it, as children of this process, on a host of its own
// (test/harness/own-host.ts). When one of them ends, so does this process.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../../test/harness/pods.ts';
import { ApiServer, addNodeAddress, succeeds } from '../../test/kubernetes/api-server.ts';
import { ensureNameServer } from '../../test/kubernetes/index.ts';
import { Kubelet, type KubeNode } from '../../test/kubernetes/kubelet.ts';

/** The node's address: that of an API server must not be loopback's. */
const address = '10.101.0.1';
const domain = 'cluster.local';
const minutes = 180_000;

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
  readonly #api: ApiServer;

  constructor(options: ClusterOptions) {
    this.#options = options;
    const onEnd = (what: string) => {
      console.error(what);
      process.exitCode = 1;
      process.kill(process.pid, 'SIGTERM');
    };
    this.#api = new ApiServer({ ...options, address, onEnd });
  }

  get kubeconfig(): string {
    return this.#api.kubeconfig;
  }

  async start(): Promise<void> {
    const { kubeconfig } = this;
    await addNodeAddress(address, '10.101.0.254');
    await this.#api.start();
    await this.#api.startControllers();
    await this.#startNameServer();
    await this.#api.runProgram('kube-scheduler', { kubeconfig });
    await this.#api.runProgram('kube-proxy', {
      kubeconfig,
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
    const ready = () => this.#api.kubectl('wait', '--for=condition=Ready', 'node/test-node', '--timeout=10s');
    await until('the node to be ready', () => succeeds(ready()), minutes);
    return kubelet;
  }

  async #startNameServer(): Promise<void> {
    const file = join(this.#options.dir, 'Corefile');
    const zones = `${domain} in-addr.arpa`;
    const kubernetes = `kubernetes ${zones} {\n  kubeconfig ${this.kubeconfig}\n  pods verified\n}`;
    writeFileSync(file, `. {\nerrors\n${kubernetes}\n}\n`);
    this.#api.run('coredns', await ensureNameServer(), { conf: file });
  }
}
