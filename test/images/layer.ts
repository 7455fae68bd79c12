import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';

/** One entry of a layer; directories end in nothing special, `mode` defaults to 0755 for them and to 0644 for files. */
export type Entry = {
  readonly name: string;
  readonly type?: 'file' | 'directory' | 'symlink' | 'link' | 'fifo';
  readonly data?: string | Buffer;
  readonly link?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
};

export type Blob = {
  readonly digest: string;
  readonly size: number;
  readonly bytes: Buffer;
  readonly mediaType: string;
};
export type Layer = Blob & { readonly diffId: string };

/** The same on every build, so that digests are. */
const epoch = new Date('2024-01-01T00:00:00Z');

export const sha256 = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

export const blob = (mediaType: string, bytes: Buffer): Blob => ({
  digest: sha256(bytes),
  size: bytes.length,
  bytes,
  mediaType,
});

/** A gzipped tar of the entries, in their order. Equal entries give equal digests. */
export async function makeLayer(entries: readonly Entry[]): Promise<Layer> {
  const archive = pack();
  for (const entry of entries) archive.entry(headerOf(entry), entry.data ?? '');
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk as Buffer);
  const tar = Buffer.concat(chunks);
  const layer = blob('application/vnd.oci.image.layer.v1.tar+gzip', gzipSync(tar, { level: 6 }));
  return { ...layer, diffId: sha256(tar) };
}

const headerOf = ({
  name,
  type = 'file',
  link,
  mode,
  uid = 0,
  gid = 0,
}: Entry): Partial<Header> & { name: string } => ({
  name,
  type,
  ...(link === undefined ? {} : { linkname: link }),
  mode: mode ?? (type === 'directory' ? 0o755 : 0o644),
  uid,
  gid,
  mtime: epoch,
});
