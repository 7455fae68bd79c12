// https: whom to trust, and what must not leave it.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { rootCertificates, type TLSSocket } from 'node:tls';
import { ownHost } from '../harness/own-host.ts';
import { authOf } from '../registry/auth.ts';
import { type Certificate, makeCertificate } from '../registry/certificate.ts';
import { image, layer, pushImage } from '../registry/images.ts';
import { type Misbehave, startProxy } from '../registry/proxy.ts';
import { type Registry, startRegistry } from '../registry/server.ts';
import { Store } from '../registry/store.ts';
import { file, tar } from '../registry/tar.ts';

await ownHost();

const built = image([layer(tar(file('a', 'x')))]);
const auth = authOf({ username: 'u', password: 'p' });
const reference = 'r.example/app:v1';
let registry: Registry;
let certificate: Certificate;
before(async () => {
  certificate = makeCertificate();
  registry = await startRegistry();
  await pushImage({ host: registry.host, repository: 'app' }, 'v1', built);
});
after(() => registry[Symbol.asyncDispose]());

/** A store that finds r.example at an https server of ours. */
async function secured(options: string, misbehave?: Misbehave) {
  const proxy = await startProxy(registry.host, misbehave, certificate);
  const store = await Store.open();
  store.hosts('r.example', `server = "https://${proxy.host}"\n${options}\n`);
  writeFileSync(join(store.certsDir, 'r.example/ca.pem'), certificate.cert);
  writeFileSync(join(store.certsDir, 'r.example/key.pem'), certificate.key);
  const dispose = async () => {
    await store[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  };
  return { proxy, store, [Symbol.asyncDispose]: dispose };
}

/** Makes an authority one of the host's, as update-ca-certificates does; returns what undoes it. */
function trustOnHost({ cert }: Certificate): () => void {
  const before = process.env.SSL_CERT_FILE;
  const folder = mkdtempSync(join(tmpdir(), 'berth-authorities-'));
  process.env.SSL_CERT_FILE = join(folder, 'bundle.pem');
  writeFileSync(process.env.SSL_CERT_FILE, `${rootCertificates.slice(0, 2).join('\n')}\n${cert}`);
  return () => {
    if (before === undefined) delete process.env.SSL_CERT_FILE;
    else process.env.SSL_CERT_FILE = before;
    rmSync(folder, { recursive: true });
  };
}

test('a certificate that nobody vouches for is refused, and no credentials are sent', async () => {
  await using scene = await secured('');
  await assert.rejects(scene.store.images.pull({ reference, auth }), {
    kind: 'Unavailable',
    message: /self-signed certificate; add its authority to the host/,
  });
  assert.deepEqual(scene.proxy.asked, []);
});

for (const options of ['ca = "ca.pem"', 'skip_verify = true']) {
  test(`${options} makes it trusted, from the next pull on`, async () => {
    await using scene = await secured('');
    await assert.rejects(scene.store.pull(reference), { kind: 'Unavailable' });
    scene.store.hosts('r.example', `server = "https://${scene.proxy.host}"\n${options}\n`);
    assert.equal((await scene.store.pull(reference)).id, built.config.digest);
  });
}

for (const options of ['', 'ca = "key-of-another.pem"']) {
  test(`an authority of the host is trusted${options && ', beside those of hosts.toml'}`, async (t) => {
    t.after(trustOnHost(certificate));
    await using scene = await secured(options);
    writeFileSync(join(scene.store.certsDir, 'r.example/key-of-another.pem'), makeCertificate().cert);
    assert.equal((await scene.store.pull(reference)).id, built.config.digest);
  });
}

test('a client certificate is shown', async () => {
  let shown = '';
  await using scene = await secured('ca = "ca.pem"\nclient = [["ca.pem", "key.pem"]]', (incoming) => {
    shown ||= String((incoming.socket as TLSSocket).getPeerCertificate().subject?.CN ?? '');
    return false;
  });
  await scene.store.pull(reference);
  assert.equal(shown, 'test');
});

test('a token service in plain http that an https registry names gets nothing', async () => {
  await using service = await startProxy(registry.host);
  await using scene = await secured('ca = "ca.pem"', (_, outgoing) => {
    outgoing.writeHead(401, { 'www-authenticate': `Bearer realm="http://${service.host}/token",service="x"` }).end();
    return true;
  });
  await assert.rejects(scene.store.images.pull({ reference, auth }), {
    kind: 'FailedPrecondition',
    message: /names the token service http:/,
  });
  assert.deepEqual(service.asked, []);
});

test('a redirect from https to http is refused', async () => {
  await using elsewhere = await startProxy(registry.host);
  await using scene = await secured('ca = "ca.pem"', (incoming, outgoing) => {
    if (!incoming.url?.includes('/blobs/')) return false;
    outgoing.writeHead(307, { location: `http://${elsewhere.host}${incoming.url}` }).end();
    return true;
  });
  await assert.rejects(scene.store.images.pull({ reference, auth }), {
    kind: 'FailedPrecondition',
    message: /redirects from https: to http:/,
  });
  assert.deepEqual(elsewhere.asked, []);
  assert.deepEqual(scene.store.leftovers(), []);
});

test('where a redirect ends, nothing that is for the registry is shown, and a token of that place is used', async (t) => {
  t.after(trustOnHost(certificate));
  const certificates: string[] = [];
  const elsewhere: Misbehave = (incoming, outgoing, self) => {
    certificates.push(String((incoming.socket as TLSSocket).getPeerCertificate().subject?.CN ?? 'none'));
    if (incoming.url?.startsWith('/token')) outgoing.end('{"token":"of-anybody"}');
    else if (incoming.headers.authorization === 'Bearer of-anybody') return false;
    else outgoing.writeHead(401, { 'www-authenticate': `Bearer realm="https://${self.host}/token"` }).end();
    return true;
  };
  await using stranger = await startProxy(registry.host, elsewhere, certificate);
  const options = 'ca = "ca.pem"\nclient = [["ca.pem", "key.pem"]]\n[header]\nx-operator = "secret"';
  const basic = `Basic ${Buffer.from('u:p').toString('base64')}`;
  await using scene = await secured(options, (incoming, outgoing) => {
    if (incoming.headers.authorization !== basic) {
      outgoing.writeHead(401, { 'www-authenticate': 'Basic realm="home"' }).end();
    } else outgoing.writeHead(307, { location: `https://${stranger.host}${incoming.url}` }).end();
    return true;
  });
  assert.equal((await scene.store.images.pull({ reference, auth })).id, built.config.digest);
  assert.ok(scene.proxy.asked.some(({ headers }) => headers['x-operator'] === 'secret'));
  assert.equal(stranger.asked.filter(({ url }) => url.startsWith('/token')).length, 1, 'one token serves the pull');
  for (const { headers } of stranger.asked) {
    assert.equal(headers['x-operator'], undefined);
    assert.ok(headers.authorization === undefined || headers.authorization === 'Bearer of-anybody');
  }
  assert.deepEqual([...new Set(certificates)], ['none']);
});

test('a mirror that need not be trusted makes the registry at the same address no less suspicious', async () => {
  await using scene = await secured('', (incoming, outgoing) => {
    if (!incoming.url?.includes('ns=')) return false;
    outgoing.writeHead(404).end();
    return true;
  });
  const { host } = scene.proxy;
  scene.store.hosts('r.example', `server = "https://${host}"\n[host."https://${host}"]\nskip_verify = true\n`);
  await assert.rejects(scene.store.images.pull({ reference, auth }), { message: /self-signed certificate/ });
  for (const { url } of scene.proxy.asked) assert.match(url, /ns=/);
});

test('the token that an https realm gives is used, and the password goes there alone', async () => {
  const used: (string | undefined)[] = [];
  await using scene = await secured('skip_verify = true', (incoming, outgoing, self) => {
    used.push(incoming.headers.authorization);
    if (incoming.url?.startsWith('/token')) outgoing.end('{"token":"abc"}');
    else if (!incoming.headers.authorization) {
      outgoing.writeHead(401, { 'www-authenticate': `Bearer realm="https://${self.host}/token",service="x"` }).end();
    } else return false;
    return true;
  });
  await scene.store.images.pull({ reference, auth });
  assert.deepEqual(used.slice(0, 3), [undefined, `Basic ${Buffer.from('u:p').toString('base64')}`, 'Bearer abc']);
});

for (const body of ['{}', 'no json', '{"token":"with\\nnewline"}', '{"token":5}']) {
  test(`a token service that answers ${body} is refused`, async () => {
    await using scene = await secured('ca = "ca.pem"', (incoming, outgoing, self) => {
      if (incoming.url?.startsWith('/token')) outgoing.end(body);
      else outgoing.writeHead(401, { 'www-authenticate': `Bearer realm="https://${self.host}/token"` }).end();
      return true;
    });
    await assert.rejects(scene.store.pull(reference), { name: 'Fault' });
  });
}
