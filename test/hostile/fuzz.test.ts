// Random damage to everything that strangers write. Each target runs for a second, or for BERTH_FUZZ_SECONDS; the seed
// of a finding is in its message: BERTH_FUZZ_SEED runs it again.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { Fault } from '../../src/base/fault.ts';
import { parseChallenges } from '../../src/image/challenge.ts';
import { endpointsFor } from '../../src/image/hosts.ts';
import { parseImageRecord } from '../../src/image/image-record.ts';
import { unpackLayer } from '../../src/image/layer-stream.ts';
import { choosePlatform, hostPlatform, parseConfig, parseManifest } from '../../src/image/manifest.ts';
import { canonical, parseReference } from '../../src/image/reference.ts';
import { retryAfterMs } from '../../src/image/registry.ts';
import { TarReader } from '../../src/image/tar.ts';
import { parseDigest } from '../../src/model/ids.ts';
import { removeTree } from '../../src/sys/files.ts';
import { digestWith, image, layer, ociIndex, ociManifest } from '../registry/images.ts';
import { dir, file, hardlink, symlink, tar } from '../registry/tar.ts';
import { describeTree } from '../registry/tree.ts';

const milliseconds = Number(process.env.BERTH_FUZZ_SECONDS ?? 1) * 1000;
const firstSeed = Number(process.env.BERTH_FUZZ_SEED ?? Date.now() % 1e9);

/** mulberry32: small, and the same everywhere. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}
type Random = ReturnType<typeof randomFrom>;

const algorithms = ['sha256', 'sha512'] as const;
const pick = <T>(random: Random, from: readonly T[]): T => from[random(from.length)]!;

let work = '';
before(() => {
  work = mkdtempSync(join(tmpdir(), 'berth-fuzz-'));
});
after(() => removeTree(work));

/** Runs `once` with new seeds until the time is up. A Fault is an answer; anything else is a finding. */
async function fuzz(once: (random: Random) => unknown): Promise<number> {
  const end = performance.now() + milliseconds;
  let runs = 0;
  for (let seed = firstSeed; runs === 0 || (performance.now() < end && !process.env.BERTH_FUZZ_SEED); seed++, runs++) {
    try {
      await once(randomFrom(seed));
    } catch (error) {
      if (error instanceof Fault && error.kind !== 'Internal') continue;
      throw new Error(`BERTH_FUZZ_SEED=${seed}`, { cause: error });
    }
  }
  return runs;
}

const interesting = [0, 1, 0x20, 0x2f, 0x2e, 0x30, 0x37, 0x7f, 0x80, 0xff];

/** Flips, overwrites, repeats, removes or moves a few pieces. */
function damaged(data: Buffer, random: Random, most = 6): Buffer {
  let result = Buffer.from(data);
  for (let left = 1 + random(most); left > 0 && result.length > 0; left--) {
    const at = random(result.length);
    const length = 1 + random(Math.min(600, result.length - at));
    switch (random(6)) {
      case 0:
        result[at]! ^= 1 << random(8);
        break;
      case 1:
        result[at] = interesting[random(interesting.length)]!;
        break;
      case 2:
        result.fill(interesting[random(interesting.length)]!, at, at + Math.min(length, 12));
        break;
      case 3:
        result = Buffer.concat([result.subarray(0, at), result.subarray(at + length)]);
        break;
      case 4:
        result = Buffer.concat([result.subarray(0, at + length), result.subarray(at)]);
        break;
      default:
        result = result.subarray(0, at);
    }
  }
  return result;
}

const capability = Buffer.from('0100000200240000000000000000000000000000', 'hex');
const sparse = { 'GNU.sparse.map': '0,2,10,2', 'GNU.sparse.size': '20' };
const archive = tar(
  dir('d', { mode: 0o1777 }),
  file('d/a', 'content', { pax: { 'SCHILY.xattr.security.capability': capability, mtime: '1.5' } }),
  file('d/large', Buffer.alloc(140_000, 'x')),
  file('s', 'abcd', { pax: sparse }),
  symlink('l', 'd'),
  file('l/through', 'y'),
  hardlink('h', 'd/a'),
  file('d/.wh.gone'),
  file('e/.wh..wh..opq'),
  { name: 'node', type: '3', major: 1, minor: 3 },
  file(`${'long/'.repeat(30)}name`, 'z'),
);

