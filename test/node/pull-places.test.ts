// Mirrors and registries on their bad days: what one of them costs a pull, in requests, and whom it delays.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createTcpServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ownHost } from '../harness/own-host.ts';
import { makeCertificate } from '../registry/certificate.ts';
import { image, layer, ociManifest, pushImage } from '../registry/images.ts';
import { type Misbehave, startProxy } from '../registry/proxy.ts';
import { type Registry, startRegistry } from '../registry/server.ts';
import { Store } from '../registry/store.ts';
import { file, tar } from '../registry/tar.ts';

await ownHost();

const content = randomBytes(34_000_000);
const large = image([layer(tar(file('noise', content)), 'none')]);
const small = image([layer(tar(file('a', 'x')))]);
const { digest, data } = large.layers[0]!.blob;
let registry: Registry;
before(async () => {
  registry = await startRegistry();
  await pushImage({ host: registry.host, repository: 'large' }, 'v1', large);
  await pushImage({ host: registry.host, repository: 'small' }, 'v1', small);
});
after(() => registry[Symbol.asyncDispose]());

const isLayer = ({ url = '' }: { url?: string }) => url.includes(digest);
const refuse =
  (code: number, headers: Record<string, string> = {}): Misbehave =>
  (_incoming, outgoing) => {
    outgoing.writeHead(code, headers).end();
    return true;
  };
const onLayer =
  (act: Misbehave): Misbehave =>
  (incoming, ...rest) =>
    isLayer(incoming) && act(incoming, ...rest);

async function holds(store: Store, id: string): Promise<void> {
  assert.ok(readFileSync(join(await store.mount(id), 'noise')).equals(content));
  store.unmount();
}

