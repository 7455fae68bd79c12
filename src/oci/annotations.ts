import type { SpecInput } from './input.ts';

/**
 * The annotations that tools on a node read from a bundle, under the names that the peers made common. A request's own
 * annotations are never passed on: OCI runtimes take some of them as orders (devices, hooks, handlers).
 */
export const buildAnnotations = ({ podId, pod, container }: SpecInput): Record<string, string> => ({
  'io.kubernetes.cri.container-type': 'container',
  'io.kubernetes.cri.container-name': container.metadata.name,
  'io.kubernetes.cri.image-name': container.image.userSpecifiedImage || container.image.image,
  'io.kubernetes.cri.sandbox-id': podId,
  'io.kubernetes.cri.sandbox-name': pod.metadata.name,
  'io.kubernetes.cri.sandbox-namespace': pod.metadata.namespace,
  'io.kubernetes.cri.sandbox-uid': pod.metadata.uid,
});
