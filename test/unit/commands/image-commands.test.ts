import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { amount } from '../../../src/commands/amounts.ts';
import { explainEndpoint } from '../../../src/commands/explain.ts';
import { pullTable } from '../../../src/commands/pulls.ts';
import { endpointsFor } from '../../../src/image/index.ts';

for (const [bytes, shown] of [
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [123_456, '123 kB'],
  [52_300_000, '52.3 MB'],
  [7e15, '7000 TB'],
] as const) {
  test(`${bytes} bytes are ${shown}`, () => assert.equal(amount(bytes), shown));
}

test('a pull under way is one line', () => {
  const pull = {
    reference: 'docker.io/library/web:1',
    phase: 'fetching',
    startedAt: 1_000_000_000n,
    layers: 7,
    layersDone: 2,
    bytesTotal: 50_000_000n,
    bytesFetched: 20_000_000n,
    bytesUnpacked: 0n,
    rate: 10_000_000n,
  };
  const [, line] = pullTable([pull], 5000).split('\n');
  assert.deepEqual(line?.split(/ {2,}/), [
    'docker.io/library/web:1',
    'fetching',
    '2/7',
    '20.0 MB of 50.0 MB',
    '10.0 MB/s',
    '4 s',
  ]);
});

test('explained: a mirror is shown no credentials, the registry its own, and how each is reached', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'berth-explain-'));
  try {
    mkdirSync(join(dir, 'registry.example'));
    const toml = 'server = "https://registry.example"\n[host."http://mirror.example"]\ncapabilities = ["pull"]\n';
    writeFileSync(join(dir, 'registry.example/hosts.toml'), toml);
    const [mirror, owner] = await endpointsFor('registry.example', dir);
    const safe = explainEndpoint({ ...mirror!, takesCredentials: true }, 0, 'registry.example', {});
    assert.match(
      safe,
      /credentials: those that the node's file \(images\.auth_file\) has for mirror\.example, else those of the pull request, .* http:\/\/mirror\.example, to no other/,
    );
    const env = { HTTPS_PROXY: 'http://user:secret@proxy.example:3128' };
    const first = explainEndpoint(mirror!, 0, 'registry.example', env);
    assert.match(first, /1\. http:\/\/mirror\.example\/v2/);
    assert.match(first, /credentials: none: .* registry\.example alone/);
    assert.match(first, /plain http, because hosts\.toml says so/);
    const second = explainEndpoint(owner!, 1, 'registry.example', env);
    assert.match(second, /credentials: those of the pull request/);
    assert.match(second, /verified by the host's CAs/);
    assert.match(second, /proxy: +http:\/\/\*\*\*@proxy\.example:3128/);
    assert.doesNotMatch(second, /secret/);
    const [bare] = await endpointsFor('127.0.0.1:5000', dir);
    assert.match(explainEndpoint(bare!, 0, '127.0.0.1:5000', env), /no hosts\.toml for 127\.0\.0\.1:5000/);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
