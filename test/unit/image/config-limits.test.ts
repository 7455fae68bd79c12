import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseImageRecord } from '../../../src/image/image-record.ts';
import { parseConfig } from '../../../src/image/manifest.ts';
import { mostNames, union } from '../../../src/image/names.ts';

type Json = Record<string, unknown>;
const parse = (config: Json, outer: Json = {}) =>
  parseConfig(Buffer.from(JSON.stringify({ os: 'linux', config, rootfs: { type: 'layers' }, ...outer }))).config;
const many = (count: number, make: (i: number) => string) => Array.from({ length: count }, (_, i) => make(i));
const keys = (names: string[]) => Object.fromEntries(names.map((name) => [name, {}]));

const refused: Record<string, readonly [config: Json, says: RegExp, outer?: Json]> = {
  'a long user': [{ User: 'u'.repeat(7 << 20) }, /the User "u{64}\.\.\." of 7340032 bytes: at most 511/],
  'a user from 2^63 on': [{ User: '9223372036854775808' }, /User "9223372036854775808": ids are 0 to 4294967294/],
  'a user of (uid_t)-1': [{ User: '4294967295' }, /User "4294967295": ids are/],
  'a negative user': [{ User: '-1' }, /User "-1": ids are/],
  'a group out of range': [{ User: '0:4294967295' }, /User "0:4294967295": ids are/],
  'a user that is no text': [{ User: 0 }, /a User that is not a string/],
  'a directory that is no text': [{ WorkingDir: ['/'] }, /a WorkingDir that is not a string/],
  'a signal that is no text': [{ StopSignal: 9 }, /a StopSignal that is not a string/],
  'volumes that are a list': [{ Volumes: ['/a'] }, /Volumes that is not an object/],
  'a long directory': [{ WorkingDir: `/${'w'.repeat(4095)}` }, /WorkingDir .* of 4096 bytes: at most 4095/],
  'a directory that is long in bytes alone': [{ WorkingDir: '\u00fc'.repeat(2048) }, /of 4096 bytes: at most 4095/],
  'a long signal': [{ StopSignal: 'S'.repeat(65) }, /StopSignal .* of 65 bytes: at most 64/],
  'a variable that execve refuses': [
    { Env: [`A=${'x'.repeat(131_070)}`] },
    /Env "A=x.* of 131072 bytes: at most 131071/,
  ],
  'a large environment': [{ Env: many(11, (i) => `A${i}=${'x'.repeat(100_000)}`) }, /bytes of Env: at most 1048576/],
  'a long environment': [{ Env: many(10_001, (i) => `A${i}=`) }, /10001 Env: at most 10000/],
  'a long command': [{ Cmd: many(10_001, String) }, /10001 Cmd: at most 10000/],
  'a large entrypoint': [{ Entrypoint: many(11, () => 'x'.repeat(100_000)) }, /bytes of Entrypoint: at most 1048576/],
  'many volumes': [{ Volumes: keys(many(1001, (i) => `/v${i}`)) }, /1001 Volumes: at most 1000/],
  'a long volume': [{ Volumes: keys([`/${'v'.repeat(4095)}`]) }, /Volumes .* of 4096 bytes: at most 4095/],
  'many labels': [{ Labels: keys(many(10_001, String)) }, /10001 Labels: at most 10000/],
  'large labels': [{ Labels: { a: 'x'.repeat(3 << 20), b: 'x'.repeat(2 << 20) } }, /bytes of Labels: at most 4194304/],
  'a long architecture': [{}, /architecture .* at most 128/, { architecture: 'a'.repeat(129) }],
  'a long system': [{}, /the os .* at most 128/, { os: 'a'.repeat(129) }],
};
for (const [name, [config, says, outer]] of Object.entries(refused)) {
  test(`${name} is refused, by field, value and limit`, () => {
    assert.throws(
      () => parse(config, outer),
      (error: Error & { kind?: string }) => {
        assert.equal(error.kind, 'InvalidArgument');
        assert.match(error.message, says);
        assert.ok(error.message.length < 300);
        return true;
      },
    );
  });
}

const taken: Record<string, Json> = {
  'names and ids as builders write them': { User: 'nonroot:65532' },
  'the highest ids': { User: '4294967294:4294967294' },
  'what another user may stand in for': { User: ':' },
  'a name with digits': { User: '1000app' },
  "a build tool's labels": { Labels: { 'io.buildpacks.lifecycle.metadata': 'x'.repeat(1 << 20), a: 'b' } },
  '1,000 volumes': { Volumes: keys(many(1000, (i) => `/v${i}`)) },
  'a variable as long as execve takes': { Env: [`A=${'x'.repeat(131_069)}`] },
  'nothing but nulls': { User: null, WorkingDir: null, Labels: null, Volumes: null, StopSignal: null, Env: null },
};
for (const [name, config] of Object.entries(taken)) {
  test(`an image is taken with ${name}`, () => {
    assert.equal(parse(config).user, config.User ?? '');
  });
}

test('a record from before has the defaults of younger fields; one from before the limits is not taken up', () => {
  const record = (user: string) => ({
    id: `sha256:${'0'.repeat(64)}`,
    tags: [],
    digests: [],
    layers: [],
    size: 1,
    pulledAt: 1,
    config: { ...parse({}), user },
  });
  const read = parseImageRecord(record('app'));
  assert.deepEqual([read.config.user, read.artifactType, read.passedOver], ['app', '', []]);
  assert.throws(() => parseImageRecord(record('9223372036854775808')), /User "9223372036854775808"/);
});

test('of many names an image keeps the last ones, and always the new', () => {
  const before = many(mostNames, (i) => `r/a:${i}`);
  assert.deepEqual(union(before.slice(1), ['r/a:1', 'new']), [...before.slice(1), 'new']);
  const after = union(before, ['r/a:0', 'new']);
  assert.equal(after.length, mostNames);
  assert.deepEqual([after[0], ...after.slice(-2)], ['r/a:2', 'r/a:0', 'new']);
  assert.deepEqual(union(undefined, ['a', 'a']), ['a']);
});