describe('a mirror that', () => {
  const bad: Readonly<Record<string, { act: Misbehave; most: number }>> = {
    'answers 502 to all': { act: refuse(502), most: 1 },
    'answers 502 to the layer': { act: onLayer(refuse(502)), most: 8 },
    'answers 500 to the layer': { act: onLayer(refuse(500)), most: 8 },
    'answers 503 with an hour to wait': { act: onLayer(refuse(503, { 'retry-after': '3600' })), most: 8 },
    'answers 429 with an hour to wait': { act: onLayer(refuse(429, { 'retry-after': '3600' })), most: 8 },
    'has not the layer': { act: onLayer(refuse(404)), most: 8 },
    'wants credentials for the layer': { act: onLayer(refuse(403)), most: 12 },
    'hangs up': { act: onLayer((_incoming, outgoing) => Boolean(outgoing.destroy())), most: 12 },
    'sends a page for the layer': {
      act: onLayer((_incoming, outgoing) => {
        outgoing.writeHead(200, { 'content-type': 'text/html' }).end('<html>Please log in</html>');
        return true;
      }),
      most: 8,
    },
    'sends a page for the manifest': {
      act: (_incoming, outgoing) => {
        outgoing.writeHead(200, { 'content-type': 'text/html' }).end('<html>Please log in</html>');
        return true;
      },
      most: 6,
    },
    ...Object.fromEntries(
      ['{"status":"please log in"}', '{"schemaVersion":2,"layers":[]}', '[]', ''].map((text) => [
        `sends ${text || 'nothing'} for the manifest`,
        {
          act: (_incoming, outgoing) => {
            outgoing.writeHead(200, { 'content-type': 'application/json' }).end(text);
            return true;
          },
          most: 1,
        } satisfies { act: Misbehave; most: number },
      ]),
    ),
    'sends other bytes, and breaks off': {
      act: onLayer((_incoming, outgoing) => {
        outgoing.writeHead(200, { 'content-length': data.length });
        outgoing.write(randomBytes(1_000_000), () => outgoing.destroy());
        return true;
      }),
      most: 8,
    },
    'sends other bytes of the same length': {
      act: onLayer((_incoming, outgoing) => {
        outgoing.end(randomBytes(data.length));
        return true;
      }),
      most: 8,
    },
  };
  for (const [name, { act, most }] of Object.entries(bad)) {
    test(`${name} costs at most ${most} requests, and the registry gives the image`, async () => {
      await using mirror = await startProxy(registry.host, act);
      await using store = await Store.open();
      store.hosts('r.example', `server = "http://${registry.host}"\n[host."http://${mirror.host}"]\n`);
      const { id } = await store.pull('r.example/large:v1');
      await holds(store, id);
      assert.ok(mirror.asked.length <= most, mirror.asked.map(({ url }) => url).join('\n'));
    });
  }

  const many = image(Array.from({ length: 8 }, (_, i) => layer(tar(file(`m${i}`, randomBytes(20_000))), 'none')));
  const ofMany = ({ url = '' }: { url?: string }) =>
    many.layers.find(({ blob }) => url.includes(blob.digest))?.blob.data;
  const sends: Readonly<Record<string, (bytes: Buffer, outgoing: ServerResponse) => void>> = {
    'is silent in the middle of layers': (bytes, outgoing) => {
      outgoing.writeHead(200, { 'content-length': bytes.length }).write(bytes.subarray(0, 100));
    },
    'gives other bytes than layers': (bytes, outgoing) => {
      outgoing.end(randomBytes(bytes.length));
    },
  };
  for (const [name, send] of Object.entries(sends)) {
    test(`${name} is asked for those under way, and for no more`, async () => {
      await pushImage({ host: registry.host, repository: 'many' }, 'v1', many);
      await using mirror = await startProxy(registry.host, (incoming, outgoing) => {
        const bytes = ofMany(incoming);
        if (bytes) send(bytes, outgoing);
        return bytes !== undefined;
      });
      await using store = await Store.open({ progressTimeoutMs: 4000, maxParallelLayers: 2 });
      store.hosts('r.example', `server = "http://${registry.host}"\n[host."http://${mirror.host}"]\n`);
      assert.equal((await store.pull('r.example/many:v1')).id, many.config.digest);
      assert.ok(mirror.asked.filter(ofMany).length <= 3, mirror.asked.map(({ url }) => url).join('\n'));
    });
  }

  test('takes connections and says nothing costs about what dialling may', { timeout: 30_000 }, async () => {
    await using mirror = await startProxy(registry.host, () => true);
    await using store = await Store.open();
    const options = 'dial_timeout = "1s"';
    store.hosts('r.example', `server = "http://${registry.host}"\n[host."http://${mirror.host}"]\n${options}\n`);
    assert.equal((await store.pull('r.example/small:v1')).id, small.config.digest);
    assert.equal(mirror.asked.length, 1);
  });

  test('takes its time is waited for where the registry cannot be reached', { timeout: 60_000 }, async () => {
    let first = true;
    await using mirror = await startProxy(registry.host, () => {
      const isSilent = first;
      first = false;
      return isSilent;
    });
    await using store = await Store.open();
    const options = 'dial_timeout = "1s"';
    store.hosts('r.example', `server = "http://127.0.0.1:1"\n[host."http://${mirror.host}"]\n${options}\n`);
    assert.equal((await store.pull('r.example/small:v1')).id, small.config.digest);
  });

  test('refuses connections is passed over by the next pulls too, and asked again when nobody else is left', async () => {
    await using store = await Store.open();
    await using mirror = await startProxy(registry.host, refuse(502));
    store.hosts('r.example', `server = "http://127.0.0.1:1"\n[host."http://${mirror.host}"]\n`);
    await assert.rejects(store.pull('r.example/small:v1'), /502.*ECONNREFUSED 127\.0\.0\.1:1/s);
    const before = mirror.asked.length;
    await assert.rejects(store.pull('r.example/small:v1'), { kind: 'Unavailable' });
    assert.ok(mirror.asked.length > before, 'both are down: both are asked again');
  });
});

