// The C side of the protocol: the generated readers and writers, built with sanitizers and fed frames.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import { samples } from './samples.ts';

const root = join(import.meta.dirname, '../../..');
const golden: Record<string, string> = JSON.parse(
  readFileSync(join(import.meta.dirname, 'frames.golden.json'), 'utf8'),
);

/** What C reads of each frame, written again. A read out of bounds ends the program, and so fails the call. */
function throughC(frames: readonly string[]): string[] {
  const output = execFileSync(join(root, 'native/build/shim-golden'), { input: frames.map((f) => `${f}\n`).join('') });
  return output.toString().trimEnd().split('\n');
}

/** The frame with another body, and the length that goes with it. */
function reframe(hex: string, bytes: number, after = ''): string {
  const body = hex.slice(8, 8 + 2 * bytes) + after;
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length / 2);
  return length.toString('hex') + body;
}

describe('protocol.h', () => {
  before(() => execFileSync('make', ['-s', '-C', join(root, 'native'), 'golden'], { stdio: 'inherit' }));

  test('is what the table gives', () => {
    execFileSync(process.execPath, [join(root, 'scripts/gen-shim-header.ts'), '--check'], { stdio: 'inherit' });
  });
  test('reads and writes every golden frame', () => {
    const frames = samples.map(({ name }) => golden[name]!);
    assert.deepEqual(throughC(frames), frames);
  });
  test('ignores what follows the last known field', () => {
    assert.deepEqual(throughC([reframe(golden.signal!, golden.signal!.length / 2 - 4, 'ffffffff')]), [golden.signal]);
  });
  test('gives missing fields their defaults', () => {
    const [again] = throughC([reframe(golden.hello!, 6)]);
    assert.equal(again, '0a00000001000100000000000000');
  });
  test('refuses or completes a frame cut anywhere, and never reads beyond it', () => {
    const cut = samples.flatMap(({ name }) => {
      const size = golden[name]!.length / 2 - 4;
      return Array.from({ length: size - 6 }, (_, i) => reframe(golden[name]!, 6 + i));
    });
    assert.equal(throughC(cut).length, cut.length);
  });
  const bad: { name: string; hex: string }[] = [
    { name: 'half a number', hex: '080000000100010000000100' },
    { name: 'a truth value of 2', hex: '070000000c000100000002' },
    { name: 'text beyond the frame', hex: '0a0000000a0001000000ffffffff' },
    { name: 'text without its NUL', hex: '0c0000000a0001000000020000006331' },
    { name: 'text with another end', hex: '0d0000000a000100000002000000633101' },
    { name: 'text with a NUL inside', hex: '0d0000000a000100000002000000630000' },
    { name: 'more strings than bytes', hex: '0a000000040001000000ffffffff' },
  ];
  for (const { name, hex } of bad) {
    test(`refuses ${name}`, () => assert.deepEqual(throughC([hex]), ['malformed']));
  }
});
