import { isIP } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { RunCommand } from '../base/command.ts';
import { Fault, messageOf } from '../base/fault.ts';
import type { HostFiles, OpenHostFiles } from '../base/host-files.ts';
import { runAll } from '../base/run-all.ts';
import type { Settings } from '../base/settings.ts';
import type { PodConfig } from '../model/config.ts';
import type { PodId } from '../model/ids.ts';
import type { PodNetwork } from '../model/pod.ts';
import { ownFiles } from '../sys/own-files.ts';
import { runHere } from '../sys/spawn.ts';
import { capabilityArgs } from './capabilities.ts';
import { Chain } from './chain.ts';
import type { NetworkList } from './conflist.ts';
import { ConflistDirectory, type FoundNetworks } from './conflist-directory.ts';
import { KeptNetns } from './kept-netns.ts';
import { MissingPlugin } from './plugin.ts';
import { Readiness } from './readiness.ts';
import { type CachedAttachment, ResultCache } from './result-cache.ts';
import { parsePodCidrs, templateFile, writeFromTemplate } from './template.ts';
import { Undo } from './undo.ts';

export { bandwidthsOf } from './capabilities.ts';

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

/** New pods wait for garbage collection: a plugin that hangs in it must not hold them up for long. */
const gcMs = 10_000;
/** How long who asks for the node's condition waits for the configuration to be read. */
const lookMs = 1000;

/**
 * By whom files are read. `files`: configurations, all the time; `programs`: where plugins are, apart from those, so that what
 * hangs there keeps no pod from being taken down; `hostFiles`: what is a pod's own.
 */
type Readers = { readonly files: HostFiles; readonly programs?: HostFiles; readonly hostFiles: OpenHostFiles };

/** Pod networks by CNI plugins; loopback is the pause process' own work and needs none. */
export class Network {
  readonly #cni: Settings['cni'];
  readonly #chain: Chain;
  readonly #conflists: ConflistDirectory;
  readonly #cache: ResultCache;
  #collecting: Promise<void> | null = null;
  readonly #undo: Undo;
  readonly #readiness = new Readiness();
  readonly #hostFiles: OpenHostFiles;
  #looks = 0;
  /** What the newest look found, which stands while who asks for the node's condition would wait: a host under load is ready all the same. */
  #last: { readonly look: number; readonly found: readonly NetworkList[] | string | null } = { look: 0, found: null };

  /** `keptNetns`: a folder below run_dir. */
  constructor(
    { cni, dataDir, timeouts }: Pick<Settings, 'cni' | 'dataDir' | 'timeouts'>,
    keptNetns: string,
    { files, programs = files, hostFiles }: Readers = { files: ownFiles(), hostFiles: ownFiles },
  ) {
    this.#cni = cni;
    this.#hostFiles = hostFiles;
    this.#chain = new Chain({ binDirs: cni.binDirs, files: programs }, timeouts.cniPlugin * 1000);
    this.#conflists = new ConflistDirectory(cni.confDir, files);
    this.#cache = new ResultCache(cni.cacheDir, dataDir);
    this.#undo = new Undo(this.#chain, this.#cache, this.#conflists, new KeptNetns(keptNetns));
  }

  /** Null when pods can be attached; else why not, in words for the node's condition. */
  async problem(): Promise<string | null> {
    this.#undo.retry();
    const last = this.#last.found;
    const found = await Promise.race([this.#look(), delay(lookMs, last, { ref: false })]);
    if (found === null) return `${this.#cni.confDir} has not answered for ${lookMs / 1000} s`;
    if (typeof found === 'string') return found;
    const asked = found.filter(({ cniVersion }) => atLeast(cniVersion, 1, 1)); // STATUS came with CNI 1.1
    return this.#readiness.of(JSON.stringify(asked), async () => {
      for (const list of asked) await this.#chain.callEach(runHere, { command: 'STATUS', list });
    });
  }

  /** The networks of a new pod, or why it could not join them: within the time that a path has to answer. */
  async #look(): Promise<readonly NetworkList[] | string> {
    const look = ++this.#looks;
    const found = await this.#lookNow();
    if (look > this.#last.look) this.#last = { look, found };
    return found;
  }

  async #lookNow(): Promise<readonly NetworkList[] | string> {
    try {
      const { lists, problems } = await this.#conflists.look();
      const used = this.#used(lists);
      const problem = lists.length === 0 ? problems.join('; ') : (await this.#chain.missing(used))?.message;
      return problem ?? used;
    } catch (error) {
      return messageOf(error);
    }
  }

