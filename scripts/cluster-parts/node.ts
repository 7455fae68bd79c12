// The cluster itself: everything of it is a child of this process, on a host of its own (test/harness/own-host.ts).
import { spawn } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestDaemon } from '../../test/harness/daemon.ts';
import { ownHost } from '../../test/harness/own-host.ts';
import { until } from '../../test/harness/pods.ts';
import { pullTestImages } from '../../test/harness/suite.ts';
import { program, run } from '../../test/images/run.ts';
import { type ClusterProgram, ensureProgram } from '../../test/kubernetes/index.ts';
import { Kubelet } from '../../test/kubernetes/kubelet.ts';
import { api, type Facts, factsFile, kubeconfig, logOf } from './place.ts';

await ownHost();

/** The node's address: that of an API server must not be loopback's. */
const address = '10.101.0.1';
const etcd = 'http://127.0.0.1:2379';
const podCidr = '10.100.0.0/24'; // TestDaemon's
const token = randomUUID();
const minutes = 180_000;

type Flags = Readonly<Record<string, string>>;

function start(name: string, path: string, flags: Flags): void {
  const log = openSync(logOf(name), 'a');
  const args = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
  const child = spawn(path, args, { stdio: ['ignore', log, log], env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
  closeSync(log);
  child.once('exit', (code, signal) => {
    console.error(`${name} ended (${code ?? signal}): see ${logOf(name)}`);
    process.exitCode = 1;
    process.kill(process.pid, 'SIGTERM');
  });
}

const startProgram = async (name: ClusterProgram, flags: Flags): Promise<void> =>
  start(name, await ensureProgram(name), flags);

const kubectl = async (...args: string[]): Promise<string> =>
  run(await ensureProgram('kubectl'), [`--kubeconfig=${kubeconfig}`, ...args]);
const succeeds = (work: Promise<unknown>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  );

function writeKubeconfig(): void {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'cluster', cluster: { server: api, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'admin', user: { token } }],
    contexts: [{ name: 'cluster', context: { cluster: 'cluster', user: 'admin' } }],
    'current-context': 'cluster',
  };
  writeFileSync(kubeconfig, JSON.stringify(config), { mode: 0o600 });
}

/** etcd and the API server; everything in it is its administrator's. */
async function startApi(dir: string): Promise<{ certificate: string; key: string }> {
  const key = join(dir, 'service-accounts.pem');
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  writeFileSync(key, privateKey.export({ type: 'pkcs1', format: 'pem' }), { mode: 0o600 });
  writeFileSync(join(dir, 'tokens.csv'), `${token},admin,admin,system:masters\n`, { mode: 0o600 });
  start('etcd', program('etcd', 'etcd-server'), {
    'data-dir': join(dir, 'etcd'),
    'listen-client-urls': etcd,
    'advertise-client-urls': etcd,
    'listen-peer-urls': 'http://127.0.0.1:2380',
  });
  await until('etcd to serve', () => succeeds(fetch(`${etcd}/health`)), minutes);
  await startProgram('kube-apiserver', {
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
  await until('the API server to serve', () => succeeds(kubectl('get', '--raw', '/readyz')), minutes);
  return { certificate: join(dir, 'pki/apiserver.crt'), key };
}

await run('/usr/sbin/ip', ['link', 'add', 'node0', 'type', 'bridge']);
await run('/usr/sbin/ip', ['address', 'add', `${address}/24`, 'dev', 'node0']);
await run('/usr/sbin/ip', ['link', 'set', 'node0', 'up']);

const daemon = new TestDaemon({});
const dir = join(daemon.dir, 'cluster');
mkdirSync(dir);
writeKubeconfig();
const { certificate, key } = await startApi(dir);
await startProgram('kube-controller-manager', {
  kubeconfig,
  'root-ca-file': certificate,
  'service-account-private-key-file': key,
  'use-service-account-credentials': 'false',
});
await startProgram('kube-scheduler', { kubeconfig });
await startProgram('kube-proxy', {
  kubeconfig,
  'cluster-cidr': podCidr,
  'conntrack-max-per-core': '0', // the kernel's limits are not the cluster's to change
  'conntrack-tcp-timeout-established': '0',
  'conntrack-tcp-timeout-close-wait': '0',
  'hostname-override': 'test-node',
  'masquerade-all': 'true', // answers of a pod on the same bridge would pass kube-proxy's rules by
  'proxy-mode': 'iptables',
});

await daemon.start();
const { busybox } = await pullTestImages(daemon);
const kubelet = new Kubelet(
  { ...daemon, dir: daemon.dir, socket: daemon.socket, flags: { kubeconfig, 'node-ip': address } },
  {
    address: '0.0.0.0',
  },
);
await kubelet.start();
await until(
  'the node to be ready',
  () => succeeds(kubectl('wait', '--for=condition=Ready', 'node/test-node', '--timeout=10s')),
  minutes,
);
const facts: Facts = { registry: busybox.split('/')[0]! };
writeFileSync(factsFile, JSON.stringify(facts));
