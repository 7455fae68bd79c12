// Which places are worth asking, by what is remembered of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Place } from '../../../src/image/place.ts';
import { PlaceMemory } from '../../../src/image/place-memory.ts';
import { Places } from '../../../src/image/places.ts';

const place = () => ({ endpoint: { capabilities: new Set(['pull']) }, memory: new PlaceMemory() }) as unknown as Place;
const far = 3_600_000;

test('what failed in a pull is not asked again by it, however long that takes; by the next one it is', (t) => {
  const [mirror, registry] = [place(), place()];
  const pull = new Places([mirror, registry]);
  assert.deepEqual(pull.able('pull'), [mirror, registry]);
  mirror.memory.failed('it hung up');
  assert.deepEqual(pull.able('pull'), [registry]);
  const real = performance.now.bind(performance);
  t.mock.method(performance, 'now', () => real() + far);
  assert.deepEqual(pull.able('pull'), [registry]);
  assert.deepEqual(new Places([mirror, registry]).able('pull'), [mirror, registry]);
});

test('what failed before is the last resort; all are asked again where all have failed', () => {
  const [mirror, registry] = [place(), place()];
  mirror.memory.failed('it hung up', performance.now() - 1);
  const pull = new Places([mirror, registry]);
  assert.deepEqual(pull.able('pull'), [registry, mirror]);
  registry.memory.failed('it hung up as well');
  assert.deepEqual(pull.able('pull'), [mirror]);
  mirror.memory.failed('again');
  assert.deepEqual(pull.able('pull'), [mirror, registry]);
});

test('an answer clears what failed before it was asked for, not what failed meanwhile', () => {
  const { memory } = place();
  const asked = performance.now();
  memory.failed('it hung up', asked + 1);
  memory.answered(asked);
  assert.equal(memory.whyDown(), 'it hung up');
  memory.answered(asked + 2);
  assert.equal(memory.whyDown(), null);
});
