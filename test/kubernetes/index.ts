import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildGo } from '../conformance/go.ts';

const here = import.meta.dirname;
const versionPackage = 'k8s.io/component-base/version';

/** The release of Kubernetes that go.mod pins: `v1.37.2`. */
export const kubernetesVersion = /k8s\.io\/kubernetes (v\S+)/.exec(readFileSync(join(here, 'go.mod'), 'utf8'))![1]!;

/** What a cluster of one node is made of, etcd apart. */
export const clusterPrograms = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kube-proxy',
  'kubectl',
  'kubelet',
] as const;
export type ClusterProgram = (typeof clusterPrograms)[number];

const [, major, minor] = /^v(\d+)\.(\d+)/.exec(kubernetesVersion)!;
const facts = { gitVersion: kubernetesVersion, gitMajor: major, gitMinor: minor };
const link = `-ldflags=-s -w ${Object.entries(facts)
  .map(([name, value]) => `-X ${versionPackage}.${name}=${value}`)
  .join(' ')}`;
/** Without C: what is compiled then does not depend on the host's compiler. */
const env = { CGO_ENABLED: '0' };

/** A program of the release that go.mod pins; its path. The first build takes some minutes, and two gigabytes of modules. */
export const ensureProgram = (name: ClusterProgram): Promise<string> =>
  buildGo(here, ['build', link], `k8s.io/kubernetes/cmd/${name}`, 'tools.go', undefined, env);

/** What makes services, and no pods. */
export async function ensureServicePrograms(): Promise<void> {
  for (const name of ['kube-apiserver', 'kube-proxy', 'kubectl'] as const) await ensureProgram(name);
}

export const ensureKubelet = (): Promise<string> => ensureProgram('kubelet');

/** Its modules are more than the others': in go.mod of this folder they would have all of the others built again. */
const clusterSuite = join(here, 'e2e');

/** CoreDNS, a cluster's name server; its path. */
export const ensureNameServer = (): Promise<string> =>
  buildGo(join(here, 'dns'), ['build', '-ldflags=-s -w'], '.', 'main.go', undefined, env);

/** What Kubernetes' suites of a node and of a cluster are, and what they need beside them: by name, how it is built, and where. */
const suitePrograms = {
  'e2e.test': [['test', '-c', '-vet=off', link], 'k8s.io/kubernetes/test/e2e', clusterSuite],
  'e2e_node.test': [['test', '-c', '-vet=off', link], 'k8s.io/kubernetes/test/e2e_node', here],
  ginkgo: [['build', '-ldflags=-s -w'], 'github.com/onsi/ginkgo/v2/ginkgo', here],
  agnhost: [['build', '-ldflags=-s -w'], 'k8s.io/kubernetes/test/images/agnhost', here],
  'sample-apiserver': [['build', '-ldflags=-s -w'], 'k8s.io/sample-apiserver', join(here, 'sample')],
  nnp: [['build', '-ldflags=-s -w'], 'k8s.io/kubernetes/test/images/nonewprivs', here],
} as const satisfies Record<string, readonly [command: readonly string[], what: string, module: string]>;

/** A program of the suites; its path. Each suite's own first build takes a quarter of an hour on two processors. */
export function ensureSuiteProgram(name: keyof typeof suitePrograms): Promise<string> {
  const [command, what, module] = suitePrograms[name];
  return buildGo(module, command, what, 'tools.go', undefined, env);
}
