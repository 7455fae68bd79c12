import { mkdir, readdir, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../base/fault.ts';
import { replaceFile } from '../sys/write-file.ts';
import type { CapabilityArgs } from './capabilities.ts';

/** What libcni keeps of one attachment, in its file format, so that tools and other runtimes can read it. */
export type CachedAttachment = {
  readonly kind: 'cniCacheV1';
  readonly containerId: string;
  /** The network list at ADD, base64: DEL uses it even if the file changed since. */
  readonly config: string;
  readonly ifName: string;
  readonly networkName: string;
  readonly netns: string;
  readonly cniArgs: readonly (readonly [string, string])[];
  readonly capabilityArgs: CapabilityArgs;
  /** Absent while ADD has not answered: DEL is owed all the same. */
  readonly result?: unknown;
};

/** `<cacheDir>/results/<network>-<container>-<interface>` */
export class ResultCache {
  readonly #directory: string;

  constructor(cacheDir: string) {
    this.#directory = join(cacheDir, 'results');
  }

  async put(attachment: CachedAttachment): Promise<void> {
    const path = this.#path(attachment);
    const json = JSON.stringify(attachment);
    try {
      await replaceFile(path, json);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await replaceFile(path, json);
    }
  }

  /** Every attachment of a container, in file-name order; a file that is no JSON counts as none. */
  async of(containerId: string): Promise<CachedAttachment[]> {
    const names = (await this.#names()).filter((name) => name.includes(`-${containerId}-`)).sort();
    const read = await Promise.all(names.map((name) => this.#read(name)));
    return read.filter((entry) => entry !== null);
  }

  async forget(attachment: CachedAttachment): Promise<void> {
    try {
      await unlink(this.#path(attachment));
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
    }
  }

  async #names(): Promise<string[]> {
    try {
      return await readdir(this.#directory);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return [];
      throw error;
    }
  }

  async #read(name: string): Promise<CachedAttachment | null> {
    try {
      const json = JSON.parse(await readFile(join(this.#directory, name), 'utf8'));
      return json?.kind === 'cniCacheV1' ? json : null;
    } catch (error) {
      if (error instanceof SyntaxError || isErrno(error, 'ENOENT')) return null;
      throw error;
    }
  }

  #path({ networkName, containerId, ifName }: CachedAttachment): string {
    return join(this.#directory, `${networkName}-${containerId}-${ifName}`);
  }
}
