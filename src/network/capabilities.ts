import { invalidArgument } from '../base/fault.ts';
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
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
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
/** Bits per second that Kubernetes takes for a bandwidth. */
const [least, most] = [1e3, 1e15];
const bandwidths = { ingress: 'kubernetes.io/ingress-bandwidth', egress: 'kubernetes.io/egress-bandwidth' } as const;

/** The number of a Kubernetes quantity (`10M`, `1e6`, `.5Gi`), or null if it is none. */
export function parseQuantity(text: string): number | null {
  const [, digits = '', exponent, suffix = ''] =
    /^\+?(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d{1,3})|([A-Za-z]*))$/.exec(text) ?? [];
  const factor = exponent === undefined ? suffixes[suffix] : 10 ** Number(exponent);
  return digits === '' || factor === undefined ? null : Number(digits) * factor;
}

/**
 * What a pod's annotations say of its bandwidth, bits per second; absent: nothing.
 * @throws Fault InvalidArgument for what is no quantity, or none that makes sense: it would be no limit at all.
 */
export function bandwidthsOf(annotations: Readonly<Record<string, string>>): { ingress?: number; egress?: number } {
  const found = Object.entries(bandwidths).flatMap(([direction, key]) => {
    const text = annotations[key];
    if (text === undefined) return [];
    const rate = parseQuantity(text);
    if (rate !== null && rate >= least && rate <= most) return [[direction, Math.floor(rate)]];
    throw invalidArgument(
      `Annotation ${key} = ${JSON.stringify(text.slice(0, 100))} is no bandwidth from 1k to 1P bits per second`,
    );
  });
  return Object.fromEntries(found);
}

function bandwidthOf(annotations: Readonly<Record<string, string>>): Record<string, number> | null {
  const { ingress, egress } = bandwidthsOf(annotations);
  if (ingress === undefined && egress === undefined) return null;
  return {
    ...(ingress !== undefined && { ingressRate: ingress, ingressBurst: burst }),
    ...(egress !== undefined && { egressRate: egress, egressBurst: burst }),
  };
}
