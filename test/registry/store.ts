// A snapshot store and the images in it, in a directory of their own.
import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ImageSettings, type Images, openImages } from '../../src/image/index.ts';
import { openSnapshots, type Snapshots } from '../../src/snapshot/index.ts';
import { removeTree } from '../../src/sys/files.ts';
import { isMountPoint, unmount } from '../../src/sys/mounts.ts';

export class Store implements AsyncDisposable {
  readonly root = mkdtempSync(join(tmpdir(), 'berth-images-'));
  readonly target = join(this.root, 'mnt');
  readonly certsDir = join(this.root, 'certs.d');
  snapshots!: Snapshots;
  images!: Images;
  readonly #more: Partial<ImageSettings>;

  private constructor(more: Partial<ImageSettings>) {
    this.#more = more;
  }

  static async open(more: Partial<ImageSettings> = {}): Promise<Store> {
    const store = new Store(more);
    mkdirSync(store.target);
    mkdirSync(store.certsDir);
    await store.reopen();
    return store;
  }

  /** As after a restart of the daemon. */
  async reopen(): Promise<void> {
    await this.images?.close();
    this.snapshots = await openSnapshots(join(this.root, 'v1/snapshots'));
    const platform = { os: 'linux', architecture: 'amd64', variant: '' };
    // A test that shortens one of the two silences means both.
    const firstByte = this.#more.progressTimeoutMs ? { firstByteTimeoutMs: this.#more.progressTimeoutMs } : {};
    const settings = { dataDir: join(this.root, 'v1'), certsDir: this.certsDir, platform, ...firstByte, ...this.#more };
    this.images = await openImages(settings, this.snapshots);
  }

  hosts(name: string, toml: string): void {
    mkdirSync(join(this.certsDir, name), { recursive: true });
    writeFileSync(join(this.certsDir, name, 'hosts.toml'), toml);
  }

  /** Pulls without credentials. */
  pull(reference: string, signal?: AbortSignal) {
    return this.images.pull({ reference, auth: null }, signal);
  }

  /** Mounts an image read-only and gives its root. */
  async mount(nameOrId: string): Promise<string> {
    const image = this.images.find(nameOrId);
    if (!image) throw new Error(`no image ${nameOrId}`);
    this.unmount();
    await this.snapshots.mountReadOnly(image.layers.at(-1)!, this.target);
    return this.target;
  }

  unmount(): void {
    while (isMountPoint(this.target)) unmount(this.target);
  }

  /** Everything the store holds: snapshots, stages, records, temporary files. */
  leftovers(): string[] {
    const folders = ['v1/snapshots', 'v1/images', 'v1/documents'];
    const list = (path: string) => readdirSync(join(this.root, path)).map((name) => `${path}/${name}`);
    return [...list('v1'), ...folders.flatMap(list)].filter((path) => !folders.includes(path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    while (isMountPoint(this.target)) unmount(this.target, { detach: true });
    await this.images.close();
    await removeTree(this.root);
  }
}
