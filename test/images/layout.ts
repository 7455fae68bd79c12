import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { pack } from 'tar-stream';
import { type BuiltImage, descriptor } from './image.ts';

/** Writes the images as one OCI layout archive (image-layout.md); `host` stands before every name. */
export async function writeLayout(path: string, host: string, images: readonly BuiltImage[]): Promise<void> {
  const archive = pack();
  const written = pipeline(archive, createWriteStream(path));
  const put = (name: string, data: string | Buffer) => archive.entry({ name, mtime: new Date(0) }, data);
  put('oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  const blobs = images.flatMap(({ manifest, config, layers }) => [manifest, config, ...layers]);
  for (const [digest, blob] of new Map(blobs.map((each) => [each.digest, each]))) {
    put(`blobs/${digest.replace(':', '/')}`, blob.bytes);
  }
  const manifests = images.flatMap(({ names, manifest }) =>
    names.map((name) => ({
      ...descriptor(manifest),
      annotations: {
        'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1),
        'io.containerd.image.name': `${host}/${name}`,
      },
    })),
  );
  put(
    'index.json',
    JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests }),
  );
  archive.finalize();
  await written;
}
