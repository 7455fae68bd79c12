// Records of pods and containers, field by field: what a version of before did not write has its default, and what is no
// such record says so.

import type { PodConfig } from '../model/config.ts';
import type { Container, ContainerState, Exit } from '../model/container.ts';
import type { Handler } from '../model/handler.ts';
import { type ContainerId, type ImageId, isId, type PodId } from '../model/ids.ts';
import type { Pod, PodNetwork, PodState } from '../model/pod.ts';
import { containerConfig, handler, mount, podConfig } from './config-shapes.ts';
import {
  anything,
  type Decode,
  flag,
  list,
  nullable,
  number,
  object,
  oneOf,
  optional,
  requiredText,
  text,
  variant,
} from './shapes.ts';

function id<T extends string>(): Decode<T> {
  const decode = requiredText<T>();
  return (value, at) => {
    const read = decode(value, at);
    if (!isId(read)) throw new Error(`${at} must be an id, and is another text`);
    return read;
  };
}

const network: Decode<PodNetwork> = object({ ips: list(text()), result: anything });

const podState: Decode<PodState> = variant<PodState>('phase', {
  creating: object({ phase: oneOf(['creating']) }),
  ready: object({ phase: oneOf(['ready']), pausePid: number(), network: nullable(network) }),
  notReady: object({ phase: oneOf(['notReady']), released: flag(), reason: text(), network: nullable(network) }),
});

/** What younger fields of a pod's record are where it does not have them. */
export type PodDefaults = {
  /** The handler of a record that says only its name. */
  readonly handler: (name: string) => Handler;
  readonly cgroup: (id: PodId, config: PodConfig) => string;
};

/** @throws Error unless `json` is a pod's record. */
export function decodePod(json: unknown, defaults: PodDefaults): Pod {
  const pod = decodeYoungPod(json, defaults);
  return pod.cgroup === '' ? { ...pod, cgroup: defaults.cgroup(pod.id, pod.config) } : pod;
}

function decodeYoungPod(json: unknown, defaults: PodDefaults): Pod {
  const name = text()((json as { handler?: unknown } | null)?.handler, 'handler');
  return object<Pod>({
    id: id<PodId>(),
    config: podConfig,
    handler: text(),
    resolvedHandler: (value, at) => (value === undefined ? defaults.handler(name) : handler(value, at)),
    cgroup: text(),
    scopePrefix: optional(text()),
    netns: optional(text()),
    createdAt: number(),
    bootId: text(),
    state: podState,
  })(required(json, 'config'), '');
}

const exit: Decode<Exit> = object({
  code: number(255),
  reason: oneOf(['Completed', 'Error', 'OOMKilled', 'StartError', 'ContainerStatusUnknown'], 'ContainerStatusUnknown'),
  message: text(),
  at: number(),
});

const containerState: Decode<ContainerState> = variant<ContainerState>('phase', {
  creating: object({ phase: oneOf(['creating']) }),
  created: object({ phase: oneOf(['created']) }),
  running: object({ phase: oneOf(['running']), pid: number(), startedAt: number() }),
  exited: object({ phase: oneOf(['exited']), startedAt: number(), exit }),
  removing: object({ phase: oneOf(['removing']), startedAt: number(), exit }),
});

/** @throws Error unless `json` is a container's record. `formerly`: the handler where the record does not say it. */
export function decodeContainer(json: unknown, formerly: (podId: PodId) => Handler): Container {
  const podId = id<PodId>()((json as { podId?: unknown } | null)?.podId, 'podId');
  return object<Container>({
    id: id<ContainerId>(),
    podId: () => podId,
    config: containerConfig,
    resolvedHandler: (value, at) => (value === undefined ? formerly(podId) : handler(value, at)),
    imageId: text() as Decode<string> as Decode<ImageId>,
    imageRef: text(),
    imageName: optional(text()),
    user: object({ uid: number(), gid: number(), groups: list(number()) }),
    mounts: list(mount),
    volumeImages: optional(list(text() as Decode<string> as Decode<ImageId>)),
    stopSignal: number(15),
    logPath: text(),
    cgroupsPath: text(),
    createdAt: number(),
    bootId: text(),
    state: containerState,
  })(required(json, 'config'), '');
}

/** What was never left out is not younger than anything: such a record is damaged. */
function required(json: unknown, key: string): unknown {
  if (typeof json !== 'object' || json === null || !Object.hasOwn(json, key)) throw new Error(`it has no ${key}`);
  return json;
}
