import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type * as cri from '../../src/api/runtime/v1/cri.ts';
import { ContainerState, NamespaceMode } from '../../src/api/runtime/v1/cri.ts';
import type { Rpc } from '../../src/commands/rpc.ts';
import { slowness, type TestDaemon } from './daemon.ts';

type RunRequest = Parameters<Rpc<cri.RuntimeServiceClient>['runPodSandbox']>[0];
type CreateRequest = Parameters<Rpc<cri.RuntimeServiceClient>['createContainer']>[0];
export type PodConfig = NonNullable<RunRequest['config']>;
export type ContainerConfig = NonNullable<CreateRequest['config']>;

/** Asks until the answer is there; CRI's stop events are another test's subject. Fails after `ms`. */
export async function until<T>(what: string, ask: () => Promise<T | undefined | false>, ms = 30_000): Promise<T> {
  const end = performance.now() + ms * slowness;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    assert.ok(performance.now() < end, `${what} did not happen within ${ms * slowness} ms`);
    await delay(10);
  }
}

const isOnHostNetwork = ({ linux }: PodConfig): boolean => linux?.securityContext?.namespaceOptions?.network === 2;

/** A pod of the test with a log directory of its own; as kubelet, it names only those with a network of their own. */
export const podConfig = (daemon: TestDaemon, name: string, more: PodConfig = {}): PodConfig => ({
  metadata: { name, uid: `uid-${name}`, namespace: 'test', attempt: 0 },
  hostname: isOnHostNetwork(more) ? '' : name,
  logDirectory: join(daemon.logDir, name),
  ...more,
});

export const hostNetwork = {
  linux: { securityContext: { namespaceOptions: { network: 2 } } },
} as const satisfies PodConfig;

/** 65,536 ids of a user namespace, from this one of the host on. */
export const idsFrom = (hostId: number) => [{ containerId: 0, hostId, length: 65_536 }];

type NamespaceOptions = NonNullable<
  NonNullable<NonNullable<PodConfig['linux']>['securityContext']>['namespaceOptions']
>;

/** A pod with a user namespace, or a container of it. Unless `options` say otherwise, containers have their own processes. */
export const inUserNamespace = (ids = idsFrom(300_000), options: NamespaceOptions = {}) => ({
  linux: {
    securityContext: {
      namespaceOptions: {
        pid: NamespaceMode.CONTAINER,
        ...options,
        usernsOptions: { mode: NamespaceMode.POD, uids: ids, gids: ids },
      },
    },
  },
});

/** One pod and what a client does with it. */
export class TestPod {
  readonly daemon: TestDaemon;
  readonly config: PodConfig;
  id = '';

  constructor(daemon: TestDaemon, config: PodConfig) {
    this.daemon = daemon;
    this.config = config;
  }

  static async run(daemon: TestDaemon, name: string, more: PodConfig = {}, runtimeHandler = ''): Promise<TestPod> {
    const pod = new TestPod(daemon, podConfig(daemon, name, more));
    pod.id = (await daemon.runtime.runPodSandbox({ config: pod.config, runtimeHandler })).podSandboxId;
    return pod;
  }

  async create(name: string, image: string, more: ContainerConfig = {}): Promise<string> {
    const config: ContainerConfig = {
      metadata: { name, attempt: 0 },
      image: { image },
      logPath: `${name}.log`,
      ...more,
    };
    const request = { podSandboxId: this.id, config, sandboxConfig: this.config };
    return (await this.daemon.runtime.createContainer(request)).containerId;
  }

  async start(name: string, image: string, more: ContainerConfig = {}): Promise<string> {
    const containerId = await this.create(name, image, more);
    await this.daemon.runtime.startContainer({ containerId });
    return containerId;
  }

  /** Runs `script` with sh in the image. */
  sh(name: string, image: string, script: string, more: ContainerConfig = {}): Promise<string> {
    return this.start(name, image, { command: ['/bin/sh', '-c', script], ...more });
  }

  /** As `sh`, and waits for the first line that the script says: its traps are set by then. */
  async talking(name: string, image: string, script: string, more: ContainerConfig = {}): Promise<string> {
    const containerId = await this.sh(name, image, script, more);
    await until(`the first line of ${name}`, async () => this.log(name).length > 0);
    return containerId;
  }

  async status(): Promise<cri.PodSandboxStatus> {
    const { status } = await this.daemon.runtime.podSandboxStatus({ podSandboxId: this.id });
    return status!;
  }

  async ip(): Promise<string> {
    return (await this.status()).network?.ip ?? '';
  }

  /** The texts of a container's log, its lines joined from partial ones, by stream. */
  log(name: string): { stream: string; text: string }[] {
    return parseLog(readFileSync(join(this.config.logDirectory!, `${name}.log`), 'utf8'));
  }

  async remove(): Promise<void> {
    await this.daemon.runtime.removePodSandbox({ podSandboxId: this.id });
  }
}

const logLine = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([PF]) (.*)$/s;

/**
 * Every line must be of the CRI form; partial lines are joined to the full one that follows in their stream, and to one
 * of their own where none does: a text that no newline ended.
 */
export function parseLog(text: string): { stream: string; text: string }[] {
  const open = new Map<string, string>();
  const whole: { stream: string; text: string }[] = [];
  for (const line of text.split('\n').slice(0, -1)) {
    const [, stream = '', tag, part = ''] = logLine.exec(line) ?? [];
    assert.ok(stream, `not a CRI log line: ${line.slice(0, 200)}`);
    const joined = (open.get(stream) ?? '') + part;
    if (tag === 'F') whole.push({ stream, text: joined });
    if (tag === 'F') open.delete(stream);
    else open.set(stream, joined);
  }
  return [...whole, ...[...open].map(([stream, unended]) => ({ stream, text: unended }))];
}

/** The status once the container has ended. */
export function untilExited(daemon: TestDaemon, containerId: string): Promise<cri.ContainerStatus> {
  return until(`the end of container ${containerId}`, async () => {
    const { status } = await daemon.runtime.containerStatus({ containerId });
    return status?.state === ContainerState.CONTAINER_EXITED && status;
  });
}

/** Fails unless the call is refused with this gRPC code and a message that matches. */
export async function refused(call: Promise<unknown>, code: number, message: RegExp = /./): Promise<void> {
  await assert.rejects(call, (error: { code?: number; details?: string }) => {
    assert.equal(error.code, code, `code of: ${error.details}`);
    assert.match(error.details ?? '', message);
    return true;
  });
}
