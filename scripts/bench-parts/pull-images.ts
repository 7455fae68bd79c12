// The images that pulls are timed with, made of this host's own files so that they compress as real ones do.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type BuiltImage, image, layer, pushImage } from '../../test/registry/images.ts';
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

/** 154 MB in 7 layers: files of 1 to 8 MB. */
function largeFiles(material: Material): BuiltImage {
  const layers = Array.from({ length: 7 }, (_, index) => {
    const sizes = [8, 5, 4, 2, 1, 1, 1].map((size) => size * million);
    return layer(tar(dir('opt'), ...sizes.map((size, at) => file(`opt/large-${index}-${at}`, material.take(size)))));
  });
  return image(layers);
}

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

export const pullImages: Readonly<Record<string, { readonly make: (material: Material) => BuiltImage; what: string }>> =
  {
    'large-files': { make: largeFiles, what: '154 MB in 7 layers' },
    'small-files': { make: smallFiles, what: '20,000 small files' },
    'one-layer': { make: oneLayer, what: 'one layer of 500 MB' },
    'many-layers': { make: manyLayers, what: '60 layers' },
  };

/** Makes and pushes those of `names` that the registry at `host` does not have yet. */
export async function pushPullImages(host: string, names: readonly string[]): Promise<void> {
  let material: Material | null = null;
  for (const repository of names) {
    const { make } = pullImages[repository]!;
    const there = await fetch(`http://${host}/v2/bench/${repository}/tags/list`);
    if (there.ok) continue;
    material ??= new Material();
    await pushImage({ host, repository: `bench/${repository}` }, 'v1', make(material));
  }
}
