// What every bench does with a contestant: pods with one container that sleeps.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { NamespaceMode } from '../../src/api/runtime/v1/cri.ts';
import type { Registry } from '../../test/images/index.ts';
import type { Contestant } from './contestant.ts';

export type Options = { readonly hostNetwork: boolean; readonly handler: string };
export type PodUp = {
  readonly podSandboxId: string;
  readonly containerId: string;
  /** Milliseconds of RunPodSandbox, of CreateContainer and StartContainer, and of the three. */
  readonly run: number;
  readonly container: number;
  readonly up: number;
};

const sleeper = ['/bin/sleep', '10000'];
const logs = join('/tmp', `berth-bench-${process.pid}`);
let serial = 0;

export const removeLogs = (): void => rmSync(logs, { recursive: true, force: true });

export const busybox = (registry: Registry): string => `${registry.address}/e2e-test-images/busybox:1.29-2`;

/** A pod's configuration under a name of its own, and its log directory. */
export function podConfig({ hostNetwork }: Options) {
  const { NODE, POD, CONTAINER } = NamespaceMode;
  const name = `bench-${serial++}`;
  const logDirectory = join(logs, name);
  mkdirSync(logDirectory, { recursive: true });
  const securityContext = { namespaceOptions: { network: hostNetwork ? NODE : POD, pid: CONTAINER } };
  return {
    metadata: { name, uid: name, namespace: 'bench', attempt: 0 },
    hostname: hostNetwork ? '' : 'bench', // the peer refuses one without a namespace for it
    logDirectory,
    linux: { securityContext },
  };
}

/** The result of a piece of work, and how long it took. */
export async function clock<T>(work: () => Promise<T>): Promise<[ms: number, result: T]> {
  const begin = performance.now();
  const result = await work();
  return [performance.now() - begin, result];
}

/** Creates and starts a container; its id. */
export async function containerIn(
  who: Contestant,
  image: string,
  pod: { readonly podSandboxId: string; readonly config: ReturnType<typeof podConfig> },
  command: string[] = sleeper,
): Promise<string> {
  const { podSandboxId, config: sandboxConfig } = pod;
  const config = {
    metadata: { name: 'c', attempt: 0 },
    image: { image },
    command,
    logPath: 'c.log',
    linux: { securityContext: { namespaceOptions: sandboxConfig.linux.securityContext.namespaceOptions } },
  };
  const { containerId } = await who.runtime.createContainer({ podSandboxId, config, sandboxConfig });
  await who.runtime.startContainer({ containerId });
  return containerId;
}

/** A pod with a container that sleeps, and what its steps took. */
export async function podUp(who: Contestant, image: string, options: Options): Promise<PodUp> {
  const config = podConfig(options);
  const [run, { podSandboxId }] = await clock(() =>
    who.runtime.runPodSandbox({ config, runtimeHandler: options.handler }),
  );
  const [container, containerId] = await clock(() => containerIn(who, image, { podSandboxId, config }));
  return { run, container, up: run + container, podSandboxId, containerId };
}

/** Stops and removes the container, then the pod. */
export async function podDown(
  who: Contestant,
  { podSandboxId, containerId }: Pick<PodUp, 'podSandboxId' | 'containerId'>,
): Promise<void> {
  await who.runtime.stopContainer({ containerId, timeout: 0n });
  await who.runtime.removeContainer({ containerId });
  await who.runtime.stopPodSandbox({ podSandboxId });
  await who.runtime.removePodSandbox({ podSandboxId });
}

/** `count` pieces of work, never more than eight in flight. */
export async function eightAtOnce(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}