/** Damages headers and seals them again, so that the damage gets past the checksum. */
function damagedArchive(random: Random): Buffer {
  const result = damaged(archive, random, 3);
  for (let at = 0; at + 512 <= result.length; at += 512) {
    if (result.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
    if (random(4) === 0) result[at + random(512)] = interesting[random(interesting.length)]!;
    result.fill(0x20, at + 148, at + 156);
    let sum = 0;
    for (let i = 0; i < 512; i++) sum += result[at + i]!;
    result.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
  }
  return result;
}

test('tar: entries or a Fault, and every write belongs to an entry', async () => {
  await fuzz((random) => {
    let open = false;
    const reader = new TarReader({
      entry: (entry, content) => {
        assert.equal(open, false);
        open = content === null && entry.type === 'file';
      },
      write: (data, position) => assert.ok(open && data.length > 0 && position >= 0 && Number.isSafeInteger(position)),
      end: () => {
        assert.ok(open);
        open = false;
      },
    });
    const data = damagedArchive(random);
    for (let at = 0; at < data.length; ) {
      const length = 1 + random(2000);
      reader.push(data.subarray(at, at + length));
      at += length;
    }
    reader.finish();
  });
});

test('layers: a tree inside its root or a Fault, however they are packed and damaged', async () => {
  const outside = join(work, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'tripwire'), 'untouched');
  const before_ = JSON.stringify(describeTree(outside));
  let serial = 0;
  await fuzz(async (random) => {
    const content = damagedArchive(random);
    const half = random(content.length);
    const parts = [content.subarray(0, half), content.subarray(half)];
    const pack = [
      () => content,
      () => Buffer.concat(parts.map((part) => gzipSync(part))),
      () => Buffer.concat(parts.map((part) => zstdCompressSync(part))),
      () => damaged(gzipSync(content), random),
      () => damaged(zstdCompressSync(content), random),
    ][random(5)]!;
    const data = pack();
    const path = join(work, `layer-${serial++}`);
    mkdirSync(path);
    const diffId = parseDigest(digestWith(pick(random, algorithms), content));
    const digest = random(2) === 0 ? null : parseDigest(digestWith(pick(random, algorithms), data));
    const limits = { maxBytes: 10_000_000, maxEntries: 10_000, maxRatio: 200 };
    async function* chunks() {
      for (let at = 0; at < data.length; ) {
        const length = 1 + random(50_000);
        yield data.subarray(at, at + length);
        at += length;
      }
    }
    try {
      await unpackLayer(chunks(), { path, digest, diffId, limits });
    } finally {
      await removeTree(path);
    }
  });
  assert.equal(JSON.stringify(describeTree(outside)), before_);
});

const pieces = [
  'a',
  'A',
  'docker.io',
  '/',
  ':',
  '@',
  'sha256:',
  'sha512:',
  'f'.repeat(64),
  '.',
  '_',
  '__',
  '-',
  '5000',
  '[::1]',
  'ü',
  '\n',
  '%',
  '..',
  'localhost',
];
const textOf = (random: Random, from: readonly string[], most: number): string =>
  Array.from({ length: random(most) }, () => from[random(from.length)]!).join('');

test('references: what is accepted means the same when it is read again', async () => {
  await fuzz((random) => {
    const reference = parseReference(textOf(random, pieces, 9));
    assert.deepEqual(parseReference(canonical(reference)), {
      ...reference,
      tag: reference.digest ? '' : reference.tag,
    });
    assert.match(canonical(reference), /^[\x21-\x7e]{1,1100}$/);
    assert.doesNotMatch(canonical(reference), /(^|\/)\.\.?(\/|$)/);
  });
});

