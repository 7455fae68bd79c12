import { type FSWatcher, watch } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, messageOf } from '../base/fault.ts';
import type { HostFacts } from '../base/host-facts.ts';
import { log } from '../base/log.ts';
import { outside } from '../base/trace.ts';
import type { Container } from '../model/container.ts';
import type { ContainerId } from '../model/ids.ts';
import { buildResources, type OciResources, scopeFiles, scopeOf } from '../oci/index.ts';
import { cgroupFolders } from '../sys/cgroups.ts';
import type { Deps } from './deps.ts';

type Needs = Pick<Deps, 'containers' | 'host'>;

/** Of all that systemd writes to a scope, this comes last but for the number of processes. */
const lastWritten = 'memory.oom.group';
/** systemd writes dozens of files at once; after that much silence it is through. */
const settledMs = 50;

/**
 * Keeps what a scope holds that systemd does not know of (`memory.oom.group`, which kubelet asks for in each container): at each
 * reload, and each change of a property, systemd writes the files of all scopes anew. inotify(7) tells of it, since systemd
 * writes them as anybody does; a daemon that was not there then looks at its start.
 */
export function keepScopeFiles(deps: Needs): void {
  const watches = new Map<ContainerId, Watch>();
  const follow = (after: Container | undefined, before: Container | undefined) => {
    if (after?.state.phase === before?.state.phase && after?.config.resources === before?.config.resources) return;
    const { id } = (after ?? before)!;
    const wanted = filesOf(deps, after);
    watches.get(id)?.[Symbol.dispose]();
    if (wanted === null) watches.delete(id);
    else
      watches.set(
        id,
        outside(() => new Watch(id, wanted)),
      );
  };
  deps.containers.listen(follow);
  for (const container of deps.containers.all()) follow(container, undefined);
}

/** Writes them, once: systemd has just been told of other limits. @throws Error EINVAL and others of the kernel. */
export async function writeScopeFiles(
  cgroup: string,
  limits: OciResources,
  host: Pick<HostFacts, 'cgroupMode'>,
): Promise<void> {
  await Promise.all(Object.entries(scopeFiles(limits, host)).map(write(cgroup)));
}

const write =
  (cgroup: string) =>
  async ([file, value]: [string, string]): Promise<void> => {
    try {
      await writeFile(pathOf(cgroup, file), value, { flag: 'r+' });
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  };

/** A cgroup that is gone has nothing to keep. */
const isGone = (error: unknown): boolean => isErrno(error, 'ENOENT', 'ENODEV');

/** On cgroup v2 a scope is one folder. */
const pathOf = (cgroup: string, file: string): string => join(cgroupFolders(cgroup)[0]!, file);

type Files = { readonly cgroup: string; readonly values: Readonly<Record<string, string>> };

/** What the scope of a running container is to hold, or null. */
function filesOf({ host }: Pick<Deps, 'host'>, container: Container | undefined): Files | null {
  if (container?.state.phase !== 'running' || scopeOf(container.cgroupsPath) === null || host.cgroupMode !== 'v2')
    return null;
  const values = scopeFiles(buildResources(container.config.resources, host), host);
  return Object.keys(values).length === 0 ? null : { cgroup: container.cgroupsPath, values };
}

/** Writes the files at once, and again whenever somebody else has written to the scope. */
class Watch implements Disposable {
  readonly #id: ContainerId;
  readonly #files: Files;
  /** As the kernel shows what was written: `0,1` as `0-1`. */
  #shown = '';
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #over = false;

  constructor(id: ContainerId, files: Files) {
    this.#id = id;
    this.#files = files;
    try {
      this.#watcher = watch(pathOf(files.cgroup, lastWritten), { persistent: false }, () => this.#later());
      this.#watcher.on('error', (error) => this.#failed(error));
    } catch (error) {
      this.#failed(error);
    }
    void this.#restore();
  }

  #later(): void {
    this.#timer ??= setTimeout(() => void this.#restore(), settledMs).unref();
  }

  async #restore(): Promise<void> {
    this.#timer = undefined;
    try {
      if (this.#shown !== '' && (await this.#read()) === this.#shown) return;
      if (this.#over) return; // others may be wanted by now
      const { cgroup, values } = this.#files;
      await Promise.all(Object.entries(values).map(write(cgroup)));
      this.#shown = await this.#read();
    } catch (error) {
      this.#failed(error);
    }
  }

  async #read(): Promise<string> {
    const { cgroup, values } = this.#files;
    const texts = Object.keys(values).map((file) => readFile(pathOf(cgroup, file), 'utf8'));
    return (await Promise.all(texts)).join('\n');
  }

  #failed(error: unknown): void {
    if (isGone(error)) return;
    log.warn({ container: this.#id, reason: messageOf(error) }, 'What a scope holds beside its properties is not kept');
  }

  [Symbol.dispose](): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#watcher?.close();
  }
}
