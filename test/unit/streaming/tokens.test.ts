import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isFault } from '../../../src/base/fault.ts';
import { Tokens } from '../../../src/streaming/tokens.ts';

test('a token is 128 random bits, good once', () => {
  const tokens = new Tokens<string>();
  const all = Array.from({ length: 500 }, (_, i) => tokens.issue(`value ${i}`));
  assert.equal(new Set(all).size, 500);
  for (const token of all) assert.match(token, /^[\w-]{22}$/);
  assert.equal(tokens.take(all[7]!), 'value 7');
  assert.equal(tokens.take(all[7]!), null);
  assert.equal(tokens.take('x'.repeat(22)), null);
  assert.equal(tokens.take(all[8]!), 'value 8');
});

test('it expires after a minute', () => {
  let now = 0;
  const tokens = new Tokens<number>(() => now);
  const [early, late] = [tokens.issue(1), tokens.issue(2)];
  now = 59_999;
  assert.equal(tokens.take(early), 1);
  now = 60_000;
  assert.equal(tokens.take(late), null);
});

test('a thousand may wait; those that expire make room', () => {
  let now = 0;
  const tokens = new Tokens<number>(() => now);
  for (let i = 0; i < 1000; i++) tokens.issue(i);
  assert.throws(
    () => tokens.issue(1000),
    (error) => isFault(error, 'ResourceExhausted'),
  );
  now = 60_000;
  assert.equal(tokens.take(tokens.issue(7)), 7);
});
