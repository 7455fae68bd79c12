import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../../src/image/digest.ts';
import { type Index, parseConfig, parseManifest, platformChoices } from '../../../src/image/manifest.ts';

const digest = (character: string) => `sha256:${character.repeat(64)}`;
const oci = 'application/vnd.oci.image.manifest.v1+json';
const ociIndex = 'application/vnd.oci.image.index.v1+json';
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digest('c'), size: 3 };
const layer = { mediaType: layerType, digest: digest('1'), size: 10 };
const manifest = { schemaVersion: 2, mediaType: oci, config, layers: [layer] };
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

test('a manifest is read, with or without its media type', () => {
  const expected = { kind: 'manifest', config, layers: [{ ...layer, title: '' }], artifactType: '' };
  assert.deepEqual(parseManifest(json(manifest), oci), expected);
  assert.deepEqual(parseManifest(json({ ...manifest, mediaType: undefined }), `${oci}; charset=utf-8`), expected);
  assert.deepEqual(parseManifest(json({ ...manifest, mediaType: undefined }), 'text/plain'), expected);
});

test('a manifest whose type is known need not say its schema', () => {
  for (const schemaVersion of [undefined, null, 0]) {
    assert.equal(parseManifest(json({ ...manifest, schemaVersion }), 'text/plain').kind, 'manifest');
    const named = json({ ...manifest, mediaType: undefined, schemaVersion });
    assert.equal(parseManifest(named, 'application/vnd.docker.distribution.manifest.v2+json').kind, 'manifest');
  }
});

for (const { name, data, type = oci, kind = 'InvalidArgument' } of [
  { name: 'no JSON', data: Buffer.from('{') },
  { name: 'invalid UTF-8', data: Buffer.from([0x22, 0xff, 0x22]) },
  { name: 'a list', data: json([]) },
  { name: 'null', data: json(null) },
  { name: 'schema 1', data: json({ schemaVersion: 1 }), kind: 'Unimplemented' },
  {
    name: 'schema 1 by type',
    data: json(manifest),
    type: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
    kind: 'Unimplemented',
  },
  {
    name: 'no schema and no type',
    data: json({ ...manifest, mediaType: undefined, schemaVersion: undefined }),
    type: 'text/plain',
  },
  { name: 'layers and manifests', data: json({ ...manifest, manifests: [] }) },
  { name: 'neither', data: json({ schemaVersion: 2, mediaType: oci }) },
  { name: 'two names', data: json({ ...manifest, mediaType: ociIndex }) },
  { name: 'an index that calls itself a manifest', data: json({ schemaVersion: 2, mediaType: oci, manifests: [] }) },
  { name: 'a manifest under the type of an index', data: json({ ...manifest, mediaType: undefined }), type: ociIndex },
  {
    name: 'another kind of thing',
    data: json({ ...manifest, mediaType: 'application/x' }),
    type: 'text/plain',
    kind: 'Unimplemented',
  },
  { name: 'layers that are no list', data: json({ ...manifest, layers: {} }) },
  { name: 'a layer without a digest', data: json({ ...manifest, layers: [{ ...layer, digest: undefined }] }) },
  { name: 'a digest that is a path', data: json({ ...manifest, layers: [{ ...layer, digest: 'sha256:../../x' }] }) },
  { name: 'a negative size', data: json({ ...manifest, layers: [{ ...layer, size: -1 }] }) },
  { name: 'a size that is no number', data: json({ ...manifest, layers: [{ ...layer, size: '10' }] }) },
  { name: 'a size beyond numbers', data: json({ ...manifest, layers: [{ ...layer, size: 1e30 }] }) },
  { name: 'no config', data: json({ ...manifest, config: undefined }) },
  { name: '501 layers', data: json({ ...manifest, layers: Array(501).fill(layer) }) },
]) {
  test(`a manifest with ${name} is refused`, () => {
    assert.throws(() => parseManifest(data, type), { name: 'Fault', kind });
  });
}

