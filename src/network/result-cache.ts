import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../base/fault.ts';
import { isObject } from '../base/json.ts';
import { jsonOf } from '../base/parse.ts';
import { readText } from '../sys/read-file.ts';
import { isTemporary, removeFile, replaceFile } from '../sys/write-file.ts';
import type { CapabilityArgs } from './capabilities.ts';

/** What libcni keeps of one attachment, in its file format, so that tools and other runtimes can read it. */
export type CachedAttachment = {
  readonly kind: 'cniCacheV1';
  readonly containerId: string;
  /** The network list at ADD, base64: DEL uses it even if the file changed since. Empty: nobody can read it. */
  readonly config: string;
  readonly ifName: string;
  readonly networkName: string;
  readonly netns: string;
  readonly cniArgs: readonly (readonly [string, string])[];
  readonly capabilityArgs: CapabilityArgs;
  /** Absent while ADD has not answered: DEL is owed all the same. */
  readonly result?: unknown;
  /** Ours alone; others that read the file leave it out. */
  readonly berth?: {
    /** Whose attachment it is: other daemons may share the cache. */
    readonly owner: string;
    /** How many of the list's plugins an ADD that failed has called; absent: maybe all. */
    readonly called?: number;
  };
};

type Named = Pick<CachedAttachment, 'networkName' | 'containerId' | 'ifName'>;

/** Others keep files there too. A plugin's answer is at most 10 MiB, and JSON in JSON may need more. */
const mostBytes = 64 << 20;

/** As libcni names it. */
export const fileNameOf = ({ networkName, containerId, ifName }: Named): string =>
  `${networkName}-${containerId}-${ifName}`;

const namePattern = /^(.+)-([0-9a-f]{64})-([^-]+)$/;

function namedBy(name: string): Named | null {
  const [, networkName, containerId, ifName] = namePattern.exec(name) ?? [];
  return networkName && containerId && ifName ? { networkName, containerId, ifName } : null;
}

/** `<cacheDir>/results/<network>-<container>-<interface>` */
export class ResultCache {
  readonly #directory: string;
  readonly #owner: string;

  /** `owner` tells this daemon's attachments from those of others in the same cache, for ever. */
  constructor(cacheDir: string, owner: string) {
    this.#directory = join(cacheDir, 'results');
    this.#owner = owner;
  }

  /** Writes it as this daemon's own. `called`: see CachedAttachment. */
  async put(attachment: CachedAttachment, called?: number): Promise<void> {
    const path = this.#path(attachment);
    const json = JSON.stringify({ ...attachment, berth: { owner: this.#owner, called } });
    try {
      await replaceFile(path, json);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await replaceFile(path, json);
    }
  }

  /** Marks one that is not marked as this daemon's own. */
  async claim(attachment: CachedAttachment): Promise<void> {
    if (attachment.berth?.owner !== this.#owner) await this.put(attachment);
  }

  /** Every attachment of a container, in file-name order. Removes what an interrupted `put` left of it. */
  async of(containerId: string): Promise<CachedAttachment[]> {
    const all = (await this.#names()).filter((name) => name.includes(`-${containerId}-`));
    for (const name of all.filter(isTemporary)) await removeFile(join(this.#directory, name));
    return (await this.#readAll(all)).filter((entry) => entry.containerId === containerId);
  }

  /** Every attachment of this daemon. */
  async own(): Promise<CachedAttachment[]> {
    return (await this.#readAll(await this.#names())).filter(({ berth }) => berth?.owner === this.#owner);
  }

  async forget(attachment: CachedAttachment): Promise<void> {
    await removeFile(this.#path(attachment));
  }

  async #names(): Promise<string[]> {
    try {
      return await readdir(this.#directory);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return [];
      throw error;
    }
  }

  async #readAll(names: readonly string[]): Promise<CachedAttachment[]> {
    const files = names.filter((name) => !isTemporary(name)).sort();
    const read = await Promise.all(files.map((name) => this.#read(name)));
    return read.filter((entry) => entry !== null);
  }

  async #read(name: string): Promise<CachedAttachment | null> {
    const named = namedBy(name);
    if (!named) return null; // no container of ours has such an id
    try {
      return decode(named, await readText(join(this.#directory, name), mostBytes));
    } catch (error) {
      return isErrno(error, 'ENOENT') ? null : unreadable(named);
    }
  }

  #path(attachment: Named): string {
    return join(this.#directory, fileNameOf(attachment));
  }
}

/** What the file's name alone tells: enough for a DEL by the network's present configuration. */
const unreadable = (named: Named): CachedAttachment => ({
  ...named,
  kind: 'cniCacheV1',
  config: '',
  netns: '',
  cniArgs: [
    ['IgnoreUnknown', '1'],
    ['K8S_POD_INFRA_CONTAINER_ID', named.containerId],
  ],
  capabilityArgs: {},
});

/** The name is the truth about what the file is; a field of another kind than its own is as if it were not there. */
function decode(named: Named, text: string): CachedAttachment {
  const bare = unreadable(named);
  const json: unknown = jsonOf(text);
  if (!isObject(json) || json.kind !== bare.kind) return bare;
  const { config, netns, cniArgs, capabilityArgs, result, berth } = json;
  return {
    ...bare,
    ...(typeof config === 'string' && { config }),
    ...(typeof netns === 'string' && { netns }),
    ...(isPairs(cniArgs) && { cniArgs }),
    ...(isObject(capabilityArgs) && { capabilityArgs }),
    ...(isObject(result) && { result }),
    ...(isObject(berth) && typeof berth.owner === 'string' && { berth: markOf(berth.owner, berth.called) }),
  };
}

const markOf = (owner: string, called: unknown) => ({
  owner,
  ...(Number.isInteger(called) && { called: Number(called) }),
});

const isPairs = (value: unknown): value is [string, string][] =>
  Array.isArray(value) &&
  value.every((pair) => Array.isArray(pair) && typeof pair[0] === 'string' && typeof pair[1] === 'string');
