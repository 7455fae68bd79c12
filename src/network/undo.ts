import type { RunCommand } from '../base/command.ts';
import { messageOf } from '../base/fault.ts';
import { Locks } from '../base/locks.ts';
import { log } from '../base/log.ts';
import { runHere } from '../sys/spawn.ts';
import type { Chain } from './chain.ts';
import { type NetworkList, type PluginConfig, parseNetworkList, withMore } from './conflist.ts';
import type { ConflistDirectory } from './conflist-directory.ts';
import { KeptNetns } from './kept-netns.ts';
import { MissingPlugin } from './plugin.ts';
import { type CachedAttachment, fileNameOf, type ResultCache } from './result-cache.ts';

/** How long a plugin that is back but fails is left alone, ms. */
const retryMs = 60_000;

/** An attachment without a pod; `missing`: the programs that are waited for, null before the first try. */
type Owed = { readonly entry: CachedAttachment; readonly missing: readonly string[] | null };

/**
 * Undoes attachments. One whose plugin is not installed cannot be undone and must not keep its pod alive: its file stays
 * in the cache, and it is undone when the plugin is back.
 */
export class Undo {
  readonly #chain: Chain;
  readonly #cache: ResultCache;
  readonly #conflists: ConflistDirectory;
  readonly #kept: KeptNetns;
  readonly #locks = new Locks();
  /** By the names of their files. */
  readonly #owed = new Map<string, Owed>();
  #notBefore = 0;
  #retrying = false;

  constructor(chain: Chain, cache: ResultCache, conflists: ConflistDirectory, kept: KeptNetns) {
    this.#kept = kept;
    this.#chain = chain;
    this.#cache = cache;
    this.#conflists = conflists;
  }

  /** DEL by every plugin of the attachment that is installed; forgets it, or keeps it if one was not. @throws Fault */
  async undo(run: RunCommand, entry: CachedAttachment): Promise<void> {
    const name = fileNameOf(entry);
    using _ = await this.#locks.hold(name);
    const list = await this.#listOf(entry);
    const missing = list ? await this.#deleteAll(run, list, entry) : [];
    if (!list || missing.length > 0) return this.#keep(name, entry, list, missing);
    this.#kept.release(entry);
    await this.#cache.forget(entry);
    if (this.#owed.delete(name)) log.info(wordsOf(entry), 'A CNI attachment that was kept is undone');
  }

  /** Those of this daemon's attachments whose pods are not among the living: what an earlier daemon kept. */
  async adopt(living: ReadonlySet<string>): Promise<void> {
    for (const entry of await this.#cache.own()) {
      if (!living.has(entry.containerId)) this.#owed.set(fileNameOf(entry), { entry, missing: null });
    }
  }

  /** Undoes in the background what was kept and can be undone now. Costs nothing while there is none. */
  retry(): void {
    if (this.#owed.size === 0 || this.#retrying || performance.now() < this.#notBefore) return;
    this.#retrying = true;
    void this.#retryAll().finally(() => {
      this.#retrying = false;
    });
  }

  async #retryAll(): Promise<void> {
    for (const { entry, missing } of [...this.#owed.values()]) {
      try {
        if (missing && (await this.#anyAbsent(missing))) continue;
        await this.undo(runHere, entry);
      } catch (error) {
        this.#notBefore = performance.now() + retryMs;
        log.warn({ ...wordsOf(entry), reason: messageOf(error) }, 'A CNI attachment that was kept cannot be undone');
      }
    }
  }

  async #anyAbsent(types: readonly string[]): Promise<boolean> {
    for (const type of types) if (!(await this.#chain.installed(type))) return true;
    return false;
  }

  /** As it was at ADD; if nobody can read that any more, as the network is configured now. */
  async #listOf({ config, networkName }: CachedAttachment): Promise<NetworkList | null> {
    try {
      return withMore(parseNetworkList(Buffer.from(config, 'base64').toString()), []);
    } catch {
      const { lists } = await this.#conflists.look();
      return lists.find(({ name }) => name === networkName) ?? null;
    }
  }

  /**
   * In reverse order, each whatever the others did; the names of the programs that were not there and that ADD may have
   * called. @throws Fault of the first that failed.
   */
  async #deleteAll(run: RunCommand, list: NetworkList, entry: CachedAttachment): Promise<string[]> {
    const missing: string[] = [];
    const call = { command: 'DEL', list, entry: { ...entry, netns: KeptNetns.pathOf(entry) } } as const;
    let failure: unknown;
    const called = entry.berth?.called ?? list.plugins.length;
    for (const [index, plugin] of [...list.plugins.entries()].reverse()) {
      try {
        await this.#chain.call(run, call, plugin, entry.result ?? null);
      } catch (error) {
        const type = await this.#absent(plugin, error).catch(() => null);
        if (type === null) failure ??= error;
        else if (index < called) missing.push(type);
      }
    }
    if (failure !== undefined) throw failure;
    return missing;
  }

  /** Which program's absence made a DEL fail: the plugin's, or that of its IPAM plugin (CNI spec, section 4). */
  async #absent({ ipam }: PluginConfig, error: unknown): Promise<string | null> {
    if (error instanceof MissingPlugin) return error.type;
    const type = (ipam as { type?: unknown } | null | undefined)?.type;
    if (typeof type !== 'string' || type === '' || type.includes('/')) return null;
    if (await this.#chain.installed(type)) return null;
    // A type without a program can be the plugin's own matter. The standard library quotes the one it did not find.
    return messageOf(error).includes(JSON.stringify(type)) ? type : null;
  }

  /** Without it DEL frees less; that must not keep the pod. */
  #keepNetns(entry: CachedAttachment): CachedAttachment {
    try {
      return this.#kept.keep(entry);
    } catch (error) {
      log.warn({ ...wordsOf(entry), reason: messageOf(error) }, 'A network namespace that is owed a DEL is not kept');
      return entry;
    }
  }

  async #keep(name: string, entry: CachedAttachment, list: NetworkList | null, missing: readonly string[]) {
    const before = this.#owed.get(name);
    const kept = this.#keepNetns(entry);
    this.#owed.set(name, { entry: kept, missing });
    if (before && `${before.missing}` === `${missing}` && before.entry === entry) return;
    const { binDirs } = this.#chain;
    const next = list
      ? `install ${missing.join(', ')} in one of ${binDirs.join(', ')}`
      : `its configuration cannot be read: configure network ${entry.networkName} again`;
    log.warn(
      { ...wordsOf(entry), plugins: missing },
      `A CNI attachment cannot be undone and is kept; it is undone when it can be: ${next}`,
    );
    // Without the mark the next daemon would not look at it; a full disk must not keep the pod.
    const written = kept === entry ? this.#cache.claim(entry) : this.#cache.put(kept);
    await written.catch((error: unknown) => {
      log.warn({ ...wordsOf(entry), reason: messageOf(error) }, 'A CNI attachment that is kept could not be marked');
    });
  }
}

function wordsOf({ containerId, networkName, ifName, cniArgs }: CachedAttachment) {
  const args = new Map(cniArgs);
  const name = `${args.get('K8S_POD_NAMESPACE') ?? '?'}/${args.get('K8S_POD_NAME') ?? '?'}`;
  return { pod: containerId, name, network: networkName, interface: ifName };
}
