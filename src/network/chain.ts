import type { RunCommand } from '../base/command.ts';
import { runtimeConfig } from './capabilities.ts';
import type { NetworkList, PluginConfig } from './conflist.ts';
import { type CniCommand, callPlugin, findPlugin, MissingPlugin, type Programs } from './plugin.ts';
import type { CachedAttachment } from './result-cache.ts';

/** What a call of a plugin is about; only the command for GC and STATUS. */
export type ChainCall = {
  readonly command: CniCommand;
  readonly list: NetworkList;
  readonly entry?: CachedAttachment;
  /** Keys that the plugin's configuration gets besides its own. */
  readonly extra?: object;
  /** Less than plugins usually have, milliseconds. */
  readonly deadlineMs?: number;
};

/** The plugins of network lists, as the programs in these directories. */
export class Chain {
  readonly #programs: Programs;
  readonly #deadlineMs: number;

  constructor(programs: Programs, deadlineMs: number) {
    this.#programs = programs;
    this.#deadlineMs = deadlineMs;
  }

  get binDirs(): readonly string[] {
    return this.#programs.binDirs;
  }

  async installed(type: string): Promise<boolean> {
    return (await findPlugin(type, this.#programs)) !== null;
  }

  /** The first plugin of these lists that is not installed, as the error that a call of it would be. */
  async missing(lists: readonly NetworkList[]): Promise<MissingPlugin | null> {
    const types = [...new Set(lists.flatMap(({ plugins }) => plugins.map(({ type }) => type)))];
    const installed = await Promise.all(types.map((type) => this.installed(type)));
    const type = types.find((_, index) => !installed[index]);
    return type === undefined ? null : new MissingPlugin(type, this.binDirs);
  }

  /** Calls one plugin of a list (CNI spec, section 3). `prevResult`: null for none. @throws MissingPlugin, Fault */
  call(
    run: RunCommand,
    { command, list, entry, extra, deadlineMs = this.#deadlineMs }: ChainCall,
    plugin: PluginConfig,
    prevResult: unknown,
  ) {
    const dynamic = runtimeConfig(plugin, entry?.capabilityArgs ?? {});
    const call = {
      command,
      containerId: entry?.containerId ?? '',
      netns: entry?.netns ?? '',
      ifName: entry?.ifName ?? '',
      args: entry?.cniArgs ?? [],
    };
    const stdin = {
      ...plugin,
      ...extra,
      name: list.name,
      cniVersion: list.cniVersion,
      ...(dynamic && { runtimeConfig: dynamic }),
      ...(prevResult !== null && { prevResult }),
    };
    return callPlugin(run, this.#programs, Math.min(deadlineMs, this.#deadlineMs), call, plugin, stdin);
  }

  /** Calls every plugin in order, where none has a result for the next. @throws MissingPlugin, Fault */
  async callEach(run: RunCommand, call: ChainCall): Promise<void> {
    for (const plugin of call.list.plugins) await this.call(run, call, plugin, null);
  }
}
