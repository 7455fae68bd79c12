// The images that pulls are timed with, made of this host's own files so that they compress as real ones do.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type BuiltImage, type BuiltLayer, image, layer, pushImage } from '../../test/registry/images.ts';
import { dir, file, type Member, tar } from '../../test/registry/tar.ts';

const million = 1_000_000;

/** Bytes of the host's programs and libraries, one file after the other, never the same twice. */
class Material {
  readonly #paths: Iterator<string>;
  #current: Buffer = Buffer.alloc(0);

  constructor() {
    this.#paths = hostFiles(['/usr/lib', '/usr/bin', '/usr/share', '/usr/sbin', '/usr/include']);
  }

  take(length: number): Buffer {
    const parts: Buffer[] = [];
    for (let left = length; left > 0; ) {
      if (this.#current.length === 0) this.#current = this.#next();
      const part = this.#current.subarray(0, left);
      this.#current = this.#current.subarray(part.length);
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  }

  #next(): Buffer {
    const { value, done } = this.#paths.next();
    if (done) throw new Error('This host has too few files to make the images of');
    return readFileSync(value);
  }
}

function* hostFiles(roots: readonly string[]): Generator<string> {
  for (const root of roots) {
    for (const entry of readdirSync(root, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(root, entry.name);
      if (entry.isDirectory()) yield* hostFiles([path]);
      else if (entry.isFile() && statSync(path).size < 200 * million) yield path;
    }
  }
}

/** 22 MB in files of 1 to 8 MB. */
function largeLayer(material: Material, index: number, compression?: 'gzip' | 'zstd'): BuiltLayer {
  const sizes = [8, 5, 4, 2, 1, 1, 1].map((size) => size * million);
  const files = sizes.map((size, at) => file(`opt/large-${index}-${at}`, material.take(size)));
  return layer(tar(dir('opt'), ...files), compression);
}

/** 154 MB in 7 layers. */
const largeFiles = (material: Material, compression?: 'gzip' | 'zstd'): BuiltImage =>
  image(Array.from({ length: 7 }, (_, index) => largeLayer(material, index, compression)));

/** Two images with the first five layers of seven in common; the other two are each's own. */
function sharing(material: Material): BuiltImage[] {
  const common = Array.from({ length: 5 }, (_, index) => largeLayer(material, index));
  return [5, 7].map((from) => image([...common, largeLayer(material, from), largeLayer(material, from + 1)]));
}

/** Ten images of two layers each, 22 MB and ten files, which have nothing in common. */
const ten = (material: Material): BuiltImage[] =>
  Array.from({ length: 10 }, (_, index) =>
    image([
      layer(
        tar(dir('etc'), ...Array.from({ length: 10 }, (_item, at) => file(`etc/${index}-${at}`, material.take(5000)))),
      ),
      largeLayer(material, index),
    ]),
  );

/** 20,000 files of up to 8 KB in 400 directories, one layer. */
function smallFiles(material: Material): BuiltImage {
  const members: Member[] = [dir('srv')];
  for (let folder = 0; folder < 400; folder++) {
    members.push(dir(`srv/package-${folder}`));
    for (let at = 0; at < 50; at++) {
      members.push(
        file(`srv/package-${folder}/file-${at}.js`, material.take(200 + (((folder * 50 + at) * 977) % 8000))),
      );
    }
  }
  return image([layer(tar(...members))]);
}

/** 500 MB in files of 10 MB, one layer. */
const oneLayer = (material: Material): BuiltImage =>
  image([
    layer(tar(dir('data'), ...Array.from({ length: 50 }, (_, at) => file(`data/${at}`, material.take(10 * million))))),
  ]);

/** 60 layers of ten files each, one of which the next layer replaces. */
const manyLayers = (material: Material): BuiltImage =>
  image(
    Array.from({ length: 60 }, (_, index) =>
      layer(
        tar(
          dir('etc'),
          file('etc/version', `${index}\n`),
          dir(`opt-${index}`),
          ...Array.from({ length: 9 }, (_item, at) => file(`opt-${index}/${at}`, material.take(50_000))),
        ),
      ),
    ),
  );

/** What makes the images of each repository: the one, or several, tagged v1, v2 and so on. */
const makers = {
  'large-files': (material) => [largeFiles(material)],
  'small-files': (material) => [smallFiles(material)],
  'one-layer': (material) => [oneLayer(material)],
  'many-layers': (material) => [manyLayers(material)],
  zstd: (material) => [largeFiles(material, 'zstd')],
  sharing,
  ten,
} satisfies Readonly<Record<string, (material: Material) => BuiltImage[]>>;

export type PullRepository = keyof typeof makers;

/** Makes and pushes those of `names` that the registry at `host` does not have yet. */
export async function pushPullImages(host: string, names: ReadonlySet<PullRepository>): Promise<void> {
  for (const name of names) {
    const repository = `bench/${name}`;
    const there = await fetch(`http://${host}/v2/${repository}/tags/list`);
    if (there.ok) continue;
    for (const [index, built] of makers[name](new Material()).entries())
      await pushImage({ host, repository }, `v${index + 1}`, built);
  }
}
