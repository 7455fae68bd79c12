// Numbers of 64 bits in documents that are read and written again.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exactJsonOf, unlimited, wholeNumber } from '../../../src/base/exact-json.ts';

for (const text of [
  '{"hard":18446744073709551615,"soft":9007199254740993}',
  '[-9223372036854775808,9223372036854775807,9007199254740991,0]',
  '{"a":1.5,"b":"18446744073709551615","c":[{"d":true}]}',
]) {
  test(`${text} is written as it was read`, () => assert.equal(JSON.stringify(exactJsonOf(text)), text));
}

test('what fits is a number', () => {
  assert.deepEqual(exactJsonOf('{"a":1,"b":1234567890123456}'), { a: 1, b: 1_234_567_890_123_456 });
  assert.equal(wholeNumber(5n), 5);
});

test('no limit is that of getrlimit(2)', () => assert.equal(JSON.stringify(unlimited), '18446744073709551615'));

test('what is no JSON is an error without its text', () => {
  assert.throws(
    () => exactJsonOf('{"password": hunter2hunter2 1234567890123456789'),
    (error: Error) => {
      assert.match(error.message, /^it is no JSON/);
      return !error.message.includes('hunter2');
    },
  );
});