test('500 layers, and every name of a layer', () => {
  const names = [
    'application/vnd.oci.image.layer.v1.tar',
    'application/vnd.oci.image.layer.v1.tar+zstd',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    'application/vnd.docker.image.rootfs.diff.tar',
    'application/vnd.docker.image.rootfs.diff.tar.gzip',
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  ];
  const layers = Array.from({ length: 500 }, (_, i) => ({ ...layer, mediaType: names[i % names.length] }));
  const parsed = parseManifest(json({ ...manifest, layers }), oci);
  assert.equal(parsed.kind === 'manifest' && parsed.layers.length, 500);
});

test('a list that is null is empty, as Go writes it', () => {
  const parsed = parseManifest(json({ ...manifest, layers: null, annotations: null }), oci);
  assert.deepEqual(parsed.kind === 'manifest' && parsed.layers, []);
});

test('a media type is the same in any case and with parameters', () => {
  const odd = (type: string) => `${type.toUpperCase()}; charset=utf-8`;
  const layers = [{ ...layer, mediaType: odd(layerType) }];
  const document = {
    ...manifest,
    mediaType: odd(oci),
    config: { ...config, mediaType: odd(config.mediaType) },
    layers,
  };
  assert.deepEqual(parseManifest(json(document), odd(oci)), parseManifest(json(manifest), oci));
  assert.throws(() => parseManifest(json(manifest), odd(ociIndex)), { kind: 'InvalidArgument' });
});

test('what a descriptor brings with it is taken if it is what it should be', () => {
  const data = Buffer.from('{}');
  const brought = { ...config, digest: digestOf(data), size: 2, data: data.toString('base64') };
  const read = (descriptor: object) => {
    const parsed = parseManifest(json({ ...manifest, config: descriptor }), oci);
    return parsed.kind === 'manifest' ? parsed.config.data : null;
  };
  assert.deepEqual(read(brought), data);
  for (const wrong of [{ size: 3 }, { digest: digest('c') }, { data: 'e30K' }, { data: '' }, { data: 7 }])
    assert.equal(read({ ...brought, ...wrong }), undefined);
});

test('a null among strings is an empty one, and a command may be a single string', () => {
  const inner = { Env: ['A=1', null], Entrypoint: '/init', Cmd: '-c' };
  const { config: parsed } = parseConfig(json({ config: inner, rootfs: { type: 'layers', diff_ids: [] } }));
  assert.deepEqual([parsed.env, parsed.entrypoint, parsed.cmd], [['A=1', ''], ['/init'], ['-c']]);
  assert.throws(() => parseConfig(json({ config: { Env: 'A=1' }, rootfs: { diff_ids: [] } })), /not a list of strings/);
});

test('keys that mean something to JavaScript mean nothing', () => {
  const text = JSON.stringify(manifest).replace('{', '{"__proto__":{"manifests":[]},"constructor":1,');
  assert.equal(parseManifest(Buffer.from(text), oci).kind, 'manifest');
});

/** As a registry would give it; null: an entry without a platform. */
const indexWith = (...entries: object[]): Index => {
  const manifests = entries.map((entry, i) => ({ ...layer, digest: digest(String(i)), ...entry }));
  return parseManifest(json({ schemaVersion: 2, manifests }), '') as Index;
};
const platforms = (...list: [os: string, architecture: string, variant?: string][]): Index =>
  indexWith(...list.map(([os, architecture, variant = '']) => ({ platform: { os, architecture, variant } })));

