import { hostname } from 'node:os';
import type * as cri from '../api/runtime/v1/cri.ts';
import { invalidArgument } from '../base/fault.ts';
import type { PodConfig, PodSecurity, PortMapping } from '../model/config.ts';
import { choice, line, name, optionalPath, path, required, requiredName, stringMap } from './check.ts';
import { commonSecurity, resources, securityProfile } from './decode-common.ts';

const protocols = { 0: 'tcp', 1: 'udp', 2: 'sctp' } as const;
const maxPort = 65535;
/** Kernel: HOST_NAME_MAX. */
const maxHostname = 64;

/** The pod that a client asks for. @throws Fault InvalidArgument naming the field. */
export function decodePodConfig(config: cri.PodSandboxConfig | undefined): PodConfig {
  const given = required('config', config);
  const { name: podName, uid, namespace, attempt } = required('config.metadata', given.metadata);
  const { linux } = given;
  const security = podSecurity(linux?.securityContext);
  return {
    metadata: {
      name: requiredName('config.metadata.name', podName),
      uid: name('config.metadata.uid', uid),
      namespace: name('config.metadata.namespace', namespace),
      attempt,
    },
    hostname: podHostname(given.hostname, security),
    logDirectory: optionalPath('config.log_directory', given.logDirectory),
    dns: given.dnsConfig ? dns(given.dnsConfig) : null,
    portMappings: given.portMappings.map(portMapping),
    labels: stringMap('config.labels', given.labels),
    annotations: stringMap('config.annotations', given.annotations),
    cgroupParent: cgroupParent(linux?.cgroupParent ?? ''),
    security,
    sysctls: sysctls(linux?.sysctls ?? {}),
    overhead: linux?.overhead ? resources('config.linux.overhead', linux.overhead) : null,
    resources: linux?.resources ? resources('config.linux.resources', linux.resources) : null,
  };
}

/** With the host's network a pod has the host's UTS namespace too, where nothing is to be renamed. */
function podHostname(value: string, { namespaces }: PodSecurity): string {
  line('config.hostname', name('config.hostname', value), maxHostname);
  if (namespaces.network !== 'node' || value === '' || value === hostname()) return value;
  throw invalidArgument(
    `config.hostname = ${JSON.stringify(value)}: a pod on the host's network is called ${hostname()} as the host is; leave it empty`,
  );
}

function dns({ servers, searches, options }: cri.DNSConfig): PodConfig['dns'] {
  const lines = (key: string, values: readonly string[]) =>
    values.map((value) => line(`config.dns_config.${key}`, value));
  return {
    servers: lines('servers', servers),
    searches: lines('searches', searches),
    options: lines('options', options),
  };
}

function portMapping(mapping: cri.PortMapping): PortMapping {
  const field = 'config.port_mappings';
  for (const [key, port] of Object.entries({ container_port: mapping.containerPort, host_port: mapping.hostPort })) {
    if (port < 0 || port > maxPort) throw invalidArgument(`${field}.${key} = ${port} is not between 0 and ${maxPort}`);
  }
  return {
    protocol: choice(`${field}.protocol`, protocols, mapping.protocol),
    containerPort: mapping.containerPort,
    hostPort: mapping.hostPort,
    hostIp: line(`${field}.host_ip`, mapping.hostIp),
  };
}

/** An absolute path (cgroupfs) or a slice name (systemd). */
function cgroupParent(value: string): string {
  path('config.linux.cgroup_parent', value);
  if (value.split('/').includes('..')) throw invalidArgument(`config.linux.cgroup_parent = "${value}" contains ".."`);
  return value;
}

/** Names as `net.ipv4.ip_forward` or with slashes; never a way out of /proc/sys. */
function sysctls(given: Readonly<Record<string, string>>): Record<string, string> {
  for (const [key, value] of Object.entries(given)) {
    if (!/^[A-Za-z0-9_][\w./*-]*$/.test(key) || key.split(/[./]/).includes('')) {
      throw invalidArgument(`config.linux.sysctls: ${JSON.stringify(key)} is not the name of a sysctl`);
    }
    line(`config.linux.sysctls[${key}]`, value);
  }
  return { ...given };
}

function podSecurity(context: cri.LinuxSandboxSecurityContext | undefined): PodSecurity {
  const field = 'config.linux.security_context';
  return {
    ...commonSecurity(field, context),
    apparmor: securityProfile(`${field}.apparmor`, context?.apparmor, ''),
  };
}
