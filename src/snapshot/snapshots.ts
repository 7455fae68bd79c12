import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { Fault, failedPrecondition, invalidArgument, isErrno, messageOf, notFound } from '../base/fault.ts';
import { maxLayers } from '../base/limits.ts';
import { Locks } from '../base/locks.ts';
import { log } from '../base/log.ts';
import { allOf } from '../base/run-all.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { copyDirectoryAttributes, diskUsage, removeTree, syncFilesystem, type Usage } from '../sys/files.ts';
import { bootId } from '../sys/host.ts';
import { bindMount, mountOverlay } from '../sys/mounts.ts';
import { closeToOthers, tidy } from '../sys/tidy.ts';
import { makeDirectory } from '../sys/write-file.ts';
import { isLeftover, type Metadata, readMetadata, writeMetadata } from './metadata.ts';

/** A fresh directory to unpack a layer into; gone at the end of its scope unless it was committed. */
export interface Stage extends AsyncDisposable {
  /** The directory that becomes the layer's tree. */
  readonly path: string;
  /**
   * Makes the tree visible as the committed snapshot `key` over `parent`, in one step. If `key` exists already (another
   * pull was faster), this tree is discarded. `size` is what Snapshots.size answers.
   */
  commit(key: string, parent: string | null, size?: number): Promise<void>;
}

const keyPattern = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}$/;

/** No key. */
const unnamed = '';

/** A key as a directory name. */
const folderOf = (key: string): string => key.replaceAll(':', '-');

/**
 * Opens the overlayfs snapshotter at `root`, making it if it is new. What an interrupted run left is put aside, and so is
 * every tree written before a reboot and not known to have reached the disk; that is removed when it takes no start's time.
 */
export async function openSnapshots(root: string): Promise<Snapshots> {
  await mkdir(root, { recursive: true, mode: 0o700 });
  closeToOthers(root);
  const found = new Map<string, Metadata>();
  const leftovers: string[] = [];
  const boot = bootId();
  for (const name of await readdir(root)) {
    const metadata = isLeftover(name) ? null : await readMetadata(join(root, name), folderOf);
    if (metadata && (metadata.kind === 'active' || metadata.boot === null || metadata.boot === boot)) {
      found.set(metadata.key, metadata);
      continue;
    }
    if (!isLeftover(name))
      log.warn({ snapshot: name }, 'Removing a snapshot that is incomplete or was not on disk yet');
    await tidy(async () => leftovers.push(await putAside(root, name)));
  }
  for (const orphan of orphansOf(found)) {
    log.warn({ snapshot: orphan.key, parent: orphan.parent }, 'Removing a snapshot whose parent is gone');
    found.delete(orphan.key);
    await tidy(async () => leftovers.push(await putAside(root, folderOf(orphan.key))));
  }
  void removeAll(leftovers);
  return new Snapshots(root, boot, found);
}

/** Gives what is no snapshot a name that nobody else gives, and returns that: a stage or a layer may soon have the other. */
async function putAside(root: string, name: string): Promise<string> {
  const aside = join(root, `.remove-${randomUUID()}`);
  try {
    await rename(join(root, name), aside);
    return aside;
  } catch (error) {
    log.warn({ snapshot: name, reason: messageOf(error) }, 'What is left of a snapshot is removed where it is');
    await removeTree(join(root, name));
    return aside;
  }
}

/** A container's layer has as many files as the container made, and no start waits for their end. */
async function removeAll(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await removeTree(path).catch((error: unknown) => {
      log.warn({ path, reason: messageOf(error) }, 'What is left of a snapshot stays until the next start');
    });
  }
}

/** Committed snapshots that stand, directly or not, on one that is missing. An active one is its container's to remove. */
function orphansOf(found: ReadonlyMap<string, Metadata>): Metadata[] {
  const whole = (item: Metadata | undefined, depth = 0): boolean => {
    if (!item || depth > maxLayers) return false;
    return item.parent === null || whole(found.get(item.parent), depth + 1);
  };
  return [...found.values()].filter((item) => item.kind === 'committed' && !whole(item));
}

type MountOptions = { readonly through?: string; readonly nodev?: boolean };

/** Trees in overlay form, each in `<root>/<key>/fs`; the facts about it lie beside it. Keys are unique over both kinds. */
export class Snapshots {
  readonly #root: string;
  readonly #boot: string;
  readonly #map: Map<string, Metadata>;
  /** A key, then its parent's: a parent must not be removed while something is being put on it. */
  readonly #locks = new Locks();
  /** Trees on their way out, with the key that each had, or `unnamed`: there for as long as the disk does not let them go. */
  readonly #leaving = new Map<string, string>();
  #serial = 0;

