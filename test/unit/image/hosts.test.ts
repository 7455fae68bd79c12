import assert from 'node:assert/strict';
import { mkdirSync, mkdtempDisposableSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { credentialsFor } from '../../../src/image/auth.ts';
import { endpointsFor } from '../../../src/image/hosts.ts';
import { authOf } from '../../registry/auth.ts';
import { makeCertificate } from '../../registry/certificate.ts';

const { cert, key } = makeCertificate();
const both = `${cert}${key}`;
const authority = `# Ours\n${makeCertificate().cert}`;

function certs(files: Record<string, string>) {
  const scratch = mkdtempDisposableSync(join(tmpdir(), 'berth-hosts-'));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(scratch.path, name, '..'), { recursive: true });
    writeFileSync(join(scratch.path, name), text);
  }
  return scratch;
}
const bases = async (domain: string, path: string) => (await endpointsFor(domain, path)).map(({ base }) => base.href);

for (const [domain, expected] of [
  ['docker.io', 'https://registry-1.docker.io/v2'],
  ['registry.example', 'https://registry.example/v2'],
  ['registry.example:5000', 'https://registry.example:5000/v2'],
  ['127.0.0.1:5000', 'http://127.0.0.1:5000/v2'],
  ['localhost:5000', 'http://localhost:5000/v2'],
  ['[::1]:5000', 'http://[::1]:5000/v2'],
  ['127.0.0.1.example:5000', 'https://127.0.0.1.example:5000/v2'],
  ['localhost', 'https://localhost/v2'],
] as const) {
  test(`without hosts.toml, ${domain} is at ${expected}`, async () => {
    assert.deepEqual(await bases(domain, '/nonexistent'), [expected]);
  });
}

test('mirrors in order, then the server, with the options of each', async () => {
  using scratch = certs({
    'docker.io/ca.pem': authority,
    'docker.io/both.pem': both,
    'docker.io/c.pem': cert,
    'docker.io/k.pem': key,
    'docker.io/hosts.toml': `
server = "https://upstream.example"
ca = "ca.pem"
[host."http://10.0.0.1:5000"]
  capabilities = ["pull", "resolve"]
  dial_timeout = "1m1.5s"
[host."https://mirror.example/proxy"]
  capabilities = ["pull"]
  client = [["c.pem", "k.pem"], "both.pem"]
  skip_verify = true
  [host."https://mirror.example/proxy".header]
    x-one = "1"
    x-two = ["2", "3"]
[host."https://mirror.example/v2/harbor"]
  override_path = true
[host."bare.example"]
`,
  });
  const found = await endpointsFor('docker.io', scratch.path);
  assert.deepEqual(
    found.map(({ base }) => base.href),
    [
      'http://10.0.0.1:5000/v2',
      'https://mirror.example/proxy/v2',
      'https://mirror.example/v2/harbor',
      'https://bare.example/v2',
      'https://upstream.example/v2',
    ],
  );
  assert.deepEqual(
    found.map(({ isOwner }) => isOwner),
    [false, false, false, false, true],
  );
  assert.equal(found[0]!.dialTimeoutMs, 61_500);
  assert.deepEqual([...found[1]!.capabilities], ['pull']);
  assert.deepEqual(found[1]!.tls, {
    ca: [],
    client: [
      { cert, key },
      { cert: both, key: both },
    ],
    skipVerify: true,
  });
  assert.deepEqual(found[1]!.headers, { 'x-one': '1', 'x-two': ['2', '3'] });
  assert.deepEqual(found[4]!.tls.ca, [authority]);
});

test('directory names: underscores, then the plain name, then _default; read anew each time', async () => {
  using scratch = certs({ '_default/hosts.toml': '[host."https://default.example"]' });
  assert.equal((await bases('r.example:5000', scratch.path))[0], 'https://default.example/v2');
  const put = (name: string, host: string) => {
    mkdirSync(join(scratch.path, name));
    writeFileSync(join(scratch.path, name, 'hosts.toml'), `[host."https://${host}"]`);
  };
  put('r.example:5000', 'plain.example');
  assert.equal((await bases('r.example:5000', scratch.path))[0], 'https://plain.example/v2');
  put('r.example_5000_', 'underscore.example');
  assert.deepEqual(await bases('r.example:5000', scratch.path), [
    'https://underscore.example/v2',
    'https://r.example:5000/v2',
  ]);
});

test('certificates without hosts.toml', async () => {
  using scratch = certs({ 'r.example/a.crt': authority, 'r.example/b.cert': cert, 'r.example/b.key': key });
  const [only] = await endpointsFor('r.example', scratch.path);
  assert.deepEqual(only!.tls, { ca: [authority], client: [{ cert, key }], skipVerify: false });
});

