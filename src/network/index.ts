import { existsSync } from 'node:fs';
import type { RunCommand } from '../base/command.ts';
import { Fault, messageOf } from '../base/fault.ts';
import { runAll } from '../base/run-all.ts';
import type { Settings } from '../base/settings.ts';
import type { PodConfig } from '../model/config.ts';
import type { PodId } from '../model/ids.ts';
import type { PodNetwork } from '../model/pod.ts';
import { runHere } from '../sys/spawn.ts';
import { capabilityArgs, runtimeConfig } from './capabilities.ts';
import { ConflistDirectory, type NetworkList, parseNetworkList } from './conflist.ts';
import { type CniCommand, callPlugin } from './plugin.ts';
import { type CachedAttachment, ResultCache } from './result-cache.ts';
import { parsePodCidrs, writeFromTemplate } from './template.ts';

/** What a pod brings to its networks. */
export type Attachment = {
  readonly podId: PodId;
  readonly config: PodConfig;
  /** The pinned network namespace. */
  readonly netns: string;
  readonly cgroupPath: string;
  /** Where this pod's conflists are; empty: where everybody's are. */
  readonly confDir?: string;
};

/** Pod networks by CNI plugins; loopback is the pause process' own work and needs none. */
export class Network {
  readonly #cni: Settings['cni'];
  readonly #deadlineMs: number;
  readonly #conflists: ConflistDirectory;
  readonly #cache: ResultCache;

  constructor(cni: Settings['cni'], deadlineMs: number) {
    this.#cni = cni;
    this.#deadlineMs = deadlineMs;
    this.#conflists = new ConflistDirectory(cni.confDir);
    this.#cache = new ResultCache(cni.cacheDir);
  }

  /** Null when pods can be attached; else why not, in words for the node's condition. */
  async problem(): Promise<string | null> {
    const { lists, problems } = await this.#conflists.look();
    const [first] = lists;
    if (!first) return problems.join('; ');
    if (!atLeast(first.cniVersion, 1, 1)) return null; // STATUS came with CNI 1.1
    try {
      await this.#callAll(runHere, 'STATUS', first, null, null);
      return null;
    } catch (error) {
      return messageOf(error);
    }
  }