const amd64 = { os: 'linux', architecture: 'amd64', variant: '' };
for (const { name, index, host, expected } of [
  { name: 'the host', index: platforms(['linux', 'arm64', 'v8'], ['linux', 'amd64']), host: amd64, expected: 1 },
  {
    name: 'not an attestation',
    index: platforms(['unknown', 'unknown'], ['linux', 'amd64']),
    host: amd64,
    expected: 1,
  },
  { name: 'not another system', index: platforms(['windows', 'amd64'], ['linux', 'amd64']), host: amd64, expected: 1 },
  { name: 'the first of equals', index: platforms(['linux', 'amd64'], ['linux', 'amd64']), host: amd64, expected: 0 },
  {
    name: 'the plain level of amd64',
    index: platforms(['linux', 'amd64', 'v3'], ['linux', 'amd64']),
    host: amd64,
    expected: 1,
  },
  {
    name: 'arm64 without a variant',
    index: platforms(['linux', 'arm64']),
    host: { os: 'linux', architecture: 'arm64', variant: 'v8' },
    expected: 0,
  },
  {
    name: 'what builders call amd64',
    index: platforms(['linux', 's390x'], ['Linux', 'x86_64']),
    host: amd64,
    expected: 1,
  },
  {
    name: '386 where there is no amd64',
    index: platforms(['linux', 's390x'], ['linux', 'i686'], ['linux', 'arm64']),
    host: amd64,
    expected: 1,
  },
  { name: '386 last', index: platforms(['linux', '386'], ['linux', 'amd64']), host: amd64, expected: 1 },
  {
    name: 'an entry without a platform before 386',
    index: indexWith({ platform: { os: 'linux', architecture: '386' } }, {}),
    host: amd64,
    expected: 1,
  },
  {
    name: 'an entry without a platform, not what is about it',
    index: indexWith(
      { annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } },
      { platform: { os: 'unknown', architecture: 'unknown' } },
      { platform: {} },
    ),
    host: amd64,
    expected: 2,
  },
  { name: 'an entry that leaves out linux', index: platforms(['', 'arm64'], ['', 'amd64']), host: amd64, expected: 1 },
  {
    name: 'an entry without an architecture before 386',
    index: platforms(['linux', '386'], ['linux', '']),
    host: amd64,
    expected: 1,
  },
  {
    name: 'arm64 by its other names',
    index: platforms(['linux', 'amd64'], ['linux', 'aarch64', '8']),
    host: { os: 'linux', architecture: 'arm64', variant: 'v8' },
    expected: 1,
  },
  {
    name: 'the best arm on arm64',
    index: platforms(['linux', 'arm', 'v6'], ['linux', 'armhf']),
    host: { os: 'linux', architecture: 'arm64', variant: 'v8' },
    expected: 1,
  },
  {
    name: 'the nearest lower arm',
    index: platforms(['linux', 'arm', 'v5'], ['linux', 'arm', 'v6'], ['linux', 'arm', 'v8']),
    host: { os: 'linux', architecture: 'arm', variant: 'v7' },
    expected: 1,
  },
]) {
  test(`an index gives ${name}`, () => {
    assert.equal(platformChoices(index, host)[0]?.digest, digest(String(expected)));
  });
}

test('an index without this platform says what it has', () => {
  assert.throws(() => platformChoices(platforms(['linux', 'arm64', 'v8'], ['linux', 's390x']), amd64), {
    kind: 'NotFound',
    message: /linux\/amd64, only for: linux\/arm64\/v8, linux\/s390x/,
  });
  assert.equal(platformChoices(indexWith({}), amd64)[0]?.digest, digest('0'));
});

test('a config is read, and what is absent is empty', () => {
  const full = {
    os: 'linux',
    architecture: 'arm64',
    variant: 'v8',
    config: {
      Env: ['A=b'],
      Entrypoint: ['/e'],
      Cmd: null,
      User: '1:2',
      WorkingDir: '/w',
      Labels: { a: 'b', __proto__x: 'c' },
      Volumes: { '/data': {} },
      StopSignal: 'SIGQUIT',
    },
    rootfs: { type: 'layers', diff_ids: [digest('1')] },
  };
  assert.deepEqual(parseConfig(json(full)), {
    config: {
      os: 'linux',
      architecture: 'arm64',
      variant: 'v8',
      env: ['A=b'],
      entrypoint: ['/e'],
      cmd: [],
      user: '1:2',
      workingDir: '/w',
      labels: { a: 'b', __proto__x: 'c' },
      volumes: ['/data'],
      stopSignal: 'SIGQUIT',
    },
    diffIds: [digest('1')],
  });
  assert.deepEqual(parseConfig(json({ rootfs: { type: 'layers' } })).config.env, []);
  for (const bad of [
    {},
    { rootfs: { type: 'other' } },
    { rootfs: { type: 'layers', diff_ids: ['md5:x'] } },
    { config: { Env: [1] }, rootfs: { type: 'layers' } },
  ]) {
    assert.throws(() => parseConfig(json(bad)), { kind: 'InvalidArgument' });
  }
});

