// Saved archives: what they say of their images, before a layer of them is touched.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type Archive, directoryArchive, tarArchive } from '../../../src/image/archive.ts';
import { openSaved } from '../../../src/image/load.ts';
import { withDefaults } from '../../../src/image/settings.ts';
import { blob, image, layer, sha256, writeLayout } from '../../registry/images.ts';
import { dir, file, hardlink, type Member, paxRecord, symlink, tar } from '../../registry/tar.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-archive-'));
after(() => rmSync(folder, { recursive: true }));
let serial = 0;
const forever = new AbortController().signal;
const written = (data: Buffer): string => {
  const path = join(folder, `${serial++}.tar`);
  writeFileSync(path, data);
  return path;
};
const text = async (parts: AsyncIterable<Buffer>) => Buffer.concat(await Array.fromAsync(parts)).toString();
/** Resolves when nobody has this file open any more. */
async function closed(path: string): Promise<void> {
  const isOpen = (fd: string) => {
    try {
      return readlinkSync(join('/proc/self/fd', fd)) === path;
    } catch {
      return false; // it went away
    }
  };
  while (readdirSync('/proc/self/fd').some(isOpen)) await new Promise(setImmediate);
}

/** The same files as a directory and as a tar. */
const kinds: Record<string, (files: Record<string, string>) => Promise<Archive>> = {
  directory: async (files) => {
    const root = join(folder, `${serial++}`);
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(root, name)), { recursive: true });
      writeFileSync(join(root, name), content);
    }
    return directoryArchive(root);
  },
  tar: (files) => tarArchive(written(tar(dir('a'), ...Object.entries(files).map(([name, data]) => file(name, data))))),
};
for (const [kind, make] of Object.entries(kinds)) {
  describe(`an archive that is a ${kind}`, () => {
    const large = 'x'.repeat(600_000);
    const open = () => make({ 'a/one': 'first', 'a/two': large, last: 'z' });

    test('has its files, whole or in pieces', async () => {
      await using archive = await open();
      const has = await Promise.all(['a/one', 'last', 'a', 'none', 'a/one/x'].map((name) => archive.has(name)));
      assert.deepEqual(has, [true, true, false, false, false]);
      assert.equal((await archive.read('a/one', 5)).toString(), 'first');
      assert.equal((await archive.read('last', 1)).toString(), 'z');
      assert.equal(await text(archive.stream('a/two', forever)), large);
    });

    test('reads no more than it is told, and nothing that is not there', async () => {
      await using archive = await open();
      await assert.rejects(archive.read('a/one', 4), { kind: 'ResourceExhausted' });
      await assert.rejects(archive.read('none', 4), { kind: 'NotFound' });
      await assert.rejects(async () => text(archive.stream('none', forever)), { kind: 'NotFound' });
    });

    test('stops when nobody wants the rest', async () => {
      await using archive = await open();
      const caller = new AbortController();
      const pieces = archive.stream('a/two', caller.signal)[Symbol.asyncIterator]();
      await pieces.next();
      caller.abort(new Error('client left'));
      await assert.rejects(pieces.next(), /client left/);
    });
  });
}

