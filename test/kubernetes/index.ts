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

export const ensureKubelet = (): Promise<string> => ensureProgram('kubelet');

/** What Kubernetes' suite of a node is, and what it needs beside it: by name, how it is built. */
const suitePrograms = {
  'e2e_node.test': [['test', '-c', link], 'k8s.io/kubernetes/test/e2e_node'],
  ginkgo: [['build', '-ldflags=-s -w'], 'github.com/onsi/ginkgo/v2/ginkgo'],
  agnhost: [['build', '-ldflags=-s -w'], 'k8s.io/kubernetes/test/images/agnhost'],
  nnp: [['build', '-ldflags=-s -w'], 'k8s.io/kubernetes/test/images/nonewprivs'],
} as const satisfies Record<string, readonly [command: readonly string[], what: string]>;

/** A program of the suite; its path. The suite's own first build takes a quarter of an hour on two processors. */
export function ensureSuiteProgram(name: keyof typeof suitePrograms): Promise<string> {
  const [command, what] = suitePrograms[name];
  return buildGo(here, command, what, 'tools.go', undefined, env);
}
