import type { SpecInput } from './input.ts';

/**
 * The annotations that tools on a node read from a bundle, under the names that the peers made common. A request's own
 * annotations are passed on where the operator says so: OCI runtimes take some of them as orders (devices, hooks, handlers).
 */
export const buildAnnotations = ({ podId, pod, container, passed }: SpecInput): Record<string, string> => ({
  ...matching(pod.annotations, passed?.podAnnotations),
  ...matching(container.annotations, passed?.containerAnnotations),
  'io.kubernetes.cri.container-type': 'container',
  'io.kubernetes.cri.container-name': container.metadata.name,
  'io.kubernetes.cri.image-name': container.image.userSpecifiedImage || container.image.image,
  'io.kubernetes.cri.sandbox-id': podId,
  'io.kubernetes.cri.sandbox-name': pod.metadata.name,
  'io.kubernetes.cri.sandbox-namespace': pod.metadata.namespace,
  'io.kubernetes.cri.sandbox-uid': pod.metadata.uid,
});

function matching(
  annotations: Readonly<Record<string, string>>,
  patterns: readonly string[] = [],
): Record<string, string> {
  if (patterns.length === 0) return {};
  return Object.fromEntries(
    Object.entries(annotations).filter(([key]) => patterns.some((pattern) => matchesKey(key, pattern))),
  );
}

/** Kubernetes' own keys are no longer: a domain, a slash, a name. */
const longestKey = 253 + 1 + 63;

/** Whether a key is meant, as Go's path.Match has it: neither * nor ? stands for a slash. One that is no key of Kubernetes' is not. */
export function matchesKey(key: string, pattern: string): boolean {
  if (key.length > longestKey) return false;
  const [names, patterns] = [key.split('/'), pattern.split('/')];
  return names.length === patterns.length && names.every((name, index) => matchesName(name, patterns[index]!));
}

/** In steps of the product of both lengths at most. */
function matchesName(name: string, pattern: string): boolean {
  let [at, of] = [0, 0];
  let [star, from] = [-1, 0];
  while (at < name.length) {
    if (pattern[of] === '*') [star, from] = [of++, at];
    else if (of < pattern.length && (pattern[of] === '?' || pattern[of] === name[at])) {
      at++;
      of++;
    } else if (star >= 0) [of, at] = [star + 1, ++from];
    else return false;
  }
  return /^\**$/.test(pattern.slice(of));
}