describe('a registry that answers a request for a part of a layer with', () => {
  const partOf = (incoming: IncomingMessage): [from: number, to: number] => {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(incoming.headers.range ?? '') ?? [];
    return [Number(from), Number(to) + 1];
  };
  const answers: Readonly<Record<string, (incoming: IncomingMessage, outgoing: ServerResponse) => void>> = {
    ...Object.fromEntries(
      [400, 403, 405, 406, 412, 416, 428, 501, 505].map((code) => [
        code,
        (_: unknown, outgoing: ServerResponse) => outgoing.writeHead(code).end(),
      ]),
    ),
    'a 206 that says not which part': (incoming, outgoing) =>
      outgoing.writeHead(206).end(data.subarray(...partOf(incoming))),
    'a 206 of another part': (incoming, outgoing) => {
      const [from, to] = partOf(incoming);
      outgoing
        .writeHead(206, { 'content-range': `bytes ${from + 1}-${to}/${data.length}` })
        .end(data.subarray(from + 1, to + 1));
    },
    'a 206 of the whole': (_incoming, outgoing) =>
      outgoing.writeHead(206, { 'content-range': `bytes 0-${data.length - 1}/${data.length}` }).end(data),
    'a 206 of the part that holds the whole': (incoming, outgoing) => {
      const [from, to] = partOf(incoming);
      outgoing.writeHead(206, { 'content-range': `bytes ${from}-${to - 1}/${data.length}` }).end(data);
    },
    'a 206 whose length is another': (incoming, outgoing) => {
      const [from, to] = partOf(incoming);
      const headers = { 'content-range': `bytes ${from}-${to - 1}/${data.length}`, 'content-length': 10 };
      outgoing.writeHead(206, headers).end(data.subarray(from, from + 10));
    },
    'several parts in one': (_incoming, outgoing) =>
      outgoing.writeHead(206, { 'content-type': 'multipart/byteranges; boundary=b' }).end('--b\r\n\r\nx\r\n--b--'),
    'a 206 with an odd range': (incoming, outgoing) =>
      outgoing.writeHead(206, { 'content-range': 'all of it' }).end(data.subarray(...partOf(incoming))),
    'the whole': (_incoming, outgoing) => outgoing.writeHead(200).end(data),
  };
  for (const [name, answer] of Object.entries(answers)) {
    test(`${name} is asked for the whole, once, and that is remembered`, async () => {
      await using proxy = await startProxy(
        registry.host,
        onLayer((incoming, outgoing) => {
          if (incoming.headers.range === undefined) return false;
          answer(incoming, outgoing);
          return true;
        }),
      );
      await using store = await Store.open();
      const reference = `${proxy.host}/large:v1`;
      const ofLayer = () => proxy.asked.filter(isLayer).map(({ headers }) => headers.range ?? 'whole');
      const { id } = await store.pull(reference);
      await holds(store, id);
      assert.equal(ofLayer().filter((range) => range === 'whole').length, 1);
      assert.ok(ofLayer().length <= 5, ofLayer().join(' '));
      const before = ofLayer().length;
      await store.images.remove(id, () => false);
      await store.pull(reference);
      assert.deepEqual(ofLayer().slice(before), ['whole']);
    });
  }

  test('bytes by the crumb is asked for the whole, after few requests', async () => {
    await using proxy = await startProxy(
      registry.host,
      onLayer((incoming, outgoing) => {
        if (incoming.headers.range === undefined) return false;
        const [from, to] = partOf(incoming);
        outgoing.writeHead(206, { 'content-range': `bytes ${from}-${to - 1}/${data.length}` });
        outgoing.end(data.subarray(from, from + 10));
        return true;
      }),
    );
    await using store = await Store.open();
    await holds(store, (await store.pull(`${proxy.host}/large:v1`)).id);
    assert.ok(proxy.asked.length < 100, `${proxy.asked.length} requests`);
  });

  test('hang-ups is asked for the whole', async () => {
    await using proxy = await startProxy(
      registry.host,
      onLayer((incoming, outgoing) => incoming.headers.range !== undefined && Boolean(outgoing.destroy())),
    );
    await using store = await Store.open();
    await holds(store, (await store.pull(`${proxy.host}/large:v1`)).id);
  });

  test('whatever, and a request for the whole with a 206, gives the whole', async () => {
    for (const headers of [{}, { 'content-range': `bytes 0-${data.length - 1}/${data.length}` }]) {
      await using proxy = await startProxy(
        registry.host,
        onLayer((_incoming, outgoing) => Boolean(outgoing.writeHead(206, headers).end(data))),
      );
      await using store = await Store.open();
      await holds(store, (await store.pull(`${proxy.host}/large:v1`)).id);
    }
  });

  test('a refusal, when it breaks off a transfer, is asked for the whole again', async () => {
    let broken = 0;
    await using proxy = await startProxy(
      registry.host,
      onLayer(async (incoming, outgoing, self) => {
        if (incoming.headers.range !== undefined) return refuse(416)(incoming, outgoing, self);
        if (broken++ > 0) return false;
        await self.forward(incoming, outgoing, (body) => body.subarray(0, 1_000_000));
        return true;
      }),
    );
    await using store = await Store.open({ connectionsPerLayer: 1 });
    const { id } = await store.pull(`${proxy.host}/large:v1`);
    await holds(store, id);
    const ranges = proxy.asked.filter(isLayer).map(({ headers }) => headers.range ?? 'whole');
    assert.deepEqual(ranges, ['whole', `bytes=1000000-${data.length - 1}`, 'whole']);
  });
});