const header = [
  'Bearer',
  'Basic',
  ' ',
  '=',
  '"',
  ',',
  '\\',
  'realm',
  'https://x',
  'scope',
  '\t',
  'é',
  '\0',
  'a'.repeat(50),
];
test('WWW-Authenticate and Retry-After: challenges and waits of sane size', async () => {
  await fuzz((random) => {
    const text = textOf(random, header, 40);
    for (const { scheme, parameters } of parseChallenges(text)) {
      assert.match(scheme, /^[!-~]+$/);
      for (const [name, value] of parameters) assert.ok(name.length > 0 && value.length <= text.length);
    }
    const wait = retryAfterMs(
      textOf(random, ['1', '0', '9', '-', '.', 'e', ' ', 'Mon', 'Jan', '2030', ':'], 12),
      1,
      Date.now(),
    );
    assert.ok(wait >= 0 && wait <= 30_000, String(wait));
  });
});

const good = image([layer(tar(file('a')))]);
const documents = [
  good.manifest.data,
  good.config.data,
  Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: ociIndex,
      manifests: [{ mediaType: ociManifest, digest: good.manifest.digest, size: 3, platform: good.platform }],
    }),
  ),
];
const values = [
  'null',
  '[]',
  '{}',
  '-1',
  '1e400',
  '"sha256:../x"',
  `"sha512:${'0f'.repeat(64)}"`,
  '"sha512:/x"',
  '"\\u0000"',
  'true',
  '{"__proto__":1}',
  '[[]]',
  '0.5',
];

/** A JSON document with some values replaced, or damaged as bytes. */
function damagedJson(random: Random): Buffer {
  const data = documents[random(documents.length)]!;
  if (random(3) === 0) return damaged(data, random);
  const text = data
    .toString()
    .replace(/"(?:[^"\\]|\\.)*"(?!:)|\b\d+\b/g, (value) => (random(8) === 0 ? values[random(values.length)]! : value));
  return Buffer.from(text);
}

test('manifests, configs and records: typed values or a Fault', async () => {
  await fuzz((random) => {
    const data = damagedJson(random);
    const attempt = <T>(work_: () => T): T | null => {
      try {
        return work_();
      } catch (error) {
        if (error instanceof Fault) return null;
        throw error;
      }
    };
    const manifest = attempt(() => parseManifest(data, [ociManifest, ociIndex, ''][random(3)]!));
    const descriptors =
      manifest?.kind === 'manifest' ? [manifest.config, ...manifest.layers] : (manifest?.manifests ?? []);
    for (const { digest, size } of descriptors) {
      assert.match(digest, /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/);
      assert.ok(Number.isSafeInteger(size) && size >= 0);
    }
    if (manifest?.kind === 'index') attempt(() => choosePlatform(manifest, hostPlatform()));
    const parsed = attempt(() => parseConfig(data));
    for (const list of parsed ? [parsed.config.env, parsed.config.cmd, parsed.config.volumes, parsed.diffIds] : []) {
      for (const item of list) assert.equal(typeof item, 'string');
    }
    // A record that does not parse goes to quarantine by whatever it throws, but must not hang or pollute.
    try {
      parseImageRecord(JSON.parse(data.toString()));
    } catch (error) {
      assert.ok(error instanceof Error);
    }
    assert.equal(({} as Record<string, unknown>)[1], undefined);
  });
});

const toml = Buffer.from(
  'server = "https://a.example"\n[host."https://m.example"]\ncapabilities = ["pull"]\ndial_timeout = "1m30s"\n[host."https://m.example".header]\nx = ["y"]\n',
);
test('hosts.toml: endpoints or a Fault that names the file', async () => {
  mkdirSync(join(work, 'a.example'));
  const path = join(work, 'a.example/hosts.toml');
  await fuzz(async (random) => {
    writeFileSync(path, damaged(toml, random));
    try {
      for (const { base } of await endpointsFor('a.example', work)) assert.match(base.protocol, /^https?:$/);
    } catch (error) {
      if (error instanceof Fault) assert.ok(error.message.includes(path), error.message);
      throw error;
    }
  });
  assert.ok(readFileSync(path));
});
