import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Handler } from '../../../src/model/handler.ts';
import { decodeContainer, decodePod } from '../../../src/state/object-records.ts';

// Records as a version wrote them: kept for ever. A later version adds a folder of its own.
const golden = join(import.meta.dirname, 'golden');
const files = readdirSync(golden, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.json'));
const read = (name: string) => JSON.parse(readFileSync(join(golden, name), 'utf8'));

const formerly: Handler = {
  name: 'formerly',
  path: '',
  args: [],
  root: '/run/oci/formerly',
  systemdCgroup: false,
  privilegedWithoutHostDevices: false,
  cniConfDir: '',
};
const isPod = (name: string) => /^pod|\/pod/.test(name);
const decode = (name: string, json: unknown) =>
  isPod(name)
    ? decodePod(json, { handler: () => formerly, cgroup: (id) => `/berth/${id}` })
    : decodeContainer(json, () => formerly);

/** What is not younger than anything, or is the record's very point. */
const indispensable = /^(id|podId|config|state|state\.phase|.*\.(seccomp|apparmor)\.type)$/;

/** Every path to a field of an object in it, as keys. */
function fieldsOf(json: unknown, at: readonly string[] = []): string[][] {
  if (typeof json !== 'object' || json === null) return [];
  return Object.entries(json).flatMap(([key, value]) => [[...at, key], ...fieldsOf(value, [...at, key])]);
}

function without(json: unknown, [key = '', ...rest]: readonly string[]): unknown {
  const copy: Record<string, unknown> = Array.isArray(json) ? ([...json] as never) : { ...(json as object) };
  if (rest.length > 0) copy[key] = without(copy[key], rest);
  else if (Array.isArray(copy)) copy.splice(Number(key), 1);
  else delete copy[key];
  return copy;
}

function replaced(json: unknown, [key = '', ...rest]: readonly string[], value: unknown): unknown {
  const copy: Record<string, unknown> = Array.isArray(json) ? ([...json] as never) : { ...(json as object) };
  copy[key] = rest.length > 0 ? replaced(copy[key], rest, value) : value;
  return copy;
}

describe('records of pods and containers', () => {
  for (const name of files) {
    test(`${name} is read as it was written, with what its version did not know yet`, () => {
      const { id } = read(name);
      const younger = isPod(name) ? { cgroup: `/berth/${id}` } : {};
      assert.deepEqual(decode(name, read(name)), { ...younger, ...read(name) });
    });

    test(`${name} with any field of another kind is read, or refused without what the field holds`, () => {
      for (const path of fieldsOf(read(name))) {
        for (const value of ['s3cret', ['s3cret'], { s3cret: 's3cret' }]) {
          try {
            decode(name, replaced(read(name), path, value));
          } catch (error) {
            assert.ok(!String(error).includes('s3cret'), `${path.join('.')}: ${error}`);
          }
        }
      }
    });

    test(`${name} without any one field is read, with that field's default`, () => {
      for (const path of fieldsOf(read(name))) {
        const damaged = without(read(name), path);
        if (indispensable.test(path.join('.'))) assert.throws(() => decode(name, damaged), path.join('.'));
        else assert.equal(decode(name, damaged).id, read(name).id, path.join('.'));
      }
    });

    test(`${name} with something else in any one field is refused, and the field is named`, () => {
      for (const [key = ''] of fieldsOf(read(name)).filter((path) => path.length === 1)) {
        assert.throws(() => decode(name, { ...read(name), [key]: [1, { a: 2 }] }), new RegExp(key));
      }
    });
  }

  test('what a later version wrote stays', () => {
    const later = { ...read('0.1.0/pod-ready.json'), younger: { than: 'this' } };
    assert.deepEqual((decode('pod', later) as unknown as { younger: unknown }).younger, { than: 'this' });
  });

  test('what is no record says why', () => {
    for (const json of [null, 1, 'x', [], {}, { id: 'short' }, { id: 'a'.repeat(64) }]) {
      assert.throws(() => decode('pod', json), Error);
      assert.throws(() => decode('container', json), Error);
    }
  });
});
