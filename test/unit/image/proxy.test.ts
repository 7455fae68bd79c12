import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutPassword } from '../../../src/base/address.ts';
import { proxyFor } from '../../../src/image/proxy.ts';

const proxyOf = (address: string, env: Record<string, string>): string | null =>
  proxyFor(new URL(address), env)?.href ?? null;

test('the variable of the scheme, in capitals or not, with a scheme or not', () => {
  const cases: [string, Record<string, string>, string | null][] = [
    ['https://r.example/', { HTTPS_PROXY: 'http://p:3128' }, 'http://p:3128/'],
    ['https://r.example/', { https_proxy: 'p:3128' }, 'http://p:3128/'],
    ['https://r.example/', { HTTPS_PROXY: 'https://u:s@p' }, 'https://u:s@p/'],
    ['https://r.example/', { HTTPS_PROXY: 'one:1', https_proxy: 'two:2' }, 'http://one:1/'],
    ['https://r.example/', { HTTP_PROXY: 'p:3128' }, null],
    ['http://r.example/', { HTTP_PROXY: '10.0.0.1:8080' }, 'http://10.0.0.1:8080/'],
    ['http://r.example/', { HTTP_PROXY: '' }, null],
    ['http://localhost:5000/', { HTTP_PROXY: 'p' }, null],
    ['http://127.1.2.3:5000/', { HTTP_PROXY: 'p' }, null],
    ['http://[::1]:5000/', { HTTP_PROXY: 'p' }, null],
  ];
  for (const [address, env, expected] of cases) assert.equal(proxyOf(address, env), expected, JSON.stringify(env));
});

test('a value that is no proxy is said, without its password', () => {
  for (const value of ['socks5://u:secret@p:1080', 'http://', 'ht tp://x', 'http://u:secret@:1']) {
    assert.throws(
      () => proxyOf('https://r.example/', { HTTPS_PROXY: value }),
      (error: Error) => error.message.includes('HTTPS_PROXY') && !error.message.includes('secret'),
      value,
    );
  }
  assert.equal(withoutPassword('http://u:p@h:1/'), 'http://***@h:1/');
  assert.equal(withoutPassword('u:p@h:1'), '***@h:1');
  for (const odd of ['p/q', 'p@q', 'p#q', 'p?q', '@'])
    assert.equal(withoutPassword(`http://u:${odd}@h:1`), 'http://***@h:1');
  assert.equal(withoutPassword('http://h:1/a@b'), 'http://h:1/a@b');
});

test("NO_PROXY as Go's programs read it", () => {
  const isDirect = (host: string, except: string, variable = 'NO_PROXY') =>
    proxyOf(`https://${host}/`, { HTTPS_PROXY: 'p', [variable]: except }) === null;
  const direct: [string, string][] = [
    ['r.example', '*'],
    ['r.example', 'r.example'],
    ['r.example', 'other, R.Example '],
    ['a.r.example', 'r.example'],
    ['a.r.example', '.r.example'],
    ['a.r.example', '*.r.example'],
    ['r.example:5000', 'r.example:5000'],
    ['r.example', 'r.example:443'],
    ['10.1.2.3', '10.0.0.0/8'],
    ['10.1.2.3:5000', '10.1.2.3'],
    ['10.1.2.3:5000', '10.1.2.3:5000'],
    ['[fd00::1]', 'fd00::/8'],
    ['[fd00::1]', 'fd00::1'],
    ['[fd00::1]:5000', '[fd00::1]:5000'],
    ['[fd00::1]', 'fd00:0:0::1'],
  ];
  for (const [host, except] of direct) assert.ok(isDirect(host, except), `${host} of ${except}`);
  assert.ok(isDirect('r.example', 'r.example', 'no_proxy'));
  const proxied: [string, string][] = [
    ['r.example', ''],
    ['r.example', '.r.example'],
    ['r.example', '*.r.example'],
    ['xr.example', 'r.example'],
    ['r.example:5000', 'r.example:5001'],
    ['10.1.2.3', '10.1.2.0/33'],
    ['11.1.2.3', '10.0.0.0/8'],
    ['r.example', '10.0.0.0/8'],
    ['10.1.2.3', 'fd00::/8'],
    ['r.example', ',,'],
  ];
  for (const [host, except] of proxied) assert.ok(!isDirect(host, except), `${host} of ${except}`);
});
