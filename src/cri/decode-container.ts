import { isUtf8 } from 'node:buffer';
import type * as cri from '../api/runtime/v1/cri.ts';
import { invalidArgument } from '../base/fault.ts';
import {
  type ContainerConfig,
  type ContainerSecurity,
  type Device,
  type Mount,
  mountOptions,
  type Variable,
} from '../model/config.ts';
import { signalFromCri } from '../model/signals.ts';
import { choice, line, optionalPath, path, required, requiredName, stringMap, text } from './check.ts';
import { commonSecurity, idMappings, resources, securityProfile, texts } from './decode-common.ts';

const propagations = { 0: 'private', 1: 'hostToContainer', 2: 'bidirectional' } as const;

/** The container that a client asks for. @throws Fault InvalidArgument naming the field. */
export function decodeContainerConfig(config: cri.ContainerConfig | undefined): ContainerConfig {
  const given = required('config', config);
  const metadata = required('config.metadata', given.metadata);
  const image = required('config.image', given.image);
  if (image.image === '') throw invalidArgument('config.image.image is empty');
  return {
    metadata: { name: requiredName('config.metadata.name', metadata.name), attempt: metadata.attempt },
    image: {
      image: line('config.image.image', image.image),
      annotations: stringMap('config.image.annotations', image.annotations),
      userSpecifiedImage: line('config.image.user_specified_image', image.userSpecifiedImage),
      runtimeHandler: line('config.image.runtime_handler', image.runtimeHandler),
    },
    command: texts('config.command', given.command),
    args: texts('config.args', given.args),
    workingDir: path('config.working_dir', given.workingDir),
    envs: given.envs.map(environment),
    mounts: given.mounts.map(mount),
    devices: given.devices.map(device),
    cdiDevices: given.CDIDevices.map((cdi) => line('config.CDI_devices.name', cdi.name)),
    labels: stringMap('config.labels', given.labels),
    annotations: stringMap('config.annotations', given.annotations),
    logPath: logPath(given.logPath),
    stdin: given.stdin,
    stdinOnce: given.stdinOnce,
    tty: given.tty,
    resources: resources('config.linux.resources', given.linux?.resources),
    security: containerSecurity(given.linux?.securityContext),
    stopSignal: signalFromCri(given.stopSignal),
  };
}

/** A variable is of at most 128 KiB; the OCI layer measures it as the kernel does. */
const maxVariable = 128 * 1024;

function environment({ key, value }: cri.KeyValue): Variable {
  if (key === '' || key.includes('=')) throw invalidArgument(`config.envs.key = ${JSON.stringify(key)} is not a name`);
  line('config.envs.key', key);
  const field = `config.envs[${key}]`;
  if (isUtf8(value)) return { key, value: text(field, value.toString('utf8'), maxVariable) };
  return { key, value: text(field, value.toString('latin1'), 2 * maxVariable), encoding: 'latin1' };
}

function mount(given: cri.Mount): Mount {
  const field = 'config.mounts';
  const containerPath = path(`${field}.container_path`, given.containerPath);
  if (containerPath === '') throw invalidArgument(`${field}.container_path is empty`);
  const image = line(`${field}.image`, given.image?.image ?? '');
  const hostPath = optionalPath(`${field}.host_path`, given.hostPath);
  if (image !== '' && hostPath !== '') throw invalidArgument(`${field}: host_path and image exclude each other`);
  if (image === '' && hostPath === '')
    throw invalidArgument(`${field}: ${containerPath} has neither host_path nor image`);
  const propagation = choice(`${field}.propagation`, propagations, given.propagation);
  if (given.recursiveReadOnly && !given.readonly) {
    throw invalidArgument(`${field}: ${containerPath}: recursive_read_only needs readonly`);
  }
  if (given.recursiveReadOnly && propagation !== 'private') {
    throw invalidArgument(`${field}: ${containerPath}: recursive_read_only needs propagation PRIVATE`);
  }
  return {
    containerPath,
    hostPath,
    readonly: given.readonly,
    recursiveReadOnly: given.recursiveReadOnly,
    selinuxRelabel: given.selinuxRelabel,
    propagation,
    uidMappings: idMappings(`${field}.uidMappings`, given.uidMappings),
    gidMappings: idMappings(`${field}.gidMappings`, given.gidMappings),
    image,
    userSpecifiedImage: line(`${field}.image.user_specified_image`, given.image?.userSpecifiedImage ?? ''),
    imageSubPath: path(`${field}.image_sub_path`, given.imageSubPath),
    mountOptions: [...new Set(given.mountOptions)].map(mountOption),
  };
}

/** Those that the interface names: any other might undo what Berth makes sure of. */
function mountOption(value: string): (typeof mountOptions)[number] {
  const known = mountOptions.find((option) => option === value);
  if (known) return known;
  const shown = JSON.stringify(value.slice(0, 200));
  throw invalidArgument(`config.mounts.mount_options: ${shown} is not one of ${mountOptions.join(', ')}`);
}

function device(given: cri.Device): Device {
  const field = 'config.devices';
  if (!/^[rwm]{0,3}$/.test(given.permissions)) {
    throw invalidArgument(`${field}.permissions = ${JSON.stringify(given.permissions)} must be of r, w and m`);
  }
  if (given.hostPath === '') throw invalidArgument(`${field}.host_path is empty`);
  return {
    containerPath: optionalPath(`${field}.container_path`, given.containerPath),
    hostPath: optionalPath(`${field}.host_path`, given.hostPath),
    permissions: given.permissions === '' ? 'rwm' : given.permissions,
  };
}

/** Relative to the pod's log directory, and below it. */
function logPath(value: string): string {
  path('config.log_path', value);
  if (value !== '' && value.split('/').some((name) => name === '' || name === '.' || name === '..')) {
    const shown = JSON.stringify(value.slice(0, 200));
    throw invalidArgument(`config.log_path = ${shown} must be relative, without "." and ".." and empty names`);
  }
  return value;
}

function containerSecurity(context: cri.LinuxContainerSecurityContext | undefined): ContainerSecurity {
  const field = 'config.linux.security_context';
  const { addCapabilities = [], dropCapabilities = [], addAmbientCapabilities = [] } = context?.capabilities ?? {};
  const paths = (key: string, values: readonly string[] | undefined) =>
    (values ?? []).map((value) => optionalPath(`${field}.${key}`, value)).filter((value) => value !== '');
  return {
    ...commonSecurity(field, context),
    capabilities: {
      add: texts(`${field}.capabilities.add_capabilities`, addCapabilities),
      drop: texts(`${field}.capabilities.drop_capabilities`, dropCapabilities),
      addAmbient: texts(`${field}.capabilities.add_ambient_capabilities`, addAmbientCapabilities),
    },
    runAsUsername: line(`${field}.run_as_username`, context?.runAsUsername ?? ''),
    noNewPrivs: context?.noNewPrivs ?? false,
    maskedPaths: paths('masked_paths', context?.maskedPaths),
    readonlyPaths: paths('readonly_paths', context?.readonlyPaths),
    apparmor: securityProfile(`${field}.apparmor`, context?.apparmor, context?.apparmorProfile ?? ''),
  };
}
