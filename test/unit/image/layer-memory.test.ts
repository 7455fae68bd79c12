// The memory of what a thread unpacks: it is freed, or given back, chunk by chunk. V8 would let hundreds of them wait.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { gzipSync } from 'node:zlib';
import { dropPieces, pieceBytes, takePiece } from '../../../src/base/pieces.ts';
import { WorkerRun } from '../../../src/image/layer-pool.ts';
import type { Digest } from '../../../src/model/ids.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-memory-'));
after(() => rmSync(folder, { recursive: true }));
const forever = new AbortController().signal;
const limits = { maxBytes: 2 ** 40, maxEntries: 10, maxRatio: 2 ** 40 };
const marker = Buffer.from('a piece that was here before');

/** So many of them are on their way, or kept to be filled again. */
const few = 2 * 8 + 4;
const many = 300;

type Shape = { readonly bytes: number; readonly chunk: () => Buffer };
const shapes: Readonly<Record<string, Shape>> = {
  'pieces, which come back': { bytes: pieceBytes, chunk: takePiece },
  'chunks of other lengths, which are freed': { bytes: 200 * 1024, chunk: () => Buffer.allocUnsafeSlow(200 * 1024) },
};

describe('a thread that is given', () => {
  for (const [name, { bytes, chunk }] of Object.entries(shapes)) {
    test(`${name}, keeps none of it`, { timeout: 60_000 }, async () => {
      const content = Buffer.alloc(bytes, 'x');
      marker.copy(content);
      const hash = createHash('sha256');
      for (let i = 0; i < many; i++) hash.update(content);
      const digest = `sha256:${hash.digest('hex')}` as Digest;
      const worker = new Worker(new URL('../../../src/image/layer-worker.ts', import.meta.url));
      const held: number[] = [];
      let fresh = 0;
      async function* source() {
        for (let i = 0; i < many; i++) {
          const next = chunk();
          if (!next.subarray(0, marker.length).equals(marker)) fresh++;
          content.copy(next);
          yield next;
          if (i % 20 === 19) held.push((await worker.getHeapStatistics()).external_memory);
        }
      }
      try {
        const path = mkdtempSync(join(folder, 'tree-'));
        const run = new WorkerRun(worker, 60_000);
        await run.unpack({ path, digest, diffId: digest, file: 'blob', limits }, source, forever);
      } finally {
        await worker.terminate();
        dropPieces();
      }
      const most = Math.max(...held) - held[0]!;
      assert.ok(most < few * bytes, `it held up to ${most} bytes of ${many * bytes}`);
      if (bytes === pieceBytes) assert.ok(fresh <= few, `${fresh} of ${many} pieces were new`);
    });
  }

  test('one piece that inflates to fifty megabytes, has nothing of them in the end', {
    timeout: 60_000,
  }, async () => {
    const worker = new Worker(new URL('../../../src/image/layer-worker.ts', import.meta.url));
    /** Unpacks so many bytes of no members: what is inflated is hashed, and goes. Resolves to what the thread holds then. */
    const heldAfter = async (size: number): Promise<number> => {
      const tar = Buffer.alloc(size);
      const packed = gzipSync(tar);
      const diffId = `sha256:${createHash('sha256').update(tar).digest('hex')}` as Digest;
      const path = mkdtempSync(join(folder, 'tree-'));
      const source = async function* () {
        yield Buffer.from(packed);
      };
      await new WorkerRun(worker, 60_000).unpack({ path, digest: null, diffId, limits }, source, forever);
      return (await worker.getHeapStatistics()).external_memory;
    };
    try {
      const before = await heldAfter(1 << 20); // a thread that just begins is still loading what it runs
      const left = (await heldAfter(50 << 20)) - before;
      assert.ok(left < 2 * 1024 * 1024, `${left} bytes are left of fifty megabytes`);
    } finally {
      await worker.terminate();
    }
  });
});