  /** Use openSnapshots. */
  constructor(root: string, boot: string, found: Map<string, Metadata>) {
    this.#root = root;
    this.#boot = boot;
    this.#map = found;
  }

  get root(): string {
    return this.#root;
  }

  get(key: string): Snapshot | undefined {
    return this.#map.get(key);
  }

  list(): Snapshot[] {
    return [...this.#map.values()];
  }

  /** The directory of the snapshot's own tree (for an active one: what the container wrote). */
  treePath(key: string): string {
    return join(this.#folder(this.#must(key).key), 'fs');
  }

  async stage(): Promise<Stage> {
    if (this.#leaving.size > 0) await this.#discard();
    const folder = this.#temporary('stage');
    const path = join(folder, 'fs');
    try {
      await makeDirectory(folder, 0o700);
      await makeDirectory(path, 0o755);
    } catch (error) {
      await this.#discard(folder);
      throw error;
    }
    return {
      path,
      commit: (key, parent, size = 0) => this.#commit(folder, key, parent, size),
      [Symbol.asyncDispose]: () => this.#discard(folder),
    };
  }

  /** Removes what never was a snapshot. Who made it has nothing more to do with it: what stays is tried again later. */
  async #discard(folder?: string): Promise<void> {
    if (folder !== undefined) this.#leaving.set(folder, unnamed);
    try {
      await this.#letGo(unnamed);
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'What was begun of a snapshot cannot be removed yet; it is tried again');
    }
  }

  async #letGo(key: string): Promise<void> {
    for (const [folder, of] of this.#leaving) {
      if (of !== key) continue;
      await removeTree(folder);
      this.#leaving.delete(folder);
    }
  }

