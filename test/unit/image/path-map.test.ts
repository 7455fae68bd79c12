import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PathMap } from '../../../src/image/path-map.ts';

test('paths are known until they, or what they are in, are forgotten', () => {
  const map = new PathMap<number>();
  for (const [index, path] of ['', 'a/b/c', 'a', 'ab', 'a/b/d', '__proto__/constructor'].entries())
    map.set(path, index);
  assert.deepEqual(Object.fromEntries(map.entries()), {
    '': 0,
    a: 2,
    'a/b/c': 1,
    'a/b/d': 4,
    ab: 3,
    '__proto__/constructor': 5,
  });
  assert.deepEqual([map.has('a/b'), map.has('a/b/c'), map.has('x/y')], [false, true, false]);
  assert.deepEqual([map.delete('a/b/c'), map.delete('a/b/c'), map.delete('a/b')], [true, false, false]);
  map.deleteTree('a');
  map.deleteTree('not/there');
  assert.deepEqual([...map.keys()].sort(), ['', '__proto__/constructor', 'ab']);
});

test('what is above comes before what is below, however deep', () => {
  const map = new PathMap<true>();
  const deep = 'd/'.repeat(2000);
  for (let length = 1; length < deep.length; length += 2) map.set(deep.slice(0, length), true);
  const keys = [...map.keys()];
  assert.equal(keys.length, 2000);
  assert.ok(keys.every((key, index) => key.length === 2 * index + 1));
});
