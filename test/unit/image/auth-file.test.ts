import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { credentialsFor } from '../../../src/image/auth.ts';
import { nodeAuth } from '../../../src/image/auth-file.ts';
import { parseReference } from '../../../src/image/reference.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-auth-'));
after(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'config.json');

const named = (name: string) => ({ auth: Buffer.from(`${name}:secret`).toString('base64') });
const auths = {
  'https://index.docker.io/v1/': named('hub'),
  'registry.example': named('all'),
  'registry.example/team': named('team'),
  'registry.example/team/app': named('app'),
  'http://localhost:5000': { username: 'local', password: 'secret' },
  'REGISTRY.other': named('case'),
  'tokens.example': { auth: '', identitytoken: 'refresh' },
  'wrong.example': 'text',
  'twice.example': {},
  'https://twice.example/v2/': named('twice'),
  'kept.example': named('kept'),
  'kept.example/by-a-program': { auth: '' },
  '*.cloud.example': named('cloud'),
  'mine.cloud.example': named('mine'),
  '*.cloud.example/team': named('cloud team'),
  'eu-*.pkg.example:5000': named('part'),
  '*.evil.example': named('evil'),
};

for (const [reference, user] of [
  ['busybox', 'hub'],
  ['docker.io/library/busybox:1', 'hub'],
  ['registry.example/else', 'all'],
  ['registry.example/team/other:v1', 'team'],
  [`registry.example/team/app@sha256:${'0'.repeat(64)}`, 'app'],
  ['registry.example/team/app/deeper', 'app'],
  ['registry.example/teamwork', 'all'],
  ['localhost:5000/x', 'local'],
  ['registry.other/x', 'case'],
  ['localhost:5001/x', null],
  ['example/registry.example', 'hub'],
  ['sub.registry.example/x', null],
  ['registry.example.evil/x', null],
  ['wrong.example/x', null],
  ['twice.example/x', 'twice'],
  ['kept.example/by-a-program/x', 'kept'],
  ['one.cloud.example/x', 'cloud'],
  ['one.cloud.example/team/x', 'cloud team'],
  ['mine.cloud.example/team/x', 'mine'],
  ['cloud.example/x', null],
  ['a.b.cloud.example/x', null],
  ['one.cloud.example:5000/x', null],
  ['eu-west.pkg.example:5000/x', 'part'],
  ['us-west.pkg.example:5000/x', null],
  ['eu-west.pkg.example/x', null],
] as const) {
  test(`${reference}: ${user ?? 'none'}`, async () => {
    writeFileSync(file, JSON.stringify({ auths }));
    const wanted = parseReference(reference);
    const credentials = credentialsFor(wanted.domain, await nodeAuth(file, wanted));
    const expected = user === null ? { kind: 'none' } : { kind: 'basic', username: user, password: 'secret' };
    assert.deepEqual(credentials, expected);
  });
}

test('a refresh token is one', async () => {
  writeFileSync(file, JSON.stringify({ auths }));
  const wanted = parseReference('tokens.example/x');
  assert.deepEqual(credentialsFor(wanted.domain, await nodeAuth(file, wanted)), { kind: 'identity', token: 'refresh' });
});

test('an entry that has no name and password is told with its file and key, without what it has', async () => {
  writeFileSync(file, JSON.stringify({ auths: { 'bad.example': { auth: 'c2VjcmV0' } } }));
  await assert.rejects(nodeAuth(file, parseReference('bad.example/x')), (error: Error & { kind?: string }) => {
    assert.equal(error.kind, 'FailedPrecondition');
    assert.match(error.message, /config\.json .*"bad\.example".*not base64/);
    assert.doesNotMatch(error.message, /c2VjcmV0|secret/);
    return true;
  });
});

test('no setting, no file, none in it: nothing; a file that is none is an error without its text', async () => {
  const wanted = parseReference('registry.example/x');
  assert.equal(await nodeAuth('', wanted), null);
  assert.equal(await nodeAuth(join(folder, 'none'), wanted), null);
  for (const text of ['{}', '{"auths":{}}', '{"credsStore":"pass"}']) {
    writeFileSync(file, text);
    assert.equal(await nodeAuth(file, wanted), null, text);
  }
  for (const text of ['hunter2', '[]', '{"auths":[]}', 'null']) {
    writeFileSync(file, text);
    await assert.rejects(nodeAuth(file, wanted), (error: Error) => {
      assert.match(error.message, /Cannot read the credentials of .*config\.json \(images\.auth_file\)/);
      return !error.message.includes('hunter2');
    });
  }
});