for (const [what, toml] of [
  ['is no TOML', 'server = '],
  ['has an unknown capability', '[host."https://a"]\ncapabilities = ["fly"]'],
  ['has a scheme that is neither', '[host."ftp://a"]'],
  ['has credentials in an address', '[host."https://u:s3cret@a"]'],
  ['has credentials in an address of another scheme', '[host."ftp://u:s3cret@a"]'],
  ['has credentials in what is no address', 'server = "https://u:s3cret@a:99999"'],
  ['has credentials beside what is no TOML', 'header.authorization = "s3cret"\nserver = '],
  ['has credentials of an address that is no table', 'host."https://u:s3cret@a" = 1'],
  ['has a dial timeout that is none', '[host."https://a"]\ndial_timeout = "soon"'],
  ['names a certificate that is not there', '[host."https://a"]\nca = "none.pem"'],
  ['has credentials that are no answer', '[host."https://a"]\ncredentials = "yes"'],
  ['has a flag that is none', '[host."https://a"]\nskip_verify = "true"'],
  ['has another flag that is none', 'override_path = 1'],
  ['has a server that is none', 'server = 5'],
  ['has a host that is no table', 'host = { a = 1 }'],
  ['has a port that is none', '[host."https://a:99999"]'],
  ['has a header that is none', '[host."https://a".header]\n"X Y" = "z"'],
  ['has a header of two lines', '[host."https://a".header]\nX-Y = ["a", "b\\nc"]'],
] as const) {
  test(`a hosts.toml that ${what} is refused, and named`, async () => {
    using scratch = certs({ 'r.example/hosts.toml': toml });
    await assert.rejects(endpointsFor('r.example', scratch.path), {
      kind: 'InvalidArgument',
      message: /^(?!.*s3cret).*r\.example\/hosts\.toml/s,
    });
  });
}

for (const [what, toml, named] of [
  ['an authority that is none', 'ca = "words.pem"', /ca "words.pem" has no certificate/],
  ['a key for an authority', 'ca = "k.pem"', /ca "k.pem" has no certificate/],
  ['a client whose certificate is none', 'client = [["words.pem", "k.pem"]]', /client "words.pem" with "k.pem"/],
  ['a client whose key is none', 'client = [["c.pem", "words.pem"]]', /client "c.pem" with "words.pem"/],
  ['a client with the key of another', 'client = [["c.pem", "other.pem"]]', /client "c.pem" with "other.pem"/],
  ['a client that has no key', 'client = "c.pem"', /client "c.pem" is no certificate with its key/],
] as const) {
  test(`${what} is told with its file`, async () => {
    using scratch = certs({
      'r.example/hosts.toml': `[host."https://a"]\n${toml}`,
      'r.example/words.pem': 'not found',
      'r.example/c.pem': cert,
      'r.example/k.pem': key,
      'r.example/other.pem': makeCertificate().key,
    });
    const refusal = { kind: 'InvalidArgument', message: new RegExp(`hosts\\.toml.*${named.source}`) };
    await assert.rejects(endpointsFor('r.example', scratch.path), refusal);
  });
}

const basic = { kind: 'basic', username: 'u', password: 'p:w' };
for (const { name, auth, expected } of [
  { name: 'none', auth: null, expected: { kind: 'none' } },
  { name: 'empty ones', auth: authOf({}), expected: { kind: 'none' } },
  { name: 'name and password', auth: authOf({ username: 'u', password: 'p:w' }), expected: basic },
  { name: 'base64', auth: authOf({ auth: Buffer.from('u:p:w\0\0').toString('base64') }), expected: basic },
  { name: 'base64 without padding', auth: authOf({ auth: 'dTpwOnc' }), expected: basic },
  {
    name: 'base64 of bytes that are no UTF-8',
    auth: authOf({ auth: Buffer.from('u:p\xe9', 'latin1').toString('base64') }),
    expected: { kind: 'basic', username: 'u', password: 'p\xe9', encoding: 'latin1' },
  },
  {
    name: 'an identity token',
    auth: authOf({ username: 'u', identityToken: 't' }),
    expected: { kind: 'identity', token: 't' },
  },
  { name: 'a registry token', auth: authOf({ registryToken: 't' }), expected: { kind: 'registry', token: 't' } },
  {
    name: 'those of the same registry',
    auth: authOf({ username: 'u', password: 'p:w', serverAddress: 'https://index.docker.io/v1/' }),
    expected: basic,
  },
  {
    name: 'those of another registry',
    auth: authOf({ username: 'u', password: 'p:w', serverAddress: 'other.example' }),
    expected: { kind: 'none' },
  },
]) {
  test(`credentials: ${name}`, () => {
    assert.deepEqual(credentialsFor('docker.io', auth), expected);
  });
}

test('credentials that are not base64 of two parts are refused', () => {
  assert.throws(() => credentialsFor('docker.io', authOf({ auth: 'bm9jb2xvbg==' })), { kind: 'InvalidArgument' });
});

