// What the built C is protected by, as its ELF headers say (elf(5), the x86-64 and AArch64 ABIs).
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { nativePath } from '../../../src/sys/addon.ts';

const segmentTypes = { load: 1, dynamic: 2, stack: 0x6474e551, relro: 0x6474e552 } as const;
const flags = { executable: 1, writable: 2 } as const;
const tags = { flags: 30n, textrel: 22n, flags1: 0x6ffffffbn } as const;
const now = { flags: 8n, flags1: 1n } as const;
const pie = 0x08000000n;
const sharedObject = 3;

type Segment = { readonly type: number; readonly flags: number; readonly data: Buffer };

/** The type, the program headers with what they cover, and the entries of the dynamic section by tag. */
function readElf(path: string): { type: number; segments: Segment[]; dynamic: Map<bigint, bigint> } {
  const elf = readFileSync(path);
  assert.deepEqual([...elf.subarray(0, 6)], [0x7f, 0x45, 0x4c, 0x46, 2, 1], '64 bits, little-endian');
  const [at, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
  const segments = Array.from({ length: count }, (_, i): Segment => {
    const header = elf.subarray(at + i * size, at + (i + 1) * size);
    const offset = Number(header.readBigUInt64LE(8));
    const data = elf.subarray(offset, offset + Number(header.readBigUInt64LE(32)));
    return { type: header.readUInt32LE(0), flags: header.readUInt32LE(4), data };
  });
  const dynamic = new Map<bigint, bigint>();
  const { data } = segments.find(({ type }) => type === segmentTypes.dynamic)!;
  for (let i = 0; i < data.length; i += 16) dynamic.set(data.readBigUInt64LE(i), data.readBigUInt64LE(i + 8));
  return { type: elf.readUInt16LE(16), segments, dynamic };
}

/** The instruction that marks where an indirect branch may land: endbr64; bti c, or paciasp, which is one too. */
const landings: Partial<Record<string, readonly string[]>> = {
  x64: ['f30f1efa'],
  arm64: ['5f2403d5', '3f2303d5'],
};

function count(code: Buffer, pattern: Buffer): number {
  let found = 0;
  for (let at = code.indexOf(pattern); at >= 0; at = code.indexOf(pattern, at + 1)) found++;
  return found;
}

for (const { name, program, least } of [
  { name: 'addon.node', program: false, least: 80 },
  { name: 'berth-shim', program: true, least: 80 },
  { name: 'berth-environment', program: true, least: 1 },
  { name: 'berth-look', program: true, least: process.arch === 'arm64' ? 40 : 50 },
]) {
  const { type, segments, dynamic } = readElf(nativePath(name));
  const only = (wanted: number) => segments.filter((segment) => segment.type === wanted);

  test(`${name} lies at an address that nobody knows`, () => {
    assert.equal(type, sharedObject);
    if (program) assert.ok((dynamic.get(tags.flags1) ?? 0n) & pie, 'PIE');
    assert.equal(dynamic.has(tags.textrel), false, 'its code is not written to when it is loaded');
  });

  test(`the tables of ${name} are filled at its start and read-only from then on`, () => {
    assert.ok((dynamic.get(tags.flags) ?? 0n) & now.flags, 'BIND_NOW');
    assert.ok((dynamic.get(tags.flags1) ?? 0n) & now.flags1, 'NOW');
    assert.equal(only(segmentTypes.relro).length, 1);
  });

  test(`no memory of ${name} is both written and run, its stack neither`, () => {
    for (const segment of [...only(segmentTypes.load), ...only(segmentTypes.stack)]) {
      const both = flags.executable | flags.writable;
      assert.notEqual(segment.flags & both, both);
    }
    assert.equal(only(segmentTypes.stack).length, 1, 'without this header the kernel runs what is on the stack');
  });

  test(`functions of ${name} are marked as places to land`, { skip: !landings[process.arch] }, () => {
    const code = only(segmentTypes.load).filter((segment) => segment.flags & flags.executable);
    const marks = landings[process.arch]!.map((hex) => Buffer.from(hex, 'hex'));
    const found = code.reduce((sum, { data }) => sum + marks.reduce((all, mark) => all + count(data, mark), 0), 0);
    assert.ok(found >= least, `${found} marks`); // those of the compiler's own start files are few
  });
}
