import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { describe, test } from 'node:test';
import { pieceBytes } from '../../../src/base/pieces.ts';
import { BodyPieces } from '../../../src/image/body-pieces.ts';

const patience = 60_000;
const unused = () => assert.fail('nothing is silent here');
const unknown = Number.NaN;

function body(): PassThrough {
  return new PassThrough({ highWaterMark: 64 * 1024 });
}

/** Bytes that say where they are. */
function content(length: number): Buffer {
  const data = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) data.writeUInt32LE(at, at);
  return data;
}

async function* read(pieces: BodyPieces): AsyncGenerator<Buffer> {
  for (let piece = await pieces.next(); piece; piece = await pieces.next()) yield piece;
}

async function write(to: PassThrough, data: Buffer, chunkBytes: number): Promise<void> {
  for (let at = 0; at < data.length; at += chunkBytes) {
    // Memory of its own, as it comes from a connection.
    if (to.write(Buffer.concat([data.subarray(at, at + chunkBytes)]))) continue;
    await new Promise((resolve) => to.once('drain', resolve));
  }
  to.end();
}

const length = 3 * pieceBytes + 1000;
const lengths = [pieceBytes, pieceBytes, pieceBytes, 1000];
const shapes = [
  { what: 'chunks of 16,000 bytes', chunk: 16_000, said: length, lengths },
  { what: 'one chunk, longer than a piece', chunk: length, said: length, lengths },
  { what: 'a length that nobody said', chunk: 65_536, said: unknown, lengths },
  { what: 'fewer bytes said than come', chunk: 65_536, said: 10, lengths: [10, ...lengths.slice(0, 3), 990] },
  { what: 'more bytes said than come', chunk: 65_536, said: length * 2, lengths },
];

describe('the pieces of a body', () => {
  for (const shape of shapes) {
    test(`are all of it: ${shape.what}`, async () => {
      const source = body();
      const data = content(length);
      const pieces = new BodyPieces(source, shape.said, patience, unused);
      const [parts] = await Promise.all([Array.fromAsync(read(pieces)), write(source, data, shape.chunk)]);
      assert.ok(Buffer.concat(parts).equals(data));
      assert.deepEqual(
        parts.map((part) => part.length),
        shape.lengths,
      );
      assert.equal(await pieces.next(), null);
    });
  }

  test('of one that is empty are none', async () => {
    const source = body();
    source.end();
    assert.equal(await new BodyPieces(source, 0, patience, unused).next(), null);
  });

  test('come with what was there before it broke, and then why', async () => {
    const source = body();
    const pieces = new BodyPieces(source, length, patience, unused);
    const first = pieces.next();
    source.write(Buffer.alloc(500, 1));
    setImmediate(() => source.destroy(new Error('the connection is gone')));
    assert.equal((await first)?.length, 500);
    await assert.rejects(pieces.next(), /the connection is gone/);
    await assert.rejects(pieces.next(), /the connection is gone/);
  });

  test('of one that is left before its end are an error, not an end', async () => {
    const source = body();
    const pieces = new BodyPieces(source, length, patience, unused);
    source.destroy();
    await assert.rejects(pieces.next(), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
  });

  test('are read ahead by one, while nobody asks', async () => {
    const source = body();
    const pieces = new BodyPieces(source, unknown, patience, unused);
    let written = 0;
    const writing = (async () => {
      for (let i = 0; i < 40; i++) {
        if (!source.write(Buffer.alloc(64 * 1024))) await new Promise((resolve) => source.once('drain', resolve));
        written++;
      }
      source.end();
    })();
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
    assert.ok(written < 12, `${written} chunks were taken`);
    const parts = await Array.fromAsync(read(pieces));
    await writing;
    assert.equal(
      parts.reduce((sum, part) => sum + part.length, 0),
      40 * 64 * 1024,
    );
  });

  test('are missed when they are awaited and nothing comes, not while nobody asks', async () => {
    const source = body();
    let silences = 0;
    const heard = Promise.withResolvers<void>();
    const pieces = new BodyPieces(source, length, 20, () => {
      silences++;
      heard.resolve();
    });
    await new Promise((resolve) => setTimeout(resolve, 60));
    assert.equal(silences, 0);
    const next = pieces.next();
    await heard.promise;
    source.destroy(new Error('it was silent'));
    await assert.rejects(next, /it was silent/);
  });
});