  /**
   * Takes kubelet's pod CIDRs into the configured template; without one, or where a network is described by another file, they
   * are somebody else's business.
   */
  async setPodCidrs(text: string): Promise<void> {
    if (text === '') return;
    const cidrs = parsePodCidrs(text);
    if (this.#cni.confTemplate === '') return;
    using files = this.#hostFiles();
    const { lists } = await new ConflistDirectory(this.#cni.confDir, files).look(templateFile);
    if (lists.length > 0) return;
    await writeFromTemplate(this.#cni.confTemplate, this.#cni.confDir, cidrs, files);
  }

  /** The names of the networks that a new pod joins. */
  async names(): Promise<string[]> {
    return this.#used((await this.#conflists.look()).lists).map((list) => list.name);
  }

  /** Those networks, and what is wrong with configurations that were passed over. */
  async found(): Promise<FoundNetworks> {
    const { lists, problems } = await this.#conflists.look();
    return { lists: this.#used(lists), problems };
  }

  #used(lists: readonly NetworkList[]): readonly NetworkList[] {
    return lists.slice(0, this.#cni.maxNetworks);
  }

  /**
   * ADD on every configured network: eth0, eth1, ... The attempt is on record before the first plugin runs, so that
   * `down` undoes it also after a crash. Nothing is attempted while a plugin is not installed.
   * @throws Fault; the caller then owes `down`.
   */
  async up(run: RunCommand, attachment: Attachment): Promise<PodNetwork> {
    await this.#collecting?.catch(() => {}); // it is told where it was asked for
    this.#undo.retry();
    const { lists, problems } = await this.#listsFor(attachment);
    const used = this.#used(lists);
    const problem = lists.length === 0 ? problems.join('; ') : (await this.#chain.missing(used))?.message;
    if (problem !== undefined) throw new Fault('FailedPrecondition', `The pod network is not ready: ${problem}`);
    const results: unknown[] = [];
    for (const [index, list] of used.entries()) {
      const entry = cacheEntry(attachment, list, `eth${index}`);
      await this.#cache.put(entry);
      const result = await this.#add(run, list, entry);
      await this.#cache.put({ ...entry, result });
      results.push(result);
    }
    return { ips: addressesOf(results, used[0]!.name), result: results[0] };
  }

  async #listsFor({ confDir }: Attachment): Promise<FoundNetworks> {
    if (!confDir) return this.#conflists.look();
    using files = this.#hostFiles();
    return await new ConflistDirectory(confDir, files).look();
  }

  /**
   * DEL for every attempt on record, also when the namespace is gone; what succeeded is forgotten. An attachment whose
   * plugin is not installed is kept for later and counts as taken down. @throws AggregateError of Faults
   */
  async down(run: RunCommand, podId: PodId): Promise<void> {
    const entries = (await this.#cache.of(podId)).reverse();
    await runAll(
      'take down the pod network',
      entries.map((entry) => [entry.networkName, () => this.#undo.undo(run, entry)]),
    );
  }

  /** After a start: takes up what an earlier daemon had to keep; `living` are the pods that have a network. */
  async settle(living: readonly PodId[]): Promise<void> {
    await this.#undo.adopt(new Set(living));
    this.#undo.retry();
  }

  /**
   * CNI GC with the attachments that are alive; plugins before CNI 1.1 are left alone, and networks that others share
   * (disableGC). New attachments wait: a plugin would take them for garbage. `live`: pods on record, those in the making
   * included.
   */
  async collectGarbage(live: () => readonly PodId[]): Promise<void> {
    this.#collecting = this.#collect(live);
    try {
      await this.#collecting;
    } finally {
      this.#collecting = null;
    }
  }

  async #collect(live: () => readonly PodId[]): Promise<void> {
    const used = this.#used((await this.#conflists.look()).lists);
    // Each network gets all names: which one a pod has there depends on how many there were when it came.
    const attachments = live().flatMap((containerID) => used.map((_, i) => ({ containerID, ifname: `eth${i}` })));
    const extra = { 'cni.dev/valid-attachments': attachments };
    for (const list of used) {
      if (list.disableGC || !atLeast(list.cniVersion, 1, 1)) continue;
      await this.#chain.callEach(runHere, { command: 'GC', list, extra, deadlineMs: gcMs });
    }
  }

  /** Each plugin's result goes to the next (CNI spec, section 3). */
  async #add(run: RunCommand, list: NetworkList, entry: CachedAttachment): Promise<unknown> {
    let result: unknown = null;
    for (const [index, plugin] of list.plugins.entries()) {
      try {
        result = (await this.#chain.call(run, { command: 'ADD', list, entry }, plugin, result)) ?? result;
      } catch (error) {
        await this.#reached(entry, error instanceof MissingPlugin ? index : index + 1);
        throw error;
      }
    }
    return result;
  }

  /** Plugins that were never called owe nothing if they are not there at DEL. */
  async #reached(entry: CachedAttachment, called: number): Promise<void> {
    await this.#cache.put(entry, called).catch(() => {}); // the ADD's error is what is told
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

/** More than any pod has: each is in every status of it. */
const mostAddresses = 256;

/**
 * The addresses of results without prefix lengths, in the plugins' order. Where a result has some at the pod's own interface, others
 * (of a second card that the plugin brings along) are not the pod's: Kubernetes knows one of each family.
 * @throws Fault Internal for what is none.
 */
function addressesOf(results: readonly unknown[], network: string): string[] {
  const ips = results.flatMap((result, index) => {
    const { ips, interfaces } = (result ?? {}) as { ips?: unknown; interfaces?: unknown };
    const listed: { address?: unknown; interface?: unknown }[] = Array.isArray(ips) ? ips : [];
    const nameOf = (at: unknown): unknown => (Array.isArray(interfaces) ? interfaces[Number(at)]?.name : undefined);
    const own = listed.filter((ip) => typeof ip?.interface !== 'number' || nameOf(ip.interface) === `eth${index}`);
    return (own.length > 0 ? own : listed).map((ip) => String(ip?.address ?? '').replace(/\/.*$/, ''));
  });
  const gave = `CNI network ${network} gave the pod`;
  if (ips.length === 0) throw new Fault('Internal', `${gave} no IP address`);
  if (ips.length > mostAddresses)
    throw new Fault('Internal', `${gave} ${ips.length} addresses: at most ${mostAddresses} are possible`);
  const wrong = ips.find((ip) => isIP(ip) === 0);
  if (wrong !== undefined)
    throw new Fault('Internal', `${gave} ${JSON.stringify(wrong.slice(0, 100))}, which is no IP address`);
  return ips;
}

function atLeast(version: string, major: number, minor: number): boolean {
  const [a = 0, b = 0] = version.split('.').map(Number);
  return a > major || (a === major && b >= minor);
}
