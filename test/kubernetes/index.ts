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

/** A program of the release that go.mod pins; its path. The first build takes some minutes, and two gigabytes of modules. */
export function ensureProgram(name: ClusterProgram): Promise<string> {
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(kubernetesVersion)!;
  const facts = { gitVersion: kubernetesVersion, gitMajor: major, gitMinor: minor };
  const link = Object.entries(facts).map(([name, value]) => `-X ${versionPackage}.${name}=${value}`);
  const command = ['build', `-ldflags=-s -w ${link.join(' ')}`];
  // Without C: what is compiled then does not depend on the host's compiler.
  const env = { CGO_ENABLED: '0' };
  return buildGo(here, command, `k8s.io/kubernetes/cmd/${name}`, 'tools.go', undefined, env);
}

export const ensureKubelet = (): Promise<string> => ensureProgram('kubelet');
