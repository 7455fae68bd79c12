import { Fault, invalidArgument, isFault } from '../base/fault.ts';
import type { OpenHostFiles } from '../base/host-files.ts';
import { isObject } from '../base/json.ts';
import { ownFiles } from '../sys/own-files.ts';
import { parseReference, type Reference, shortName } from './reference.ts';
import { type ConfFile, cannotUse, readConf, textOf } from './registries-file.ts';

/** What a file says that a name without a registry means. */
type Rules = {
  readonly aliases: ReadonlyMap<string, string>;
  /** Where to search, in order; null: nobody said. */
  readonly registries: readonly string[] | null;
  readonly isEnforcing: boolean;
};

/**
 * What a name may mean that says no registry, by a registries.conf as CRI-O reads it (containers-registries.conf(5)): its alias, else
 * that name at each of the registries to be searched. Docker's where the file says nothing of it, or there is none.
 */
export class ShortNames {
  readonly #path: string;
  #rules: Rules = { aliases: new Map(), registries: null, isEnforcing: false };

  /** `path`: the file; empty: none. What it says counts from `read` on. */
  constructor(path: string) {
    this.#path = path;
  }

  /** @throws Fault FailedPrecondition that names the file that is wrong or gone; what was known stays. */
  async read(open: OpenHostFiles = ownFiles): Promise<void> {
    if (this.#path === '') return;
    using files = open();
    this.#rules = rulesOf(await readConf(this.#path, files));
  }

  /**
   * What a name may mean, the likeliest first; a full name means itself.
   * @throws Fault InvalidArgument for what is no name, or one that the file leaves without a meaning or with too many.
   */
  meanings(text: string): readonly Reference[] {
    const asDockers = parseReference(text);
    const name = shortName(text);
    if (name === null) return [asDockers];
    const { aliases, registries, isEnforcing } = this.#rules;
    const alias = aliases.get(name);
    if (alias !== undefined) return [parseReference(alias + text.slice(name.length))];
    if (registries === null) return [asDockers];
    const shown = JSON.stringify(text.slice(0, 200));
    const why = (problem: string) => invalidArgument(`${shown} says no registry, and ${this.#path} ${problem}`);
    if (registries.length === 0) throw why('has an empty unqualified-search-registries: write the full name');
    if (registries.length > 1 && isEnforcing)
      throw why(`has no alias for it, but ${registries.length} registries to search, and short-name-mode "enforcing"`);
    return registries.map((registry) => parseReference(`${registry}/${text}`));
  }

  /** The same; nothing for what no image can have as a name. */
  possible(text: string): readonly Reference[] {
    try {
      return this.meanings(text);
    } catch (error) {
      if (isFault(error, 'InvalidArgument')) return [];
      throw error;
    }
  }
}

/** A later file's list counts alone; its aliases are added. */
function rulesOf(files: readonly ConfFile[]): Rules {
  const aliases = new Map<string, string>();
  let registries: readonly string[] | null = null;
  let isEnforcing = false;
  for (const { file, table } of files) {
    try {
      for (const [name, target] of aliasesOf(table.aliases)) {
        if (target === '') aliases.delete(name);
        else aliases.set(name, target);
      }
      registries = searchedOf(table['unqualified-search-registries']) ?? registries;
      const mode = textOf(table, 'short-name-mode');
      if (!['', 'enforcing', 'permissive', 'disabled'].includes(mode))
        throw new Error(`short-name-mode = ${JSON.stringify(mode)} is none of enforcing, permissive, disabled`);
      if (mode !== '') isEnforcing = mode === 'enforcing';
    } catch (error) {
      throw cannotUse(file, error);
    }
  }
  return { aliases, registries, isEnforcing };
}

function* aliasesOf(value: unknown): Generator<readonly [name: string, target: string]> {
  if (value === undefined) return;
  if (!isObject(value)) throw new Error('aliases is no table');
  for (const [name, target] of Object.entries(value)) {
    if (typeof target !== 'string') throw new Error(`the alias ${JSON.stringify(name)} is no text`);
    if (shortName(name) !== name) throw new Error(`the alias ${JSON.stringify(name)} is no short name without a tag`);
    if (target !== '' && !isRepository(target))
      throw new Error(`the alias ${JSON.stringify(name)} means ${JSON.stringify(target)}, no full name without a tag`);
    yield [name, target];
  }
}

function searchedOf(value: unknown): readonly string[] | null {
  if (value === undefined) return null;
  if (!Array.isArray(value) || !value.every((each) => typeof each === 'string'))
    throw new Error('unqualified-search-registries is no list of names');
  return value.map((each) => {
    const registry = each.replace(/\/+$/, '');
    if (isRepository(`${registry}/name`)) return registry;
    throw new Error(`unqualified-search-registries has ${JSON.stringify(each)}, which is no registry's name`);
  });
}

/** Whether a text is a full name, and no more. */
function isRepository(text: string): boolean {
  const withTag = `${text}:tag`;
  if (text.includes('@') || shortName(withTag) !== null) return false;
  try {
    return parseReference(withTag).tag === 'tag';
  } catch (error) {
    if (error instanceof Fault) return false;
    throw error;
  }
}
