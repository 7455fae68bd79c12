// A layer's bytes as they come: each piece is gone once it was taken.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { letGoWhole } from '../../../src/base/let-go.ts';
import { type BlobPieces, unpackLayer } from '../../../src/image/layer-stream.ts';
import type { Digest } from '../../../src/model/ids.ts';
import { layer } from '../../registry/images.ts';
import { file, tar } from '../../registry/tar.ts';

const work = mkdtempSync(join(tmpdir(), 'berth-stream-'));
after(() => rmSync(work, { recursive: true }));

/** Bytes that do not compress, so that what comes in is as long as what goes out. */
const noise = (length: number): Buffer => {
  const parts = Array.from({ length: Math.ceil(length / 32) }, (_, i) => createHash('sha256').update(`${i}`).digest());
  return Buffer.concat(parts).subarray(0, length);
};

const [uid, gid] = [process.getuid!(), process.getgid!()];
const limits = { maxBytes: 2 ** 20, maxEntries: 10, maxRatio: 200 };

/** Memory of each piece's own, spoiled and let go of, as a piece's is, once it was taken. */
class Perishable implements BlobPieces {
  readonly #data: Buffer;
  readonly #length: number;
  takenBytes = 0;

  constructor(data: Buffer, length: number) {
    this.#data = data;
    this.#length = length;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for (let at = 0; at < this.#data.length; at += this.#length) {
      const piece = Buffer.allocUnsafeSlow(Math.min(this.#length, this.#data.length - at));
      this.#data.copy(piece, 0, at);
      yield piece;
    }
  }

  taken(piece: Uint8Array<ArrayBuffer>): void {
    this.takenBytes += piece.length;
    piece.fill(0xff);
    letGoWhole(piece);
  }
}

for (const compression of ['gzip', 'zstd', 'none'] as const) {
  for (const length of [7, 1000, 20_000, 256 * 1024]) {
    test(`${compression} in pieces of ${length} bytes, none of which stays`, async () => {
      const content = noise(Math.min(900_000, 3000 * length));
      const built = layer(tar(file('a', content, { uid, gid }), file('b', 'the end', { uid, gid })), compression);
      const path = mkdtempSync(join(work, 'tree-'));
      const job = { path, digest: built.blob.digest as Digest, diffId: built.diffId as Digest, limits };
      const source = new Perishable(built.blob.data, length);
      await unpackLayer(source, job);
      assert.equal(source.takenBytes, built.blob.data.length);
      assert.deepEqual(readFileSync(join(path, 'a')), content);
      assert.equal(readFileSync(join(path, 'b'), 'utf8'), 'the end');
    });
  }
}
