// CRI-O's registries.conf, as containers-registries.conf(5) says it.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { explainEndpoint } from '../../../src/commands/explain.ts';
import { parseReference, placesFor } from '../../../src/image/index.ts';
import { makeCertificate } from '../../registry/certificate.ts';

const root = mkdtempSync(join(tmpdir(), 'berth-registries-'));
after(() => rmSync(root, { recursive: true }));
const [registriesConf, certsDir] = [join(root, 'registries.conf'), join(root, 'certs.d')];
beforeEach(() => {
  for (const each of [`${registriesConf}.d`, certsDir]) rmSync(each, { recursive: true, force: true });
});

const of = (reference: string) => placesFor(parseReference(reference), { certsDir, registriesConf });
const asked = async (reference: string) =>
  (await of(reference)).map(({ base, repository }) => `${base.href} ${repository ?? '-'}`);

const conf = `
unqualified-search-registries = ["docker.io"]
[[registry]]
location = "registry.example"
[[registry]]
prefix = "registry.example/team"
location = "team.example:5000/all"
[[registry.mirror]]
location = "cache.example/team"
[[registry.mirror]]
location = "pinned.example"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.example"
pull-from-mirror = "tag-only"
insecure = true
[[registry]]
prefix = "*.wild.example"
location = "one.example"
[[registry]]
prefix = "docker.io/library"
location = "docker.io/mirrored"
[[registry]]
location = "evil.example"
blocked = true
[[registry]]
location = "old.example"
mirror-by-digest-only = true
[[registry.mirror]]
location = "pinned.example"
`;
const digest = `sha256:${'0'.repeat(64)}`;

for (const [reference, places] of [
  ['registry.example/app:v1', ['https://registry.example/v2 app']],
  ['registry.example/teamwork:v1', ['https://registry.example/v2 teamwork']],
  [
    'registry.example/team/app:v1',
    ['https://cache.example/v2 team/app', 'http://tags.example/v2 app', 'https://team.example:5000/v2 all/app'],
  ],
  [
    `registry.example/team/app@${digest}`,
    ['https://cache.example/v2 team/app', 'https://pinned.example/v2 app', 'https://team.example:5000/v2 all/app'],
  ],
  ['a.b.wild.example:5000/app:v1', ['https://one.example/v2 app']],
  ['busybox', ['https://registry-1.docker.io/v2 mirrored/busybox']],
  ['docker.io/team/app:v1', ['https://registry-1.docker.io/v2 -']],
  ['old.example/app:v1', ['https://old.example/v2 app']],
  [`old.example/app@${digest}`, ['https://pinned.example/v2 app', 'https://old.example/v2 app']],
  ['notevil.example/app', ['https://notevil.example/v2 -']],
] as const) {
  test(`${reference} is asked for at ${places.join(', ')}`, async () => {
    writeFileSync(registriesConf, conf);
    assert.deepEqual(await asked(reference), places);
  });
}

test('a registry that is blocked is not pulled from, and the file is named', async () => {
  writeFileSync(registriesConf, conf);
  await assert.rejects(of('evil.example/app'), { kind: 'PermissionDenied', message: /registries\.conf blocks evil/ });
});

test('files of the .d folder are laid over it, by prefix; hosts.toml goes before all', async () => {
  writeFileSync(registriesConf, conf);
  mkdirSync(`${registriesConf}.d`);
  writeFileSync(`${registriesConf}.d/10.conf`, '[[registry]]\nlocation = "evil.example"\n');
  writeFileSync(`${registriesConf}.d/20.txt`, 'no TOML');
  assert.deepEqual(await asked('evil.example/app'), ['https://evil.example/v2 app']);
  mkdirSync(join(certsDir, 'registry.example'), { recursive: true });
  writeFileSync(join(certsDir, 'registry.example/hosts.toml'), '[host."https://mine.example"]');
  assert.deepEqual(await asked('registry.example/team/app'), [
    'https://mine.example/v2 -',
    'https://registry.example/v2 -',
  ]);
});