  /** Takes kubelet's pod CIDRs into the configured template; without one they are somebody else's business. */
  async setPodCidrs(text: string): Promise<void> {
    if (text === '') return;
    const cidrs = parsePodCidrs(text);
    if (this.#cni.confTemplate !== '') await writeFromTemplate(this.#cni.confTemplate, this.#cni.confDir, cidrs);
  }

  /** The names of the networks that a new pod joins. */
  async names(): Promise<string[]> {
    const { lists } = await this.#conflists.look();
    return lists.slice(0, this.#cni.maxNetworks).map((list) => list.name);
  }

  /**
   * ADD on every configured network: eth0, eth1, ... The attempt is on record before the first plugin runs, so that
   * `down` undoes it also after a crash. @throws Fault; the caller then owes `down`.
   */
  async up(run: RunCommand, attachment: Attachment): Promise<PodNetwork> {
    const own = attachment.confDir ? new ConflistDirectory(attachment.confDir) : this.#conflists;
    const { lists, problems } = await own.look();
    if (lists.length === 0) {
      throw new Fault('FailedPrecondition', `The pod network is not ready: ${problems.join('; ')}`);
    }
    const results: unknown[] = [];
    for (const [index, list] of lists.slice(0, this.#cni.maxNetworks).entries()) {
      const entry = cacheEntry(attachment, list, `eth${index}`);
      await this.#cache.put(entry);
      const result = await this.#callAll(run, 'ADD', list, entry, null);
      await this.#cache.put({ ...entry, result });
      results.push(result);
    }
    const ips = results.flatMap(ipsOf);
    if (ips.length === 0) throw new Fault('Internal', `CNI network ${lists[0]?.name} gave the pod no IP address`);
    return { ips, result: results[0] };
  }

  /** DEL for every attempt on record, also when the namespace is gone; what succeeded is forgotten. */
  async down(run: RunCommand, podId: PodId): Promise<void> {
    const entries = (await this.#cache.of(podId)).reverse();
    await runAll(
      'take down the pod network',
      entries.map((entry) => [entry.networkName, () => this.#delete(run, entry)]),
    );
  }

  /** CNI GC with the attachments that are alive; plugins before CNI 1.1 are left alone. */
  async collectGarbage(live: readonly PodId[]): Promise<void> {
    const { lists } = await this.#conflists.look();
    const attachments = live.map((containerID) => ({ containerID, ifname: 'eth0' }));
    for (const list of lists.slice(0, this.#cni.maxNetworks)) {
      if (!atLeast(list.cniVersion, 1, 1)) continue;
      await this.#callAll(runHere, 'GC', list, null, null, { 'cni.dev/valid-attachments': attachments });
    }
  }

  async #delete(run: RunCommand, entry: CachedAttachment): Promise<void> {
    const list = parseNetworkList(Buffer.from(entry.config, 'base64').toString());
    // CNI spec, section 2: DEL with an empty namespace still frees addresses and host rules.
    const netns = existsSync(entry.netns) ? entry.netns : '';
    await this.#callAll(run, 'DEL', list, { ...entry, netns }, entry.result ?? null);
    await this.#cache.forget(entry);
  }

  /** Calls the list's plugins, in reverse for DEL; ADD hands each result to the next (CNI spec, section 3). */
  async #callAll(
    run: RunCommand,
    command: CniCommand,
    list: NetworkList,
    entry: CachedAttachment | null,
    known: unknown,
    extra: object = {},
  ): Promise<unknown> {
    const call = {
      command,
      containerId: entry?.containerId ?? '',
      netns: entry?.netns ?? '',
      ifName: entry?.ifName ?? '',
      args: entry?.cniArgs ?? [],
    };
    let result = known;
    for (const plugin of command === 'DEL' ? list.plugins.toReversed() : list.plugins) {
      const dynamic = runtimeConfig(plugin, entry?.capabilityArgs ?? {});
      const stdin = {
        ...plugin,
        ...extra,
        name: list.name,
        cniVersion: list.cniVersion,
        ...(dynamic && { runtimeConfig: dynamic }),
        ...(result !== null && { prevResult: result }),
      };
      const answer = await callPlugin(run, this.#cni.binDirs, this.#deadlineMs, call, plugin, stdin);
      if (command === 'ADD') result = answer ?? result;
    }
    return result;
  }
}

function cacheEntry(attachment: Attachment, list: NetworkList, ifName: string): CachedAttachment {
  const { namespace, name, uid } = attachment.config.metadata;
  return {
    kind: 'cniCacheV1',
    containerId: attachment.podId,
    config: Buffer.from(list.source).toString('base64'),
    ifName,
    networkName: list.name,
    netns: attachment.netns,
    cniArgs: [
      ['IgnoreUnknown', '1'],
      ['K8S_POD_NAMESPACE', namespace],
      ['K8S_POD_NAME', name],
      ['K8S_POD_INFRA_CONTAINER_ID', attachment.podId],
      ['K8S_POD_UID', uid],
    ],
    capabilityArgs: capabilityArgs(attachment.config, attachment.cgroupPath),
  };
}

/** The addresses of a result without prefix lengths, in the plugin's order. */
function ipsOf(result: unknown): string[] {
  const ips = (result as { ips?: unknown } | null)?.ips;
  if (!Array.isArray(ips)) return [];
  return ips.map((ip) => String(ip?.address ?? '').replace(/\/.*$/, '')).filter((ip) => ip !== '');
}

function atLeast(version: string, major: number, minor: number): boolean {
  const [a = 0, b = 0] = version.split('.').map(Number);
  return a > major || (a === major && b >= minor);
}
