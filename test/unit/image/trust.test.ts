import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { rootCertificates } from 'node:tls';
import { hostAuthorities } from '../../../src/image/trust.ts';
import { makeCertificate } from '../../registry/certificate.ts';

const root = mkdtempSync(join(tmpdir(), 'berth-trust-'));
after(() => rmSync(root, { recursive: true }));

let serial = 0;
/** A folder with these files, or links where a text begins with ->. */
function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = join(root, `${serial++}`);
  mkdirSync(folder);
  for (const [name, text] of Object.entries(files)) {
    const [, target] = /^-> (.*)$/.exec(text) ?? [];
    if (target === undefined) writeFileSync(join(folder, name), text);
    else symlinkSync(target, join(folder, name));
  }
  return folder;
}

const own = makeCertificate().cert.trim();
const other = makeCertificate().cert.trim();
const third = makeCertificate().cert.trim();
const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
/** In lines of another length, with words before it. */
const rewrapped = (text: string) =>
  `of ours\n${text.replace(/(?<=-----\n)[^-]*/, (body) => `${body.replace(/\s/g, '').replace(/(.{40})/g, '$1\n')}\n`)}`;

test('what lies in the folders is trusted beside the bundle, each once', async () => {
  const bundle = join(folderOf({ 'bundle.pem': `${rootCertificates[0]}\n${own}\n` }), 'bundle.pem');
  const outside = join(folderOf({ 'o.crt': `${other}\n` }), 'o.crt');
  const first = folderOf({
    'again.pem': rewrapped(own),
    'out.pem': `-> ${outside}`,
    '0123abcd.0': '-> again.pem',
    'gone.pem': '-> /nowhere/at/all',
    'broken.pem': broken,
    'key.pem': makeCertificate().key,
    README: 'no certificate',
  });
  mkdirSync(join(first, 'java'));
  const second = folderOf({ 'two.pem': `${third}\n${other}\n` });
  const env = { SSL_CERT_FILE: bundle, SSL_CERT_DIR: `${first}:${second}:${root}/none` };
  const [whole, ...rest] = await hostAuthorities(env);
  assert.equal(whole, `${rootCertificates[0]}\n${own}\n`);
  assert.deepEqual(rest.sort(), [other, third].sort());
});

test('without a bundle the folders count, and without those what comes with Node', async () => {
  const folder = folderOf({ 'a.pem': own });
  assert.deepEqual(await hostAuthorities({ SSL_CERT_FILE: '/nowhere', SSL_CERT_DIR: folder }), [own]);
  assert.equal(await hostAuthorities({ SSL_CERT_FILE: '/nowhere', SSL_CERT_DIR: '/nowhere' }), rootCertificates);
});

test('the same list as long as nothing changed, and another one when something came', async () => {
  const folder = folderOf({ 'a.pem': own });
  const env = { SSL_CERT_FILE: '/nowhere', SSL_CERT_DIR: folder };
  const before = await hostAuthorities(env);
  assert.equal(await hostAuthorities(env), before, 'contexts of TLS are kept by it');
  writeFileSync(join(folder, 'b.pem'), other);
  utimesSync(folder, 1, 1);
  assert.deepEqual(await hostAuthorities(env), [own, other]);
});

test('many that ask at once share one reading', async () => {
  const env = { SSL_CERT_FILE: '/nowhere', SSL_CERT_DIR: folderOf({ 'a.pem': own, 'b.pem': other }) };
  const all = await Promise.all(Array.from({ length: 20 }, () => hostAuthorities(env)));
  assert.deepEqual(all[0], [own, other]);
  assert.equal(new Set(all).size, 1);
});
