import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { ImageServiceService, RuntimeServiceService } from '../../src/api/runtime/v1/cri.ts';
import { servedCalls } from '../../src/cri/server.ts';
import { features } from '../features.ts';

const root = resolve(import.meta.dirname, '../..');
const pascal = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);
const all = [RuntimeServiceService, ImageServiceService].flatMap((service) => Object.keys(service).map(pascal)).sort();
const served = servedCalls().map(pascal);

/** README's status table: call -> what it says. */
function statusTable(): Map<string, string> {
  const [, table = ''] = /## Status\n([\s\S]*?)\n## /.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? [];
  const lines = [...table.matchAll(/^\| (.+?) \| (.+?) \|$/gm)];
  return new Map(
    lines.flatMap(([, calls = '', state = '']) => calls.split(', ').map((call) => [call, state] as const)),
  );
}

describe('every promise has its test', () => {
  for (const { of, what, file, test: name } of features) {
    test(`${of}: ${what}`, () => {
      assert.ok(readFileSync(join(root, 'test', file), 'utf8').includes(name), `${file} has no test "${name}"`);
    });
  }

  test('every served call has a row', () => {
    const named = new Set(features.map(({ of }) => of));
    assert.deepEqual(
      served.filter((call) => !named.has(call)),
      [],
    );
  });
});

test("README's status table has every call of CRI, as it is served", () => {
  const table = statusTable();
  for (const call of all) {
    const expected = served.includes(call) ? 'served' : 'UNIMPLEMENTED';
    assert.ok(
      table.get(call)?.startsWith(expected),
      `${call} must be "${expected}" in the table, it is ${table.get(call)}`,
    );
  }
});
