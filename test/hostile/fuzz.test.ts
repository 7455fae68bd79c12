// Random damage to everything that strangers write; see fuzz-support.ts for how long and how to run a finding again.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { Fault } from '../../src/base/fault.ts';
import { parseChallenges } from '../../src/image/challenge.ts';
import { endpointsFor } from '../../src/image/hosts.ts';
import { parseImageRecord } from '../../src/image/image-record.ts';
import { isDoubt } from '../../src/image/layer-form.ts';
import { joinLayer } from '../../src/image/layer-join.ts';
import { unpackLayer } from '../../src/image/layer-stream.ts';
import { parseConfig, parseManifest, platformChoices } from '../../src/image/manifest.ts';
import { hostPlatform } from '../../src/image/platform.ts';
import { canonical, parseReference } from '../../src/image/reference.ts';
import { retryAfterMs } from '../../src/image/retry-after.ts';
import { TarReader } from '../../src/image/tar.ts';
import { parseDigest } from '../../src/model/ids.ts';
import { removeTree } from '../../src/sys/files.ts';
import { ownHost } from '../harness/own-host.ts';
import { digestWith, image, layer, ociIndex, ociManifest, sha256 } from '../registry/images.ts';
import { dir, file, hardlink, symlink, tar } from '../registry/tar.ts';
import { describeTree } from '../registry/tree.ts';
import { damaged, fuzz, interesting, pick, type Random } from './fuzz-support.ts';

await ownHost();

const algorithms = ['sha256', 'sha512'] as const;

let work = '';
before(() => {
  work = mkdtempSync(join(tmpdir(), 'berth-fuzz-'));
});
after(() => removeTree(work));

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
    const job = { path, digest, diffId, limits };
    try {
      await unpackLayer(chunks(), random(2) === 0 ? job : { ...job, lowers: [] });
    } catch (error) {
      if (!isDoubt(error)) throw error;
    } finally {
      await removeTree(path);
    }
  });
  assert.equal(JSON.stringify(describeTree(outside)), before_);
});

/** What the damaged archive says about names that it does not have is about these. */
const below = tar(
  dir('d'),
  file('d/gone', 'x'),
  file('h', 'lower'),
  symlink('e', 'd'),
  symlink('long', `${'../'.repeat(40)}d`),
  dir('l'),
  dir('s'),
  file('s/deep'),
  symlink('loop', 'loop'),
  hardlink('h2', 'h'),
);

test('joins: a tree over another or a Fault, whatever a layer says of those below it', async () => {
  const limits = { maxBytes: 10_000_000, maxEntries: 10_000, maxRatio: 200 };
  const lower = join(work, 'lower');
  const unpack = async (path: string, content: Buffer, lowers?: readonly string[]) => {
    mkdirSync(path);
    const job = { path, digest: null, diffId: parseDigest(sha256(content)), limits };
    return unpackLayer(Readable.from([content]), lowers ? { ...job, lowers } : job);
  };
  await unpack(lower, below, []);
  const before_ = JSON.stringify(describeTree(lower));
  let serial = 0;
  await fuzz(async (random) => {
    const path = join(work, `join-${serial++}`);
    const names = [
      'd',
      'd/gone',
      'd/a',
      'h',
      'h2',
      'e',
      'e/x',
      'l',
      'l/x',
      's',
      'long/x',
      'loop/x',
      'none',
      'd/x/y',
      '.',
    ];
    const members = Array.from({ length: 1 + random(8) }, () => {
      const [name, other] = [pick(random, names), pick(random, names)];
      const marker = name.replace(/[^/]*$/, (base) => `.wh.${base}`);
      return pick(random, [
        file(name, 'upper'),
        dir(name),
        symlink(name, pick(random, ['/', '..', '']) + other),
        hardlink(name, other),
        hardlink(name, other),
        file(marker),
        file(`${name}/.wh..wh..opq`),
      ]);
    });
    const content = random(4) === 0 ? damagedArchive(random) : tar(...members);
    try {
      const notes = await unpack(path, content);
      joinLayer({ path, name: 'upper', lowers: [lower], notes });
    } catch (error) {
      if (!isDoubt(error)) throw error;
      await removeTree(path);
      await unpack(path, content, [lower]);
    } finally {
      await removeTree(path);
    }
  });
  assert.equal(JSON.stringify(describeTree(lower)), before_, 'the lower layer was changed');
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
    if (manifest?.kind === 'index') attempt(() => platformChoices(manifest, hostPlatform()));
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