test('layers that trickle or are silent delay no other registry', async () => {
  const parts = Array.from({ length: 3 }, (_, i) => layer(tar(file(`f${i}`, randomBytes(5000))), 'none'));
  const slow = image(parts);
  await pushImage({ host: registry.host, repository: 'slow' }, 'v1', slow);
  for (const trickles of [true, false]) {
    const timers: NodeJS.Timeout[] = [];
    await using proxy = await startProxy(registry.host, (incoming, outgoing) => {
      const found = slow.layers.find(({ blob }) => incoming.url?.includes(blob.digest));
      if (!found) return false;
      outgoing.writeHead(200, { 'content-length': found.blob.data.length }).flushHeaders();
      let at = 0;
      if (trickles) timers.push(setInterval(() => outgoing.write(found.blob.data.subarray(at, ++at)), 50));
      return true;
    });
    await using store = await Store.open();
    const leave = new AbortController();
    const waiting = store.pull(`${proxy.host}/slow:v1`, leave.signal);
    waiting.catch(() => {});
    while (proxy.asked.filter(({ url }) => slow.layers.some(({ blob }) => url.includes(blob.digest))).length < 3)
      await new Promise((resolve) => setImmediate(resolve));
    await store.pull(`${registry.host}/small:v1`); // it would wait for as long as the other does: minutes
    leave.abort(new Error('enough'));
    await assert.rejects(waiting, /enough/);
    timers.forEach(clearInterval);
  }
});

