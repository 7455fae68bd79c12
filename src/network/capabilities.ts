import type { PodConfig } from '../model/config.ts';
import type { PluginConfig } from './conflist.ts';

/** What the runtime can tell a plugin that asks for it (CNI conventions, "dynamic plugin specific fields"). */
export type CapabilityArgs = Readonly<Record<string, unknown>>;

/** Every capability argument of a pod; `runtimeConfig` passes each plugin those that it declares. */
export function capabilityArgs(config: PodConfig, cgroupPath: string): CapabilityArgs {
  const portMappings = config.portMappings
    .filter((mapping) => mapping.hostPort > 0)
    .map(({ hostPort, containerPort, protocol, hostIp }) => ({ hostPort, containerPort, protocol, hostIP: hostIp }));
  const { dns, annotations } = config;
  const bandwidth = bandwidthOf(annotations);
  return {
    ...(portMappings.length > 0 && { portMappings }),
    ...(dns && { dns: { servers: dns.servers, searches: dns.searches, options: dns.options } }),
    ...(bandwidth && { bandwidth }),
    ...(cgroupPath && { cgroupPath }),
    'io.kubernetes.cri.pod-annotations': annotations,
  };
}

/** The `runtimeConfig` for one plugin, or undefined when it asks for nothing that there is. */
export function runtimeConfig(plugin: PluginConfig, args: CapabilityArgs): CapabilityArgs | undefined {
  const wanted = Object.entries(args).filter(([name]) => plugin.capabilities?.[name] === true);
  return wanted.length > 0 ? Object.fromEntries(wanted) : undefined;
}

const suffixes: Record<string, number> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};
/** The bandwidth plugin refuses a burst above 4 GiB; the peers send the largest it takes. */
const burst = 2 ** 31 - 1;

/** Bits per second of a Kubernetes quantity (`10M`), or null if it is none. */
export function parseQuantity(text: string): number | null {
  const [, digits = '', suffix = ''] = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(text) ?? [];
  const factor = suffixes[suffix];
  return digits === '' || factor === undefined ? null : Math.floor(Number(digits) * factor);
}

function bandwidthOf(annotations: Readonly<Record<string, string>>): Record<string, number> | null {
  const ingress = parseQuantity(annotations['kubernetes.io/ingress-bandwidth'] ?? '');
  const egress = parseQuantity(annotations['kubernetes.io/egress-bandwidth'] ?? '');
  if (ingress === null && egress === null) return null;
  return {
    ...(ingress !== null && { ingressRate: ingress, ingressBurst: burst }),
    ...(egress !== null && { egressRate: egress, egressBurst: burst }),
  };
}
