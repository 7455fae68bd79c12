import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { maxToDaemon, maxToShim, messages } from '../../../proto/shim.ts';
import { isFault } from '../../../src/base/fault.ts';
import type { Decoded } from '../../../src/shim/codec.ts';
import { decode, encode, FrameReader } from '../../../src/shim/codec.ts';
import { samples } from './samples.ts';

const golden: Record<string, string> = JSON.parse(
  readFileSync(join(import.meta.dirname, 'frames.golden.json'), 'utf8'),
);
const frameOf = (name: string): Buffer => Buffer.from(golden[name]!, 'hex');
const isMalformed = (error: unknown) => isFault(error, 'DataLoss') && /malformed/.test(error.message);
const isInvalid = (error: unknown) => isFault(error, 'InvalidArgument');

describe('golden frames', () => {
  test('there is a sample of every message', () => {
    assert.deepEqual(samples.map(({ name }) => name).sort(), Object.keys(messages).sort());
  });
  for (const sample of samples) {
    test(sample.name, () => {
      assert.equal(encode(sample.name, sample.request, sample.fields as never).toString('hex'), golden[sample.name]);
      const decoded = decode(frameOf(sample.name).subarray(4)) as Decoded;
      assert.deepEqual({ ...decoded, fields: { ...decoded.fields } }, sample);
    });
  }
});

describe('version skew', () => {
  test('what follows the last known field is ignored', () => {
    const longer = Buffer.concat([frameOf('signal').subarray(4), Buffer.from('ffffffff', 'hex')]);
    assert.deepEqual(
      decode(longer),
      samples.find(({ name }) => name === 'signal'),
    );
  });
  test('fields that the frame ends before have their defaults', () => {
    const short = frameOf('sandbox').subarray(4, 10 + 4);
    const { fields } = decode(short) as Extract<Decoded, { name: 'sandbox' }>;
    assert.equal(fields.network, true);
    assert.deepEqual(fields.sysctls, []);
    assert.equal(fields.hostname, '');
    assert.equal(fields.oomScoreAdj, 0);
  });
  test('a message with an unknown number is null', () => {
    assert.equal(decode(Buffer.from('ff7f00000000', 'hex')), null);
  });
});

describe('garbage in', () => {
  const cases: { name: string; hex: string }[] = [
    { name: 'no header', hex: '01' },
    { name: 'half a request id', hex: '01000100' },
    { name: 'half a number', hex: '0100010000000100' },
    { name: 'a truth value of 2', hex: '0c000100000002' },
    { name: 'text beyond the frame', hex: '0a0001000000ffffffff' },
    { name: 'text without its NUL', hex: '0a0001000000020000006331' },
    { name: 'text with another end', hex: '0a000100000002000000633101' },
    { name: 'text with a NUL inside', hex: '0a000100000002000000630000' },
    { name: 'more strings than bytes', hex: '040001000000ffffffff' },
    { name: 'a number beyond 2^53', hex: encodeLost().toString('hex') },
  ];
  for (const { name, hex } of cases) {
    test(name, () => assert.throws(() => decode(Buffer.from(hex, 'hex')), isMalformed));
  }
  test('a truncated frame is refused or has defaults, wherever it is cut', () => {
    for (const { name } of samples) {
      const frame = frameOf(name).subarray(4);
      for (let end = 0; end < frame.length; end++) {
        try {
          decode(frame.subarray(0, end));
        } catch (error) {
          assert.ok(isMalformed(error), `${name} cut at ${end}: ${error}`);
        }
      }
    }
  });
});

function encodeLost(): Buffer {
  const frame = frameOf('entry').subarray(4);
  frame.writeBigUInt64LE(2n ** 53n, frame.length - 12);
  return frame;
}

describe('what cannot be sent', () => {
  test('text with a NUL', () => assert.throws(() => encode('forget', 1, { key: 'a\0b' }), isInvalid));
  test('a number out of range', () => assert.throws(() => encode('cancel', 1, { request: 2 ** 32 }), isInvalid));
  test('a frame beyond the bound', () => {
    const fields = { ...samples.find((sample) => sample.name === 'run')!.fields, stdin: Buffer.alloc(maxToShim) };
    assert.throws(() => encode('run', 1, fields), isInvalid);
  });
});

describe('FrameReader', () => {
  const stream = Buffer.concat(samples.map(({ name }) => frameOf(name)));
  for (const size of [1, 2, 3, 5, 7, 64, stream.length]) {
    test(`chunks of ${size}`, () => {
      const reader = new FrameReader();
      const frames: Buffer[] = [];
      for (let at = 0; at < stream.length; at += size) frames.push(...reader.push(stream.subarray(at, at + size)));
      assert.deepEqual(
        frames.map((frame) => decode(frame)?.name),
        samples.map(({ name }) => name),
      );
    });
  }
  for (const length of [0, 5, maxToDaemon + 1, 0xffffffff]) {
    test(`a length of ${length} is refused`, () => {
      const head = Buffer.alloc(4);
      head.writeUInt32LE(length);
      assert.throws(() => new FrameReader().push(head), isMalformed);
    });
  }
});