test('a dial timeout is no longer than a timer takes', async () => {
  using scratch = certs({ 'r.example/hosts.toml': '[host."https://a"]\ndial_timeout = "1000000h"' });
  const [mirror] = await endpointsFor('r.example', scratch.path);
  assert.equal(mirror?.dialTimeoutMs, 24 * 3_600_000);
});

for (const [text, ms] of [
  ['.5s', 500],
  ['+1.s', 1000],
  ['1m0.5s', 60_500],
  ['', 30_000],
  ['0s', 30_000],
  ['0', 30_000],
] as const) {
  test(`a dial timeout of ${JSON.stringify(text)} is ${ms} ms, as Go reads it`, async () => {
    using scratch = certs({ 'r.example/hosts.toml': `[host."https://a"]\ndial_timeout = "${text}"` });
    const [mirror] = await endpointsFor('r.example', scratch.path);
    assert.equal(mirror?.dialTimeoutMs, ms);
  });
}

test('slashes that are too many are none', async () => {
  using scratch = certs({ 'r.example/hosts.toml': 'server = "https://s.example//a//b/"\n' });
  assert.equal((await endpointsFor('r.example', scratch.path))[0]?.base.href, 'https://s.example/a/b/v2');
});

test('a registry on this host is spoken to by either scheme, whatever else is said of it; its authorities count', async () => {
  const { cert } = makeCertificate();
  using scratch = certs({
    'localhost:1/hosts.toml': '[host."https://m.example"]\n',
    'localhost:2/ca.crt': cert,
    'localhost:3/hosts.toml': 'ca = "c.pem"\n',
    'localhost:3/c.pem': cert,
    'localhost:4/hosts.toml': 'server = "http://localhost:4"\n',
  });
  const facts = [1, 2, 3, 4].map(async (port) => {
    const { isEitherScheme, tls } = (await endpointsFor(`localhost:${port}`, scratch.path)).at(-1)!;
    return [isEitherScheme, tls.skipVerify];
  });
  assert.deepEqual(await Promise.all(facts), [
    [true, true],
    [true, false],
    [true, false],
    [false, false],
  ]);
});

test('a key that means nothing is told, with the one that may be meant', async () => {
  using scratch = certs({
    'r.example/hosts.toml': `sever = "https://a.example"\n[host."https://m.example"]\ncapabilites = ["pull"]\n`,
  });
  const remarks = (await endpointsFor('r.example', scratch.path)).flatMap((endpoint) => endpoint.remarks);
  assert.equal(remarks.length, 2);
  assert.match(remarks[0]!, /capabilites.*did you mean capabilities\?/);
  assert.match(remarks[1]!, /sever.*did you mean server\?/);
});

for (const [address, options, takes] of [
  ['https://mirror.example', '', true],
  ['https://mirror.example', 'credentials = false', false],
  ['https://mirror.example', 'skip_verify = true', false],
  ['https://mirror.example', 'skip_verify = true\ncredentials = true', true],
  ['http://mirror.example', '', false],
  ['http://mirror.example', 'credentials = true', true],
  ['http://127.0.0.1:5000', '', true],
] as const) {
  test(`a mirror ${address} ${options} is ${takes ? 'shown' : 'not shown'} a pull's credentials`, async () => {
    using scratch = certs({ 'r.example/hosts.toml': `[host."${address}"]\n${options}\n` });
    const [mirror, owner] = await endpointsFor('r.example', scratch.path);
    assert.deepEqual([mirror?.takesCredentials, owner?.takesCredentials, mirror?.remarks], [takes, true, []]);
  });
}

test('of several folders the first that says something of a registry counts alone', async () => {
  using scratch = certs({
    'own/r.example/hosts.toml': 'server = "https://own.example"\n',
    'other/r.example/hosts.toml': '[host."https://other.example"]\n',
    'other/_default/hosts.toml': '[host."https://default.example"]\n',
    'last/s.example/hosts.toml': '[host."https://last.example"]\n',
  });
  const path = ['own', 'nowhere', 'other', 'last'].map((name) => join(scratch.path, name)).join(':');
  assert.deepEqual(await bases('r.example', path), ['https://own.example/v2']);
  assert.deepEqual(await bases('s.example', path), ['https://default.example/v2', 'https://s.example/v2']);
});

test('a capability of containerd that nothing here asks for is no mistake', async () => {
  using scratch = certs({ 'r.example/hosts.toml': 'capabilities = ["pull", "Referrers", "resolve"]\n' });
  const [only] = await endpointsFor('r.example', scratch.path);
  assert.deepEqual([...only!.capabilities], ['pull', 'resolve']);
});

test('no capability at all means all of them, as containerd reads it', async () => {
  using scratch = certs({ 'r.example/hosts.toml': 'capabilities = []\n' });
  const [only] = await endpointsFor('r.example', scratch.path);
  assert.deepEqual([...only!.capabilities], ['pull', 'resolve', 'push']);
});
