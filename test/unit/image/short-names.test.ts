// What a name without a registry means, as containers-registries.conf(5) says it.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { explanation } from '../../../src/commands/explain.ts';
import { canonical, ShortNames } from '../../../src/image/index.ts';

const root = mkdtempSync(join(tmpdir(), 'berth-short-names-'));
after(() => rmSync(root, { recursive: true }));
const path = join(root, 'registries.conf');
beforeEach(() => rmSync(`${path}.d`, { recursive: true, force: true }));

const digest = `sha256:${'0'.repeat(64)}`;

async function namesBy(conf: string, ...dropIns: string[]): Promise<ShortNames> {
  writeFileSync(path, conf);
  mkdirSync(`${path}.d`, { recursive: true });
  for (const [index, text] of dropIns.entries()) writeFileSync(join(`${path}.d`, `${index}.conf`), text);
  const names = new ShortNames(path);
  await names.read();
  return names;
}

const usual = `
unqualified-search-registries = ["registry.example:5000/public/", "docker.io"]
[aliases]
"fedora" = "registry.fedora.example/fedora"
"team/tool" = "quay.example/other/tool"
"gone" = "quay.example/gone"
`;

for (const [name, meanings] of [
  ['fedora', ['registry.fedora.example/fedora:latest']],
  ['fedora:42', ['registry.fedora.example/fedora:42']],
  [`fedora@${digest}`, [`registry.fedora.example/fedora@${digest}`]],
  [`fedora:42@${digest}`, [`registry.fedora.example/fedora@${digest}`]],
  ['team/tool:v1', ['quay.example/other/tool:v1']],
  ['fedora/tool', ['registry.example:5000/public/fedora/tool:latest', 'docker.io/fedora/tool:latest']],
  ['web:v1', ['registry.example:5000/public/web:v1', 'docker.io/library/web:v1']],
  [`web@${digest}`, [`registry.example:5000/public/web@${digest}`, `docker.io/library/web@${digest}`]],
  ['docker.io/web', ['docker.io/library/web:latest']],
  ['localhost/web', ['localhost/web:latest']],
  ['r.example/fedora', ['r.example/fedora:latest']],
] as const) {
  test(`${name} means ${meanings.join(', or else ')}`, async () => {
    assert.deepEqual((await namesBy(usual)).meanings(name).map(canonical), meanings);
  });
}

test('a later file adds aliases, takes them away, and has the last word on where to search', async () => {
  const names = await namesBy(
    usual,
    '[aliases]\n"fedora" = "mirror.example/fedora"\n"gone" = ""',
    'unqualified-search-registries = ["only.example"]',
  );
  const first = (name: string) => names.meanings(name).map(canonical);
  assert.deepEqual(first('fedora'), ['mirror.example/fedora:latest']);
  assert.deepEqual(first('team/tool'), ['quay.example/other/tool:latest']);
  assert.deepEqual(first('gone'), ['only.example/gone:latest']);
});

test('where no file says what they mean they are Docker’s, and so it is without a file', async () => {
  for (const names of [await namesBy('short-name-mode = "enforcing"'), new ShortNames('')])
    assert.deepEqual(names.meanings('web').map(canonical), ['docker.io/library/web:latest']);
});

test('what may be at several registries is refused if the file wants it so; an alias, or one registry, is clear', async () => {
  const names = await namesBy(`short-name-mode = "enforcing"\n${usual}`);
  assert.throws(() => names.meanings('web'), { kind: 'InvalidArgument', message: /"web" says no registry.*enforcing/ });
  assert.equal(names.meanings('fedora').length, 1);
  const one = await namesBy('short-name-mode = "enforcing"\nunqualified-search-registries = ["only.example"]');
  assert.deepEqual(one.meanings('web').map(canonical), ['only.example/web:latest']);
});

test('an empty list forbids short names', async () => {
  const names = await namesBy('unqualified-search-registries = []');
  assert.throws(() => names.meanings('web'), { kind: 'InvalidArgument', message: /write the full name/ });
  assert.equal(names.meanings('docker.io/web').length, 1);
});

for (const [what, conf, message] of [
  ['a list that is none', 'unqualified-search-registries = "docker.io"', /is no list of names/],
  ['a registry that would be read as a folder of Docker’s', 'unqualified-search-registries = ["corp"]', /"corp"/],
  ['a registry with a scheme', 'unqualified-search-registries = ["https://r.example"]', /"https:\/\/r.example"/],
  ['an alias that is a full name', '[aliases]\n"r.example/a" = "r.example/b"', /no short name without a tag/],
  ['an alias with a tag', '[aliases]\n"a:v1" = "r.example/b"', /no short name without a tag/],
  ['an alias of a short name', '[aliases]\n"a" = "b"', /no full name without a tag/],
  ['an alias of a name with a tag', '[aliases]\n"a" = "r.example/b:v1"', /no full name without a tag/],
  ['an alias of a name by digest', `[aliases]\n"a" = "r.example/b@${digest}"`, /no full name without a tag/],
  ['an alias that is no text', '[aliases]\n"a" = 1', /is no text/],
  ['a mode that there is not', 'short-name-mode = "strict"', /none of enforcing, permissive, disabled/],
] as const) {
  test(`${what} is told with the file that has it, and what was known stays`, async () => {
    const names = await namesBy(usual);
    writeFileSync(path, conf);
    await assert.rejects(names.read(), {
      kind: 'FailedPrecondition',
      message: new RegExp(`${path}.*${message.source}`),
    });
    assert.equal(canonical(names.meanings('fedora')[0]!), 'registry.fedora.example/fedora:latest');
  });
}

test('explain shows each meaning, and where it would be asked for', async () => {
  await namesBy(usual);
  const text = await explanation({ certsDir: join(root, 'certs.d'), registriesConf: path }, 'web:v1');
  const lines = text.split('\n').filter((line) => /^\S|^ {2}\d/.test(line));
  assert.deepEqual(lines, [
    'registry.example:5000/public/web:v1',
    '  1. https://registry.example:5000/v2',
    'docker.io/library/web:v1',
    '  1. https://registry-1.docker.io/v2',
  ]);
});