describe('an image that is here', () => {
  const pulledTwice = async (misbehave: Misbehave) => {
    await using proxy = await startProxy(registry.host, misbehave);
    await using store = await Store.open();
    const first = await store.pull(`${proxy.host}/small:v1`);
    const before = proxy.asked.length;
    const second = await store.pull(`${proxy.host}/small:v1`);
    return { first, second, asked: proxy.asked.slice(before).map(({ method }) => method) };
  };

  test('costs one HEAD', async () => {
    const { first, second, asked } = await pulledTwice(() => false);
    assert.deepEqual(asked, ['HEAD']);
    assert.deepEqual(second, first);
  });

  test('costs one HEAD where its digest is said twice', async () => {
    const { asked } = await pulledTwice((incoming, outgoing) => {
      if (incoming.method !== 'HEAD') return false;
      const digest = small.manifest.digest;
      outgoing.writeHead(200, { 'docker-content-digest': [digest, digest], 'content-type': ociManifest }).end();
      return true;
    });
    assert.deepEqual(asked, ['HEAD']);
  });

  test('is described anew if an earlier version has not kept its document; its layers stay', async () => {
    await using proxy = await startProxy(registry.host, () => false);
    await using store = await Store.open();
    const { id, layers } = await store.pull(`${proxy.host}/small:v1`);
    rmSync(join(store.root, 'v1/documents', id.replace(':', '-')));
    await store.reopen();
    const before = proxy.asked.length;
    const again = await store.pull(`${proxy.host}/small:v1`);
    assert.deepEqual(again.layers, layers);
    assert.deepEqual(await store.images.document(again), small.config.data);
    assert.deepEqual(
      proxy.asked.slice(before).map(({ method }) => method),
      ['HEAD', 'GET', 'GET'],
    );
  });

  test('is asked for as ever where a HEAD is refused', async () => {
    const { first, second, asked } = await pulledTwice(
      (incoming, outgoing, self) => incoming.method === 'HEAD' && refuse(405)(incoming, outgoing, self),
    );
    assert.equal(asked[0], 'HEAD');
    assert.ok(asked.includes('GET'));
    assert.equal(second.id, first.id);
  });

  test('gets another tag by it, and loses it when the tag moves', async () => {
    await using own = await startRegistry();
    await pushImage({ host: own.host, repository: 'app' }, 'v1', small);
    await pushImage({ host: own.host, repository: 'app' }, 'v2', small);
    await using store = await Store.open();
    const { id } = await store.pull(`${own.host}/app:v1`);
    assert.deepEqual((await store.pull(`${own.host}/app:v2`)).tags, [`${own.host}/app:v1`, `${own.host}/app:v2`]);
    const other = image([layer(tar(file('b', 'y')))]);
    await pushImage({ host: own.host, repository: 'app' }, 'v2', other);
    assert.notEqual((await store.pull(`${own.host}/app:v2`)).id, id);
    assert.deepEqual(store.images.find(id)?.tags, [`${own.host}/app:v1`]);
  });

  test('is not given to who may not have it', async () => {
    let isClosed = false;
    await using proxy = await startProxy(registry.host, (incoming, outgoing, self) =>
      isClosed ? refuse(403)(incoming, outgoing, self) : false,
    );
    await using store = await Store.open();
    await store.pull(`${proxy.host}/small:v1`);
    isClosed = true;
    await assert.rejects(store.pull(`${proxy.host}/small:v1`), {
      kind: 'Unauthenticated',
      message: /without credentials/,
    });
  });
});

describe('a registry on this host of which nothing is said', () => {
  test('is spoken to by https if it speaks that, whoever vouches for it', async () => {
    await using proxy = await startProxy(registry.host, () => false, makeCertificate());
    await using store = await Store.open();
    assert.equal((await store.pull(`${proxy.host}/small:v1`)).id, small.config.digest);
    assert.equal((await store.pull(`${proxy.host}/large:v1`)).id, large.config.digest);
  });

  test('is asked in plain http again when another one listens there', async () => {
    await using store = await Store.open();
    let host = '';
    for (const certificate of [makeCertificate(), null, makeCertificate()]) {
      await using proxy = await startProxy(registry.host, () => false, certificate, Number(host.split(':')[1] ?? 0));
      host = proxy.host;
      await store.pull(`${host}/small:v1`);
      assert.ok(proxy.asked.length > 0);
    }
  });

  test('may have its token service by https on this host, whoever vouches for that', async () => {
    for (const where of ['beside it', 'at a port of its own', 'elsewhere']) {
      const token: Misbehave = ({ url }, outgoing) => {
        if (!url?.startsWith('/token')) return false;
        outgoing.end('{"token":"good"}');
        return true;
      };
      await using service = await startProxy(registry.host, token, makeCertificate());
      const realm = (self: string) =>
        ({ 'beside it': `https://${self}`, 'at a port of its own': `https://${service.host}` })[where] ??
        'https://token.invalid';
      const guard: Misbehave = (incoming, outgoing, self) => {
        if (incoming.headers.authorization === 'Bearer good') return false;
        if (incoming.url?.startsWith('/token')) return token(incoming, outgoing, self);
        outgoing.writeHead(401, { 'www-authenticate': `Bearer realm="${realm(self.host)}/token"` }).end();
        return true;
      };
      await using proxy = await startProxy(registry.host, guard, makeCertificate());
      await using store = await Store.open();
      const pulled = store.pull(`${proxy.host}/small:v1`);
      if (where === 'elsewhere') await assert.rejects(pulled, /token\.invalid/);
      else assert.equal((await pulled).id, small.config.digest);
    }
  });

  test('is spoken to by https also where its mirror, or its authority, is said', async () => {
    const certificate = makeCertificate();
    await using proxy = await startProxy(registry.host, () => false, certificate);
    await using store = await Store.open();
    store.hosts(proxy.host, '[host."http://127.0.0.1:1"]\n');
    assert.equal((await store.pull(`${proxy.host}/small:v1`)).id, small.config.digest);
    await using other = await Store.open();
    mkdirSync(join(other.certsDir, proxy.host));
    writeFileSync(join(other.certsDir, proxy.host, 'ca.crt'), certificate.cert);
    assert.equal((await other.pull(`${proxy.host}/small:v1`)).id, small.config.digest);
  });

  test('and its own 400 in plain http is told', async () => {
    await using proxy = await startProxy(registry.host, refuse(400));
    await using store = await Store.open();
    await assert.rejects(store.pull(`${proxy.host}/small:v1`), /answered 400/);
  });
});

