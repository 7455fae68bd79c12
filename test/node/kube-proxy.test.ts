// kube-proxy as clusters run it, in a privileged pod on the host's network: a service reaches pods of Berth, in each of its
// modes. Kernels without ip_vs skip that one; that of scripts/vm-tests has it.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { type ContainerConfig, hostNetwork, TestPod, until, untilExited } from '../harness/pods.ts';
import { type Bench, suite } from '../harness/suite.ts';
import { ApiServer, addNodeAddress } from '../kubernetes/api-server.ts';
import { ensureProgram, ensureServicePrograms } from '../kubernetes/index.ts';
import { linesOf } from './containers-support.ts';

await ownHost(ensureServicePrograms);

const folder = mkdtempSync(join(tmpdir(), 'berth-kube-proxy-'));
const nodeAddress = '10.101.0.1';
const api = new ApiServer({
  folder,
  dir: join(folder, 'api'),
  address: nodeAddress,
  onEnd: (what) => {
    throw new Error(what);
  },
});
const node = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'test-node' },
  status: { addresses: [{ type: 'InternalIP', address: nodeAddress }] },
};
before(async () => {
  await addNodeAddress(nodeAddress, '10.101.0.254');
  await api.start();
  await make(node);
});
after(async () => {
  await api.dispose();
  execFileSync('/usr/sbin/ip', ['link', 'delete', 'node0']);
  rmSync(folder, { recursive: true });
});

async function make(...objects: object[]): Promise<void> {
  const file = join(folder, 'objects.json');
  writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
  await api.kubectl('apply', '-f', file);
}

const address = '10.96.0.100';
const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'default' },
  spec: { clusterIP: address, ports: [{ port: 80, targetPort: 80 }] },
};
const slice = (addresses: readonly string[]) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'web-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  endpoints: addresses.map((each) => ({ addresses: [each], conditions: { ready: true } })),
  ports: [{ port: 80, protocol: 'TCP' }],
});

/** Who answers at the service's address; empty: nobody. Each is a connection of its own. */
const answering = (): Promise<string> =>
  fetch(`http://${address}/hostname`, { headers: { connection: 'close' }, signal: AbortSignal.timeout(5000) }).then(
    (answer) => answer.text(),
    () => '',
  );

async function untilAnswered(names: readonly string[]): Promise<void> {
  const heard = new Set<string>();
  await until(`answers of ${names}`, async () => {
    heard.add((await answering()).trim());
    return names.every((name) => heard.has(name));
  });
}

const hasModule = existsSync('/proc/net/ip_vs') || spawnSync('/usr/sbin/modinfo', ['ip_vs']).status === 0;
/** Where each keeps its rules, and what of them is of kube-proxy. */
const modes = [
  { mode: 'iptables', skip: false, rules: ['/usr/sbin/iptables-save'], known: /KUBE-SERVICES .*10\.96\.0\.100/ },
  { mode: 'nftables', skip: false, rules: ['/usr/sbin/nft', 'list', 'ruleset'], known: /table ip kube-proxy/ },
  {
    mode: 'ipvs',
    skip: !hasModule && 'the kernel has no ip_vs',
    rules: ['/bin/cat', '/proc/net/ip_vs'],
    known: /TCP +0A600064:0050 rr/,
  },
] as const;

/** The host's programs, which kube-proxy runs. */
const places = {
  '/usr': '/usr',
  '/bin': '/usr/bin',
  '/sbin': '/usr/sbin',
  '/lib': '/usr/lib',
  '/lib64': '/usr/lib64',
  '/etc/alternatives': '/etc/alternatives',
  '/etc/protocols': '/etc/protocols',
};
const privileged = { linux: { securityContext: { privileged: true, ...hostNetwork.linux.securityContext } } };

async function proxyConfig(flags: Readonly<Record<string, string>>): Promise<ContainerConfig> {
  const program = await ensureProgram('kube-proxy');
  const all = { ...places, '/kube-proxy': program, '/var/lib/kube-proxy': folder };
  return {
    ...privileged,
    command: ['/kube-proxy', ...Object.entries(flags).map(([name, value]) => `--${name}=${value}`)],
    mounts: Object.entries(all).map(([containerPath, hostPath]) => ({ containerPath, hostPath, readonly: true })),
  };
}

async function startProxy(bench: Bench, mode: string): Promise<TestPod> {
  const pod = await TestPod.run(bench.daemon, `kube-proxy-${mode}`, privileged);
  const flags = {
    kubeconfig: '/var/lib/kube-proxy/kubeconfig',
    'cluster-cidr': bench.daemon.subnet,
    'conntrack-max-per-core': '0', // the kernel's limits are others' too
    'conntrack-tcp-timeout-established': '0',
    'conntrack-tcp-timeout-close-wait': '0',
    'hostname-override': node.metadata.name,
    'masquerade-all': 'true', // answers of a pod on the same bridge would pass its rules by
    'proxy-mode': mode,
  };
  const containerId = await pod.create('proxy', bench.image.busybox, await proxyConfig(flags));
  await bench.daemon.runtime.startContainer({ containerId });
  return pod;
}

/** Takes its rules away, and all else that it made; its own cleanup leaves some, and of IPVS' chains it removes none that others name. */
async function cleanUp(bench: Bench, pod: TestPod): Promise<void> {
  for (const name of ['iptables', 'ip6tables']) {
    const all = execFileSync(`/usr/sbin/${name}-save`, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    const others = all.split('\n').filter((line) => !line.includes('KUBE-'));
    execFileSync(`/usr/sbin/${name}-restore`, { input: others.join('\n') });
  }
  const containerId = await pod.create('cleanup', bench.image.busybox, await proxyConfig({ cleanup: 'true' }));
  await bench.daemon.runtime.startContainer({ containerId });
  const { exitCode } = await untilExited(bench.daemon, containerId);
  assert.equal(exitCode, 0, linesOf(pod, 'cleanup').join('\n'));
}

suite('kube-proxy', {}, (bench) => {
  for (const { mode, skip, rules, known } of modes) {
    test(`${mode}: a service reaches its pods, and those that come after them`, { skip }, async () => {
      const web = async (name: string) => {
        const pod = await TestPod.run(bench.daemon, name);
        await pod.sh('web', bench.image.busybox, 'exec httpd -f -p 80 -h /etc');
        return pod;
      };
      const [one, two, three] = await Promise.all(['one', 'two', 'three'].map(web));
      await make(service, slice([await one!.ip(), await two!.ip()]));
      const proxy = await startProxy(bench, mode);
      try {
        await untilAnswered(['one', 'two']);
        assert.match(
          execFileSync(rules[0], rules.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
          known,
        );
        await make(slice([await three!.ip()]));
        await untilAnswered(['three']);
        const client = await two!.sh(mode, bench.image.busybox, `wget -q -O - http://${address}/hostname`);
        assert.equal((await untilExited(bench.daemon, client)).exitCode, 0);
        assert.deepEqual(linesOf(two!, mode), ['three']);
      } catch (error) {
        throw new Error(`With kube-proxy, which said:\n${linesOf(proxy, 'proxy').slice(-30).join('\n')}`, {
          cause: error,
        });
      } finally {
        await bench.daemon.runtime.stopPodSandbox({ podSandboxId: proxy.id });
        await proxy.remove();
        const after = await TestPod.run(bench.daemon, `cleanup-${mode}`, privileged);
        await cleanUp(bench, after);
        for (const pod of [after, one!, two!, three!]) await pod.remove();
      }
    });
  }
});