  async #commit(folder: string, key: string, parent: string | null, size: number): Promise<void> {
    checkKey(key);
    using _ = await this.#locks.hold(key);
    using _parent = parent === null ? null : await this.#locks.hold(parent);
    const existing = this.#map.get(key);
    if (existing) {
      if (existing.kind === 'committed') return;
      throw new Fault('AlreadyExists', `Cannot commit snapshot "${key}": an active one has this key`);
    }
    this.#checkParent(key, parent);
    const metadata: Metadata = { key, kind: 'committed', parent, boot: this.#boot, size };
    await writeMetadata(folder, metadata);
    await rename(folder, this.#folder(key));
    this.#map.set(key, metadata);
  }

  /**
   * The writable snapshot of a container. Asked again with the same parent, it is the one that is there.
   * @throws Fault NotFound (parent), FailedPrecondition (parent is active), AlreadyExists (other parent).
   */
  async prepare(key: string, parent: string | null): Promise<Snapshot> {
    checkKey(key);
    using _ = await this.#locks.hold(key);
    using _parent = parent === null ? null : await this.#locks.hold(parent);
    const existing = this.#map.get(key);
    if (existing?.kind === 'active' && existing.parent === parent) return existing;
    if (existing) {
      throw new Fault(
        'AlreadyExists',
        `Cannot prepare snapshot "${key}" over ${parent}: it is ${existing.kind} over ${existing.parent}`,
      );
    }
    this.#checkParent(key, parent);
    const folder = this.#temporary('stage');
    const metadata: Metadata = { key, kind: 'active', parent, boot: null, size: 0 };
    try {
      await makeDirectory(folder, 0o700);
      await allOf([
        makeDirectory(join(folder, 'work'), 0o700),
        makeDirectory(join(folder, 'fs'), 0o755),
        writeMetadata(folder, metadata),
      ]);
      // The root of an overlay is the upper directory itself: it must look like the image's root.
      if (parent !== null) copyDirectoryAttributes(this.treePath(parent), join(folder, 'fs'));
      await rename(folder, this.#folder(key));
    } catch (error) {
      await this.#discard(folder);
      throw error;
    }
    this.#map.set(key, metadata);
    return metadata;
  }

  /** Trees of the committed snapshots below `key`, its own included if it is committed; top first. */
  lowerPaths(key: string): string[] {
    const item = this.#must(key);
    const paths = item.kind === 'committed' ? [join(this.#folder(key), 'fs')] : [];
    for (let next = item.parent; next !== null; ) {
      if (paths.length > maxLayers)
        throw failedPrecondition(`Snapshot "${key}" stands on more than ${maxLayers} others`);
      paths.push(join(this.#folder(next), 'fs'));
      next = this.#must(next).parent;
    }
    return paths;
  }

  /**
   * Mounts an active snapshot, writable, on the directory `target`. `through`: another place where the root of all
   * snapshots is seen, with mapped owners; the layers below are taken from there. `nodev`: device nodes in it are none.
   */
  async mount(key: string, target: string, { through = this.#root, nodev = false }: MountOptions = {}): Promise<void> {
    if (this.#must(key).kind !== 'active') {
      throw failedPrecondition(`Cannot mount snapshot "${key}" writable: it is committed`);
    }
    const lowers = this.#lowersThrough(key, through);
    const folder = this.#folder(key);
    const upper = join(folder, 'fs');
    if (lowers.length === 0) bindMount(upper, target, { nodev });
    else mountOverlay({ lowers, upper, work: join(folder, 'work'), target, nodev });
  }

  /** Mounts a committed snapshot with all below it, read-only, on the directory `target`; `through` as for mount. */
  async mountReadOnly(key: string, target: string, through: string = this.#root): Promise<void> {
    if (this.#must(key).kind !== 'committed')
      throw failedPrecondition(`Cannot mount snapshot "${key}" read-only: it is active`);
    const lowers = this.#lowersThrough(key, through);
    const limits = { readonly: true, nosuid: true, nodev: true };
    if (lowers.length === 1) bindMount(lowers[0]!, target, limits);
    else mountOverlay({ lowers, target, ...limits });
  }

  #lowersThrough(key: string, place: string): string[] {
    return this.lowerPaths(key).map((path) => join(place, relative(this.#root, path)));
  }

  /**
   * Removes the snapshot; one that is not there counts as removed. It stays if `unless` says so at the last moment.
   * @throws Fault FailedPrecondition while another snapshot stands on it.
   */
  async remove(key: string, unless: () => boolean = () => false): Promise<void> {
    checkKey(key);
    using _ = await this.#locks.hold(key);
    await this.#letGo(key);
    const item = this.#map.get(key);
    if (!item || unless()) return;
    for (const other of this.#map.values()) {
      if (other.parent === key) {
        throw failedPrecondition(`Cannot remove snapshot "${key}": "${other.key}" stands on it; remove that first`);
      }
    }
    this.#map.delete(key); // before the first wait: nobody may find it and build on it
    try {
      this.#leaving.set(await this.#putAside(item), key);
    } catch (error) {
      this.#map.set(key, item);
      throw error;
    }
    await this.#letGo(key);
  }

  /**
   * Under a name that is no snapshot's, so that none is ever there by half. What only its container uses may be: it is
   * removed where it is if the disk takes no new name.
   */
  async #putAside({ key, kind }: Metadata): Promise<string> {
    const [folder, aside] = [this.#folder(key), this.#temporary('remove')];
    try {
      await rename(folder, aside);
    } catch (error) {
      if (kind === 'active') return folder;
      if (!isErrno(error, 'ENOENT')) throw error; // else it was removed behind our back
    }
    return aside;
  }

  /** Bytes of file content in a committed snapshot's own tree, as its commit said. */
  size(key: string): number {
    return this.#must(key).size;
  }

  /** What the snapshot's own tree takes on disk; null for one that is removed, meanwhile or before. */
  async usage(key: string): Promise<Usage | null> {
    if (!this.#map.has(key)) return null;
    try {
      return await diskUsage(this.treePath(key));
    } catch (error) {
      if (!this.#map.has(key)) return null;
      throw error;
    }
  }

  /** Brings every committed snapshot to the disk: until then a reboot discards it. */
  async sync(): Promise<void> {
    const waiting = [...this.#map.values()].filter((item) => item.kind === 'committed' && item.boot !== null);
    await syncFilesystem(this.#root);
    for (const { key } of waiting) {
      using _ = await this.#locks.hold(key);
      const item = this.#map.get(key);
      if (!item) continue;
      const synced: Metadata = { ...item, boot: null };
      await writeMetadata(this.#folder(key), synced);
      this.#map.set(key, synced);
    }
  }

  #checkParent(key: string, parent: string | null): void {
    if (parent === null) return;
    const item = this.#map.get(parent);
    if (!item) throw notFound('snapshot', parent);
    if (item.kind !== 'committed')
      throw failedPrecondition(`Cannot put snapshot "${key}" over "${parent}": that is active`);
  }

  #must(key: string): Metadata {
    const item = this.#map.get(key);
    if (!item) throw notFound('snapshot', key);
    return item;
  }

  #folder(key: string): string {
    return join(this.#root, folderOf(key));
  }

  #temporary(what: 'stage' | 'remove'): string {
    return join(this.#root, `.${what}-${process.pid}-${this.#serial++}`);
  }
}

function checkKey(key: string): void {
  if (!keyPattern.test(key)) throw invalidArgument(`Snapshot key ${JSON.stringify(key.slice(0, 200))} is not valid`);
}
