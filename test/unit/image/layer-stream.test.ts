// A layer's bytes as they come: each chunk is gone once the next one is asked for.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { unpackLayer } from '../../../src/image/layer-stream.ts';
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

/** Memory of each chunk's own, spoiled and let go of as that of a piece is. */
async function* perishable(data: Buffer, length: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += length) {
    const chunk = Buffer.allocUnsafeSlow(Math.min(length, data.length - at));
    data.copy(chunk, 0, at);
    yield chunk;
    chunk.fill(0xff);
    chunk.buffer.transfer(0);
  }
}

for (const compression of ['gzip', 'zstd', 'none'] as const) {
  for (const length of [7, 1000, 20_000, 256 * 1024]) {
    test(`${compression} in chunks of ${length} bytes, none of which stays`, async () => {
      const content = noise(Math.min(900_000, 3000 * length));
      const built = layer(tar(file('a', content, { uid, gid }), file('b', 'the end', { uid, gid })), compression);
      const path = mkdtempSync(join(work, 'tree-'));
      const job = { path, digest: built.blob.digest as Digest, diffId: built.diffId as Digest, limits };
      await unpackLayer(perishable(built.blob.data, length), job);
      assert.deepEqual(readFileSync(join(path, 'a')), content);
      assert.equal(readFileSync(join(path, 'b'), 'utf8'), 'the end');
    });
  }
}
