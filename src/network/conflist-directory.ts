import { join } from 'node:path';
import { messageOf } from '../base/fault.ts';
import { type HostFiles, isNoAnswer } from '../base/host-files.ts';
import { ownFiles } from '../sys/own-files.ts';
import { type NetworkList, type PluginConfig, parseNetworkList, parsePlugin, withMore } from './conflist.ts';

const extensions = ['.conflist', '.conf', '.json'];
const maxBytes = 1 << 20;
/** More is no configuration directory. */
const mostNames = 1000;

/** What a look into the configuration directory found: the valid lists in file-name order, and what is wrong. */
export type FoundNetworks = { readonly lists: readonly NetworkList[]; readonly problems: readonly string[] };

/**
 * Reads a CNI configuration directory as often as asked and parses only files that changed. Looking again at every
 * use needs no watcher, so a directory that appears later is found as well.
 */
export class ConflistDirectory {
  readonly #directory: string;
  readonly #files: HostFiles;
  readonly #lists: ParsedFiles<ReturnType<typeof parseNetworkList>>;
  readonly #plugins: ParsedFiles<PluginConfig>;

  constructor(directory: string, files: HostFiles = ownFiles()) {
    this.#directory = directory;
    this.#files = files;
    this.#lists = new ParsedFiles(files, parseNetworkList);
    this.#plugins = new ParsedFiles(files, parsePlugin);
  }

  /** `but`: a file that is left out. @throws Fault DeadlineExceeded if it does not answer */
  async look(but?: string): Promise<FoundNetworks> {
    const names = (await this.#namesIn(this.#directory, extensions))?.filter((name) => name !== but);
    if (!names) return { lists: [], problems: [`the directory ${this.#directory} does not exist`] };
    const paths = new Set<string>();
    const read = await Promise.all(names.map((name) => this.#read(name, paths)));
    const lists = read.filter((each) => typeof each !== 'string');
    const problems = read.filter((each) => typeof each === 'string');
    for (const files of [this.#lists, this.#plugins]) files.keep(paths);
    if (names.length === 0) problems.push(`no network configuration in ${this.#directory}`);
    return { lists, problems };
  }

  /** The list in this file, or what is wrong with it; what was read is put into `paths`. */
  async #read(name: string, paths: Set<string>): Promise<NetworkList | string> {
    const path = join(this.#directory, name);
    paths.add(path);
    try {
      const list = await this.#lists.read(path);
      return list.openToMore ? withMore(list, await this.#more(list.name, paths)) : list;
    } catch (error) {
      if (isNoAnswer(error)) throw error; // of who reads it, not of the file
      return `${name}: ${messageOf(error)}`;
    }
  }

  /** Plugins in files of their own, in file-name order, as libcni takes them since CNI 1.1. */
  async #more(network: string, paths: Set<string>): Promise<PluginConfig[]> {
    const names = (await this.#namesIn(join(this.#directory, network), ['.conf'])) ?? [];
    return Promise.all(
      names.map(async (name) => {
        const path = join(this.#directory, network, name);
        paths.add(path);
        try {
          return await this.#plugins.read(path);
        } catch (error) {
          if (isNoAnswer(error)) throw error;
          throw new Error(`${network}/${name}: ${messageOf(error)}`);
        }
      }),
    );
  }

  /** The names with one of these endings, in order; null without such a directory. */
  async #namesIn(directory: string, endings: readonly string[]): Promise<string[] | null> {
    const all = await this.#files.list(directory, mostNames);
    return all?.map(([name]) => name).filter((name) => endings.some((ending) => name.endsWith(ending))) ?? null;
  }
}

type Known<Content> = { readonly text: string; readonly content: Content };

/** Files by their paths, parsed again when they changed. */
class ParsedFiles<Content> {
  readonly #files: HostFiles;
  readonly #parse: (text: string) => Content;
  readonly #known = new Map<string, Known<Content>>();

  constructor(files: HostFiles, parse: (text: string) => Content) {
    this.#files = files;
    this.#parse = parse;
  }

  /** @throws Error that says why it cannot be read or parsed */
  async read(path: string): Promise<Content> {
    const text = await this.#files.readText(path, maxBytes);
    const before = this.#known.get(path);
    if (before?.text === text) return before.content;
    const content = this.#parse(text);
    this.#known.set(path, { text, content });
    return content;
  }

  /** Forgets all but these. */
  keep(paths: ReadonlySet<string>): void {
    for (const path of this.#known.keys()) if (!paths.has(path)) this.#known.delete(path);
  }
}