describe('a tar', () => {
  test('has links as what they lead to, and none that lead nowhere or in circles', async () => {
    const path = written(
      tar(
        file('1/layer.tar', 'content'),
        dir('2'),
        symlink('2/layer.tar', '../1/layer.tar'),
        hardlink('same', '1/layer.tar'),
        symlink('loop', 'loop'),
        symlink('a', 'b'),
        symlink('b', 'a'),
        symlink('lost', 'none'),
      ),
    );
    await using archive = await tarArchive(path);
    for (const name of ['2/layer.tar', 'same']) assert.equal((await archive.read(name, 100)).toString(), 'content');
    for (const name of ['loop', 'a', 'lost']) assert.equal(await archive.has(name), false, name);
  });

  test('has no file whose name is longer than any can be, and takes no time for it', async () => {
    const name = `${'x'.repeat(1_000_000)}/y`;
    const before = process.cpuUsage();
    await using archive = await tarArchive(
      written(tar(symlink(name, 'a'), file(name), symlink('a', name), file('b', 'b'))),
    );
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 1_000_000, `${(user + system) / 1000} ms`);
    assert.deepEqual([await archive.has(name), await archive.has('a'), await archive.has('b')], [false, false, true]);
  });

  test('may have names longer than its headers', async () => {
    const [pax, gnu] = ['p', 'g'].map((letter) => `${letter.repeat(200)}/file`);
    const long: Member = { name: '././@LongLink', type: 'L', content: `${gnu}\0` };
    await using archive = await tarArchive(written(tar(file(pax!, 'by pax'), long, file('short', 'by GNU'))));
    assert.equal((await archive.read(pax!, 100)).toString(), 'by pax');
    assert.equal((await archive.read(gnu!, 100)).toString(), 'by GNU');
    assert.equal(await archive.has('short'), false);
  });

  test('is read like a layer: what pax says of a size is about the member, and a link has none', async () => {
    const pax: Member = { name: 'x', type: 'x', content: paxRecord('size', '7') };
    const long = (type: string, name: string): Member => ({ name: '././@LongLink', type, content: `${name}\0` });
    const path = written(
      tar(
        pax,
        long('K', 'elsewhere'),
        long('L', 'seven'),
        file('short', 'content', { size: 0 }),
        { name: 'g', type: 'g', content: paxRecord('comment', 'x') },
        { ...hardlink('same', 'seven'), size: 1_000_000 },
        file('last', 'x'),
      ),
    );
    await using archive = await tarArchive(path);
    for (const name of ['seven', 'same']) assert.equal((await archive.read(name, 100)).toString(), 'content');
    assert.equal((await archive.read('last', 100)).toString(), 'x');
  });

  const bad: Record<string, { data: Buffer; message: RegExp }> = {
    'whose last member is longer than it': {
      data: tar(file('a', 'x', { size: 5000 })),
      message: /a member is longer than the archive/,
    },
    'that ends inside a header': { data: tar(file('a', 'x')).subarray(0, 1100), message: /it ends in the middle/ },
    'with megabytes of a header': {
      data: tar({ name: 'x', type: 'x', content: Buffer.alloc((1 << 20) + 1) }, file('a', 'x')),
      message: /a header of 1048577 bytes is longer than 1048576/,
    },
    'that is none': {
      data: Buffer.alloc(2048, 'x'),
      message: /^Fault: \/.*: it is no tar, nor one that is compressed/,
    },
    'of which a later header is none': {
      data: Buffer.concat([tar(file('a', 'x')).subarray(0, 1024), Buffer.alloc(2048, 'x')]),
      message: /^Fault: \/.*: Archive: a header has a wrong checksum/,
    },
    'with megabytes of names': {
      data: tar(...Array.from({ length: 4200 }, (_, i) => file(`${'d/'.repeat(2000)}${i}`))),
      message: /the names of its members have more than 16777216 characters/,
    },
  };
  for (const [name, { data, message }] of Object.entries(bad)) {
    test(`${name} is refused, and is open no longer`, { timeout: 10_000 }, async () => {
      const path = written(data);
      await assert.rejects(tarArchive(path), message);
      await closed(path);
    });
  }

  test('may end with its last byte, or be empty', async () => {
    const whole = tar(file('a', 'x'.repeat(512)));
    await using archive = await tarArchive(written(whole.subarray(0, 1024)));
    assert.equal((await archive.read('a', 512)).length, 512);
    await using empty = await tarArchive(written(Buffer.alloc(0)));
    assert.equal(await empty.has('a'), false);
  });

  test('that becomes shorter while it is read is an error', async () => {
    const path = written(tar(file('a', 'x'.repeat(600_000))));
    await using archive = await tarArchive(path);
    const pieces = archive.stream('a', forever)[Symbol.asyncIterator]();
    await pieces.next();
    truncateSync(path, 300_000);
    await assert.rejects(async () => {
      while (!(await pieces.next()).done);
    }, /it ends in the middle of a member/);
  });
});

