import { join } from 'node:path';
import { buildGo } from '../conformance/go.ts';
import { type Release, release } from './release.ts';

const here = import.meta.dirname;
const versionPackage = 'k8s.io/component-base/version';

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

/** What makes a program say of which release it is; without debugging facts. */
function link({ version }: Release): string {
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(version)!;
  const facts = { gitVersion: version, gitMajor: major, gitMinor: minor };
  const set = Object.entries(facts).map(([name, value]) => `-X ${versionPackage}.${name}=${value}`);
  return `-ldflags=-s -w ${set.join(' ')}`;
}

/** Without C: what is compiled then does not depend on the host's compiler. */
const env = { CGO_ENABLED: '0' };

function build(command: readonly string[], what: string): Promise<string> {
  const chosen = release();
  return buildGo(chosen.module, [...command, link(chosen)], what, 'tools.go', undefined, env);
}

/** A program of the chosen release (release.ts); its path. The first build takes some minutes, and two gigabytes of modules. */
export const ensureProgram = (name: ClusterProgram): Promise<string> =>
  build(['build'], `k8s.io/kubernetes/cmd/${name}`);

/** What makes services, and no pods. */
export async function ensureServicePrograms(): Promise<void> {
  for (const name of ['kube-apiserver', 'kube-proxy', 'kubectl'] as const) await ensureProgram(name);
}

export const ensureKubelet = (): Promise<string> => ensureProgram('kubelet');

/** CoreDNS, a cluster's name server; its path. */
export const ensureNameServer = (): Promise<string> =>
  buildGo(join(here, 'dns'), ['build', '-ldflags=-s -w'], '.', 'main.go', undefined, env);

const suite = ['test', '-c', '-vet=off'];

/** What Kubernetes' suites of a node and of a cluster are, and what they need beside them: by name, how it is built, and from what. */
const suitePrograms = {
  'e2e.test': [suite, 'k8s.io/kubernetes/test/e2e'],
  'e2e_node.test': [suite, 'k8s.io/kubernetes/test/e2e_node'],
  ginkgo: [['build'], 'github.com/onsi/ginkgo/v2/ginkgo'],
  agnhost: [['build'], 'k8s.io/kubernetes/test/images/agnhost'],
  'sample-apiserver': [['build'], 'k8s.io/sample-apiserver'],
  nnp: [['build'], 'k8s.io/kubernetes/test/images/nonewprivs'],
} as const satisfies Record<string, readonly [command: readonly string[], what: string]>;

/** A program of the suites, of the chosen release; its path. Each suite's own first build takes a quarter of an hour on two processors. */
export function ensureSuiteProgram(name: keyof typeof suitePrograms): Promise<string> {
  const [command, what] = suitePrograms[name];
  return build(command, what);
}