describe('an insecure place of registries.conf without a port', () => {
  const pulled = async (host: string) => {
    await using store = await Store.open({ registriesConf: conf(host) });
    return (await store.pull('r.example/app/small:v1')).id;
  };
  const conf = (host: string) => {
    const path = join(folder, 'registries.conf');
    writeFileSync(path, `[[registry]]\nprefix = "r.example/app"\nlocation = "${host}"\ninsecure = true\n`);
    return path;
  };
  const folder = mkdtempSync(join(tmpdir(), 'berth-insecure-'));
  after(() => rmSync(folder, { recursive: true }));

  test('is asked by https: what answers at the port of http may be no registry', async () => {
    await using other = await startProxy(registry.host, refuse(404), null, 80);
    await using proxy = await startProxy(registry.host, () => false, makeCertificate(), 443);
    assert.equal(await pulled('127.0.0.1'), small.config.digest);
    assert.deepEqual([proxy.asked.length > 0, other.asked.length], [true, 0]);
  });

  test('and in plain http where nobody answers that', async () => {
    await using plain = await startProxy(registry.host, () => false, null, 80);
    assert.equal(await pulled('127.0.0.1'), small.config.digest);
    assert.ok(plain.asked.length > 0);
  });

  test('that is down is told once', async () => {
    await assert.rejects(pulled('127.0.0.1'), { kind: 'Unavailable', message: /ECONNREFUSED/ });
  });
});

test('a server without a path of its own is asked at its root', async () => {
  const atRoot: Misbehave = (incoming, outgoing, self) => {
    if (!incoming.url?.startsWith('/small/')) return refuse(404)(incoming, outgoing, self);
    incoming.url = `/v2${incoming.url}`;
    return false;
  };
  await using proxy = await startProxy(registry.host, atRoot);
  await using store = await Store.open();
  store.hosts('r.example', `server = "http://${proxy.host}"\noverride_path = true\n`);
  assert.equal((await store.pull('r.example/small:v1')).id, small.config.digest);
});

test('a server that is not the registry is told which registry is meant', async () => {
  await using proxy = await startProxy(registry.host);
  await using store = await Store.open();
  store.hosts('r.example', `server = "http://${proxy.host}"\n`);
  await store.pull('r.example/small:v1');
  assert.ok(
    proxy.asked.every(({ url }) => url.endsWith('?ns=r.example')),
    proxy.asked.map(({ url }) => url).join(' '),
  );
});

test('an interrupted document is asked for once more', async () => {
  const interrupted = new Set<string>();
  await using proxy = await startProxy(registry.host, async (incoming, outgoing, self) => {
    const url = incoming.url ?? '';
    if (interrupted.has(url)) return false;
    interrupted.add(url);
    if (url.includes('/manifests/')) outgoing.destroy();
    else await self.forward(incoming, outgoing, (body) => body.subarray(0, 10));
    return true;
  });
  await using store = await Store.open();
  assert.equal((await store.pull(`${proxy.host}/small:v1`)).id, small.config.digest);
});