describe('a saved archive', () => {
  const dataDir = join(folder, 'data');
  mkdirSync(dataDir);
  const platform = { os: 'linux', architecture: 'amd64', variant: '' };
  const settings = withDefaults({ dataDir, certsDir: '', platform, limits: { maxBytes: 100_000 } });
  const saved = (path: string) => openSaved(path, settings, forever);
  const built = image([layer(tar(file('a', 'x')), 'none')]);
  const docker = (list: unknown, ...more: Member[]) => tar(file('manifest.json', JSON.stringify(list)), ...more);
  const config = JSON.stringify({ os: 'linux', rootfs: { type: 'layers', diff_ids: [sha256('l')] } });
  const item = { Config: 'c.json', RepoTags: ['app:1', 'registry.example/app:2'], Layers: ['l.tar'] };

  test('of docker: its config vouches for the layers, its tags are whole', async () => {
    await using open = await saved(written(docker([item], file('c.json', config), file('l.tar', 'l'))));
    const [only] = open.images;
    assert.deepEqual(
      [only!.found.id, only!.found.diffIds, only!.names],
      [sha256(config), [sha256('l')], { tags: ['docker.io/library/app:1', 'registry.example/app:2'], digests: [] }],
    );
    assert.equal(await text(only!.sources[0]!.open(forever) as AsyncIterable<Buffer>), 'l');
  });

  test('of docker, its keys in small letters, as Go reads them', async () => {
    const list = [{ config: 'c.json', repoTags: item.RepoTags, layers: item.Layers }];
    await using open = await saved(written(docker(list, file('c.json', config), file('l.tar', 'l'))));
    assert.deepEqual([open.images[0]!.found.id, open.images[0]!.names.tags.length], [sha256(config), 2]);
  });

  test('as a layout, a tar or one that is compressed; nothing of it stays in the data directory', async () => {
    const layout = join(folder, 'layout');
    writeLayout(layout, { 'r/app:1': built });
    const members = ['oci-layout', 'index.json'].concat(
      [built.config, built.manifest, built.layers[0]!.blob].map(({ digest }) => `blobs/${digest.replace(':', '/')}`),
    );
    const archive = directoryArchive(layout);
    const files = await Promise.all(members.map(async (name) => file(name, await archive.read(name, 100_000))));
    for (const path of [layout, written(tar(...files)), written(gzipSync(tar(...files)))]) {
      await using open = await saved(path);
      const [only, ...more] = open.images;
      assert.deepEqual([only!.found.id, more.length], [built.config.digest, 0]);
      assert.deepEqual(only!.names.tags, ['docker.io/r/app:1']);
      assert.deepEqual(only!.names.digests, [`docker.io/r/app@${built.manifest.digest}`]);
    }
    assert.deepEqual(readdirSync(dataDir), []);
  });

  const refused: Record<string, { data: () => Buffer; kind: string; message: RegExp }> = {
    'that is none': {
      data: () => tar(file('hello', 'x')),
      kind: 'InvalidArgument',
      message: /neither an OCI layout nor/,
    },
    'whose list is none': {
      data: () => docker({}),
      kind: 'InvalidArgument',
      message: /manifest.json .* is not a list/,
    },
    'whose list is no JSON': {
      data: () => tar(file('manifest.json', '[')),
      kind: 'InvalidArgument',
      message: /manifest.json in the archive is not JSON/,
    },
    'whose image is none': {
      data: () => docker([{ Config: 1, Layers: [] }]),
      kind: 'InvalidArgument',
      message: /does not describe images/,
    },
    'with more layers than its config knows': {
      data: () => docker([{ ...item, Layers: ['l.tar', 'l.tar'] }], file('c.json', config), file('l.tar', 'l')),
      kind: 'InvalidArgument',
      message: /c.json lists 1 layers, manifest.json 2/,
    },
    'with more than a thousand images': {
      data: () => docker(Array(1001).fill(item)),
      kind: 'InvalidArgument',
      message: /lists 1001 images: at most 1000 are taken/,
    },
    'whose config is missing': { data: () => docker([item]), kind: 'NotFound', message: /no file "c.json"/ },
    'that is small and unpacks to much': {
      data: () => gzipSync(Buffer.alloc(100_001)),
      kind: 'ResourceExhausted',
      message: /unpacks to more than 100000 bytes/,
    },
    'that is compressed and not whole': {
      data: () => gzipSync(tar(file('a', 'x'))).subarray(0, 60),
      kind: '',
      message: /unexpected end of file/,
    },
  };
  for (const [name, { data, kind, message }] of Object.entries(refused)) {
    test(`${name} is refused, and leaves nothing`, { timeout: 10_000 }, async () => {
      const path = written(data());
      await assert.rejects(saved(path), kind === '' ? message : { kind, message });
      assert.deepEqual(readdirSync(dataDir), []);
      await closed(path);
    });
  }

  test('a thousand images are taken', async () => {
    await using open = await saved(written(docker(Array(1000).fill(item), file('c.json', config), file('l.tar', 'l'))));
    assert.equal(open.images.length, 1000);
  });

  test('a layout whose blob is not what its name says is refused', async () => {
    for (const what of ['config', 'manifest'] as const) {
      const layout = join(folder, `broken-${what}`);
      writeLayout(layout, { 'r/app:1': built });
      const other = built[what].data
        .toString()
        .replace('amd64', 'arm64')
        .replace('"schemaVersion":2', '"schemaVersion": 2');
      writeFileSync(join(layout, 'blobs', built[what].digest.replace(':', '/')), other);
      await assert.rejects(saved(layout), { kind: 'DataLoss' }, what);
    }
  });

  test('a layout without an image, or with an index that is none, is refused', async () => {
    for (const [index, message] of [
      ['{"manifests":[]}', /lists no image/],
      ['{}', /lists no manifests/],
      ['null', /not a JSON object/],
      [JSON.stringify({ manifests: [{ digest: blob('x').digest, size: 1 }] }), /has no file/],
      ['{"manifests":[{"digest":"sha256:../../x","size":1}]}', /Digest/],
    ] as const) {
      const path = written(tar(file('oci-layout', '{}'), file('index.json', index)));
      await assert.rejects(saved(path), message, index);
    }
  });
});
