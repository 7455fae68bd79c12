import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { jsonOf, tomlOf } from '../../../src/base/parse.ts';
import { parseCdiYaml } from '../../../src/lifecycle/container/cdi-yaml.ts';

const json = 'it is no JSON: ';
const toml = 'it is no TOML: ';

/** Texts with a secret near to what is wrong in them, and what is said of each. */
const wrong: [parse: (text: string) => unknown, text: string, said: string][] = [
  [jsonOf, '{"auths": s3cret}', `${json}a character that cannot be there, at line 1, column 11`],
  [jsonOf, '{\n "a": "s3cret",\n "b": tru\n}', `${json}a character that cannot be there, at line 3, column 10`],
  [jsonOf, `{"a": "s3cret", ${'"b": 1, '.repeat(9000)} "b": s3cret}`, `${json}a character that cannot be there`],
  [jsonOf, '{"auth":"s3cret",}', `${json}expected double-quoted property name, at line 1, column 18`],
  [jsonOf, '{"auth":"s3cret"} x', `${json}unexpected non-whitespace character, at line 1, column 19`],
  [jsonOf, '{"auth":"s3cret', `${json}unterminated string, at line 1, column 16`],
  [jsonOf, '{"auth":"s3cret"', `${json}expected ',' or '}' after property value, at line 1, column 17`],
  [jsonOf, '', `${json}it ends too early`],
  [
    jsonOf,
    's3cret" in JSON at position 1 (line 1 column 1)',
    `${json}a character that cannot be there, at line 1, column 1`,
  ],
  [tomlOf, 'proxy = "http://u:s3cret@h"\nx = = "s3cret"', `${toml}invalid value, at line 2, column 5`],
  [
    tomlOf,
    '[host."s3cret"]\n[host."s3cret"]',
    `${toml}trying to redefine an already defined table or value, at line 2, column 2`,
  ],
  [parseCdiYaml, 'a: "s3cret\nb: *s3cret', 'it is no YAML: MISSING_CHAR, at line 2, column 11'],
  [parseCdiYaml, 'a: *s3cret', 'it is no YAML: an alias of what is not there, or too many of them'],
];

for (const [parse, text, said] of wrong) {
  test(`${JSON.stringify(text.slice(0, 60))} is refused without being quoted`, () => {
    assert.throws(
      () => parse(text),
      (error: Error) => {
        assert.deepEqual([error.message, error.cause], [said, undefined]);
        return true;
      },
    );
  });
}

test('what is right is read', () => {
  assert.deepEqual(jsonOf('{"a": [1, null]}'), { a: [1, null] });
  assert.deepEqual({ ...tomlOf('a = [1]') }, { a: [1] });
});

test('nobody parses by himself', () => {
  const source = join(import.meta.dirname, '../../../src');
  const own = ['base/json.ts', 'base/parse.ts', 'base/settings-toml.ts', 'lifecycle/container/cdi-yaml.ts'];
  const others = globSync('**/*.ts', { cwd: source })
    .filter((file) => !own.includes(file) && !file.startsWith('api/'))
    .filter((file) => /JSON\.parse\(|from '(smol-toml|yaml)'/.test(readFileSync(join(source, file), 'utf8')));
  assert.deepEqual(others, []);
});
