// Layers unpacked by Berth and by umoci, beside a tripwire that neither may touch.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Fault, messageOf } from '../../src/base/fault.ts';
import { removeTree } from '../../src/sys/files.ts';
import { program, run } from '../images/run.ts';
import { image, layer, writeLayout } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { describeTree, type Facts } from '../registry/tree.ts';

export type Outcome = {
  /** What Berth makes of it, or the message with which it refuses. */
  readonly ours: Facts | string;
  /** True: something outside the root changed. */
  readonly escaped: boolean;
  /** What a refused image left in the store. */
  readonly leftovers: readonly string[];
};

/** A store, and a directory outside that hostile layers try to reach. */
export class LayerBench implements AsyncDisposable {
  readonly #work = mkdtempSync(join(tmpdir(), 'berth-hostile-'));
  readonly outside = join(this.#work, 'outside');
  readonly #store: Store;
  #serial = 0;

  private constructor(store: Store) {
    this.#store = store;
  }

  /** `inOrderOnly`: every layer is unpacked as one whose meaning is in doubt. */
  static async open({ inOrderOnly = false } = {}): Promise<LayerBench> {
    return new LayerBench(await Store.open({ maxParallelLayers: 1, inOrderOnly }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store[Symbol.asyncDispose]();
    await removeTree(this.#work);
  }

  /** @throws what is neither a tree nor a Fault. */
  async unpack(layers: readonly Buffer[]): Promise<Outcome> {
    const layout = this.#write(layers);
    const tripwire = this.#setTripwire();
    const ours = await this.#ours(layout, describeTree);
    const escaped = JSON.stringify(describeTree(this.outside)) !== tripwire;
    return { ours, escaped, leftovers: this.#store.leftovers() };
  }

  /** The same layers, by both; umoci works meanwhile. @throws what is neither a tree nor a Fault. */
  async compare(layers: readonly Buffer[]): Promise<Outcome & { readonly theirs: Facts | string }> {
    const theirs = umoci(this.#write(layers), join(this.#work, `bundle-${this.#serial}`), describeTree);
    return { ...(await this.unpack(layers)), theirs: await theirs };
  }

  /**
   * The same layers as `read` sees their trees, or the messages of whoever refuses them. Cheap: for many of them.
   * @throws what is neither a tree nor a Fault.
   */
  async glance<T>(
    layers: readonly Buffer[],
    read: (root: string) => T,
    { withUmoci }: { readonly withUmoci: boolean },
  ): Promise<{ readonly ours: T | string; readonly theirs: T | string | null }> {
    const layout = this.#write(layers);
    const bundle = join(this.#work, `bundle-${this.#serial}`);
    try {
      const theirs = withUmoci ? umoci(layout, bundle, read) : null;
      return { ours: await this.#ours(layout, read), theirs: await theirs };
    } finally {
      await removeTree(layout);
      await removeTree(bundle);
    }
  }

  /** Returns the folder with the image's layout. */
  #write(layers: readonly Buffer[]): string {
    const layout = join(this.#work, `layout-${this.#serial++}`);
    writeLayout(layout, { app: image(layers.map((content) => layer(content, 'none'))) });
    return layout;
  }

  async #ours<T>(layout: string, read: (root: string) => T): Promise<T | string> {
    try {
      const [loaded] = await this.#store.images.load(layout);
      const tree = read(await this.#store.mount(loaded!.id));
      this.#store.unmount();
      await this.#store.images.remove(loaded!.id, () => false);
      return tree;
    } catch (error) {
      if (error instanceof Fault && error.kind !== 'Internal') return error.message;
      throw error;
    }
  }

  #setTripwire(): string {
    rmSync(this.outside, { recursive: true, force: true });
    mkdirSync(join(this.outside, 'directory'), { recursive: true });
    writeFileSync(join(this.outside, 'tripwire'), 'untouched');
    writeFileSync(join(this.outside, 'directory/inside'), 'untouched');
    return JSON.stringify(describeTree(this.outside));
  }
}

async function umoci<T>(layout: string, bundle: string, read: (root: string) => T): Promise<T | string> {
  try {
    await run(program('umoci', 'umoci'), ['unpack', '--image', `${layout}:app`, bundle]);
    return read(join(bundle, 'rootfs'));
  } catch (error) {
    return `umoci: ${messageOf(error).trim().split('\n').at(-1)}`;
  }
}

/** The names that differ, and how. The root's time is nobody's to say: no layer describes it. */
export function differences(ours: Facts, theirs: Facts): string[] {
  const [mine, others] = [comparable(ours), comparable(theirs)];
  const names = new Set([...mine.keys(), ...others.keys()]);
  return [...names]
    .filter((name) => mine.get(name) !== others.get(name))
    .map((name) => `${name || '/'}: ours ${mine.get(name)}, umoci ${others.get(name)}`);
}

function comparable(facts: Facts): Map<string, string> {
  const named = new Map<unknown, number>();
  for (const { same } of Object.values(facts)) if (same !== undefined) named.set(same, (named.get(same) ?? 0) + 1);
  return new Map(
    Object.entries(facts).map(([name, { mtime, same, ...rest }]) => {
      // Of two names, one hidden by an upper layer, overlayfs still counts both.
      const linked = (named.get(same) ?? 0) > 1 ? { same } : {};
      return [name, JSON.stringify({ ...rest, ...(name === '' ? {} : { mtime }), ...linked })];
    }),
  );
}