test('a document with fields without end is refused, as a manifest and as a config', () => {
  const fields = Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`x${i}`, 0]));
  const refusal = { kind: 'InvalidArgument', message: /more than 1000 fields/ };
  assert.throws(() => parseManifest(json({ schemaVersion: 2, layers: [], ...fields }), ''), refusal);
  assert.throws(() => parseConfig(json({ rootfs: { type: 'layers' }, config: fields })), refusal);
  const labels = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`x${i}`, 'y']));
  const { config } = parseConfig(json({ rootfs: { type: 'layers' }, config: { Labels: labels } }));
  assert.equal(Object.keys(config.labels).length, 5000);
});

test('keys whatever their case, the last of several, as Go reads JSON', () => {
  const text = `{"Config":{"entrypoint":["/e"],"CMD":["c"],"env":["A=1"],"User":"1","uſer":"1000","workingdir":"/w","User":null},
    "rootfS":{"diff_IDs":["${digest('1')}"]},"OS":"linux","architecture":"x86_64"}`;
  const { config, diffIds } = parseConfig(Buffer.from(text));
  assert.deepEqual(config.entrypoint, ['/e']);
  assert.deepEqual([config.cmd, config.env, config.user, config.workingDir], [['c'], ['A=1'], '1000', '/w']);
  assert.deepEqual([config.os, config.architecture, diffIds], ['linux', 'amd64', [digest('1')]]);
  const { mediaType, ...rest } = layer;
  const odd = {
    SchemaVersion: 2,
    CONFIG: { MediaType: mediaType, ...rest },
    Layers: [{ MEDIATYPE: mediaType, ...rest }],
  };
  assert.equal(parseManifest(json(odd), '').kind, 'manifest');
});

test("OCI's and Docker's names may be mixed; an index is no manifest by any name", () => {
  const docker = 'application/vnd.docker.distribution.manifest.v2+json';
  assert.equal(parseManifest(json({ ...manifest, mediaType: oci }), docker).kind, 'manifest');
  assert.equal(parseManifest(json({ ...manifest, mediaType: docker }), oci).kind, 'manifest');
  const list = 'application/vnd.docker.distribution.manifest.list.v2+json';
  assert.throws(() => parseManifest(json({ ...manifest, mediaType: oci }), list), { kind: 'InvalidArgument' });
});

test('a label in Latin-1 is no reason to refuse an image', () => {
  const text = `{"config":{"Labels":{"by":"Andr\xe9"}},"rootfs":{"type":"layers","diff_ids":[]}}`;
  assert.equal(parseConfig(Buffer.from(text, 'latin1')).config.labels.by, 'Andr\ufffd');
});

const manyValues: Readonly<Record<string, string>> = {
  'keys that are all others': `{${Array.from({ length: 600_000 }, (_, i) => `"k${i.toString(36)}":0`).join(',')}}`,
  'objects of keys that are all others': `[${Array.from({ length: 400_000 }, (_, i) => `{"k${i.toString(36)}":0}`).join(',')}]`,
  'lists in lists': `${'['.repeat(4_000_000)}${']'.repeat(4_000_000)}`,
  'empty objects': `[${'{},'.repeat(2_000_000)}0]`,
};
for (const [name, text] of Object.entries(manyValues)) {
  test(`a document of megabytes of ${name} is refused before it takes the event loop's time`, () => {
    const data = Buffer.from(text);
    const before = process.cpuUsage();
    assert.throws(() => parseConfig(data), { kind: 'InvalidArgument', message: /more than 100000 values/ });
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 250_000, `${(user + system) / 1000} ms`);
  });
}

test('texts of megabytes, whatever they hold, are a few values', () => {
  const Labels = { sbom: '{"a":[1,2,{"b\\\\":"\\"}]},'.repeat(100_000), end: '\\' };
  const { config: read } = parseConfig(json({ rootfs: { type: 'layers' }, config: { Labels } }));
  assert.equal(read.labels.sbom, Labels.sbom);
});