test('certificates in folders of the hosts are those of the places, and say nothing of who serves a registry', async () => {
  writeFileSync(registriesConf, conf);
  const { cert, key } = makeCertificate();
  const put = (host: string, files: Record<string, string>) => {
    mkdirSync(join(certsDir, host), { recursive: true });
    for (const [name, text] of Object.entries(files)) writeFileSync(join(certsDir, host, name), text);
  };
  put('registry.example', { 'ca.crt': cert });
  put('cache.example', { 'ca.crt': cert });
  put('team.example:5000', { 'client.cert': cert, 'client.key': key });
  const places = await of('registry.example/team/app:v1');
  assert.deepEqual(
    places.map(({ base, tls }) => [base.host, tls.ca.length, tls.client.length]),
    [
      ['cache.example', 1, 0],
      ['tags.example', 0, 0],
      ['team.example:5000', 0, 1],
    ],
  );
  put('alone.example', { 'ca.crt': cert });
  const [alone] = await of('alone.example/app');
  assert.equal(alone?.tls.ca.length, 1);
});

test('an insecure mirror is asked by either scheme and shown no credentials; explain tells the name and the file', async () => {
  writeFileSync(registriesConf, conf);
  const [cache, tags, owner] = await of('registry.example/team/app:v1');
  assert.deepEqual(
    [cache, tags, owner].map((place) => [place?.isEitherScheme, place?.takesCredentials, place?.isOwner]),
    [
      [false, true, false],
      [true, false, false],
      [false, true, true],
    ],
  );
  const text = explainEndpoint(tags!, 1, 'registry.example', {});
  assert.match(text, /named by: +\/.*registries\.conf\n/);
  assert.match(text, /name there: +app\n/);
  assert.match(text, /plain http, or https with any certificate: insecure = true/);
});

for (const [what, text, message] of [
  ['is no TOML', '[[registry', /registries\.conf/],
  ['is no TOML beside a secret', 'location = "s3cret"\n[[registry', /registries\.conf/],
  ['is version 1', '[registries.search]\nregistries = []', /version 1/],
  ['has a mirror without a location', '[[registry]]\nlocation = "r.example"\n[[registry.mirror]]\n', /no location/],
  [
    'has a URL for a location',
    '[[registry]]\nprefix = "r.example"\nlocation = "https://u:s3cret@a"',
    /is a host, and a path/,
  ],
  [
    'has a URL for a registry that is not asked for',
    '[[registry]]\nlocation = "https://e.example"\nblocked = true',
    /is a host/,
  ],
  ['has a registry without a name', '[[registry]]\nblocked = true', /neither prefix nor location/],
  ['forbids all by a star alone', '[[registry]]\nprefix = "*"\nblocked = true', /"\*" is not \*\.HOST/],
  ['has a star with a port', '[[registry]]\nprefix = "*.e.example:5000"\nblocked = true', /is not \*\.HOST/],
  ['has a star with a path', '[[registry]]\nprefix = "*.e.example/x"\nlocation = "r.example"', /is not \*\.HOST/],
  [
    'forbids a registry and then allows it',
    '[[registry]]\nlocation = "r.example"\nblocked = true\n[[registry]]\nprefix = "r.example"\nlocation = "e.example"',
    /"r\.example" is there twice, and blocked in one/,
  ],
  [
    'says twice when a mirror may be asked',
    '[[registry]]\nlocation = "e.example"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "m.example"\npull-from-mirror = "all"',
    /mirror-by-digest-only, and a mirror of it pull-from-mirror/,
  ],
  ['has a flag that is none', '[[registry]]\nlocation = "r.example"\nblocked = "yes"', /neither true nor false/],
  ['has a table for a list', '[registry]\nlocation = "r.example"', /no list of tables/],
] as const) {
  test(`a file that ${what} is refused, and named`, async () => {
    writeFileSync(registriesConf, text);
    const refusal = { kind: 'FailedPrecondition', message: new RegExp(`^(?!.*s3cret).*${message.source}`, 's') };
    await assert.rejects(of('r.example/app'), refusal);
  });
}

test('of two with one prefix in a file the first counts', async () => {
  writeFileSync(
    registriesConf,
    '[[registry]]\nlocation = "r.example"\n[[registry]]\nlocation = "r.example"\n[[registry.mirror]]\nlocation = "m.example"',
  );
  assert.deepEqual(await asked('r.example/app'), ['https://r.example/v2 app']);
});

test('a file that is not there may have blocked what is asked for', async () => {
  rmSync(registriesConf, { force: true });
  await assert.rejects(of('r.example/app'), { kind: 'FailedPrecondition', message: /ENOENT/ });
});