test('a redirect is followed as it is spelled: a signature may be of its very bytes', async () => {
  const spelled: string[] = [];
  const spelling = `/signed?sig='a'&b=%2f|c`;
  await using store_ = await startProxy(registry.host, (incoming, outgoing) => {
    spelled.push(incoming.url ?? '');
    outgoing.end(small.layers[0]!.blob.data);
    return true;
  });
  await using proxy = await startProxy(registry.host, (incoming, outgoing) => {
    if (!incoming.url?.includes(small.layers[0]!.blob.digest)) return false;
    outgoing.writeHead(307, { location: `http://${store_.host}${spelling}` }).end();
    return true;
  });
  await using store = await Store.open();
  await store.pull(`${proxy.host}/small:v1`);
  assert.deepEqual(spelled, [spelling]);
});

test('redirects are followed where they lead: a query alone is of the path that was asked for; ten are followed', async () => {
  await using proxy = await startProxy(registry.host, (incoming, outgoing) => {
    const [path = '', query = ''] = (incoming.url ?? '').split('?');
    const hops = Number(query.slice(4));
    if (!path.includes('/blobs/') || hops === 10) return false;
    outgoing.writeHead(307, { location: `?hop=${hops + 1}` }).end();
    return true;
  });
  await using store = await Store.open();
  assert.equal((await store.pull(`${proxy.host}/small:v1`)).id, small.config.digest);
});

test('a document that was encoded unasked is read; a layer that is only called so is taken as it is sent', async () => {
  await using proxy = await startProxy(registry.host, (incoming, outgoing) => {
    const encoded = { 'content-encoding': 'gzip' };
    if (incoming.url?.includes('/manifests/'))
      outgoing.writeHead(200, { ...encoded, 'content-type': ociManifest }).end(gzipSync(small.manifest.data));
    else if (incoming.url?.includes(small.config.digest)) outgoing.writeHead(200, encoded).end(small.config.data);
    else if (incoming.url?.includes('/blobs/')) outgoing.writeHead(200, encoded).end(small.layers[0]!.blob.data);
    else return false;
    return true;
  });
  await using store = await Store.open();
  assert.equal((await store.pull(`${proxy.host}/small:v1`)).id, small.config.digest);
});

describe("answers that Go's clients take", () => {
  const body = small.manifest.data.toString();
  const type = `Content-Type: ${ociManifest}`;
  const length = `Content-Length: ${Buffer.byteLength(body)}`;
  const chunked = `${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  const answers: Readonly<Record<string, string>> = {
    'a length beside chunks': `${type}\r\n${length}\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`,
    'a folded header': `${type}\r\nX-Policy: one\r\n two\r\n${length}\r\n\r\n${body}`,
    '40 KB of headers': `${type}\r\n${Array.from({ length: 40 }, (_, i) => `X-${i}: ${'y'.repeat(1000)}\r\n`).join('')}${length}\r\n\r\n${body}`,
    'a length that is said twice': `${length}\r\n${type}\r\ncontent-length:${Buffer.byteLength(body)}\r\n\r\n${body}`,
    'a length that is said thrice, with line feeds alone': `${type}\n${`${length}\n`.repeat(3)}\n${body}`,
    'a header in Latin-1': `${type}\r\nX-Owner: Andr\xe9\r\n${length}\r\n\r\n${body}`,
  };
  for (const [name, answer] of Object.entries(answers)) {
    test(name, async () => {
      const raw: Server = createTcpServer((socket) => {
        socket.on('error', () => {});
        socket.once('data', () =>
          socket.end(Buffer.from(`HTTP/1.1 200 OK\r\nConnection: close\r\n${answer}`, 'latin1')),
        );
      });
      await new Promise<void>((resolve) => {
        raw.listen(0, '127.0.0.1', resolve);
      });
      const { port } = raw.address() as { port: number };
      await using store = await Store.open();
      store.hosts(
        'r.example',
        // It alone says what the tag means; the rest is the registry's.
        `server = "http://${registry.host}"\ncapabilities = ["pull"]\n[host."http://127.0.0.1:${port}"]\ncapabilities = ["resolve"]\n`,
      );
      try {
        assert.equal((await store.pull('r.example/small:v1')).id, small.config.digest);
      } finally {
        raw.close();
      }
    });
  }
});
