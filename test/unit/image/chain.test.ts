import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chainIds } from '../../../src/image/chain.ts';
import type { Digest } from '../../../src/model/ids.ts';

const [one, two, three] = ['1', '2', '3'].map((digit) => `sha256:${digit.padStart(64, '0')}` as Digest);

test('chain ids are as everybody computes them: the lowest is its diffID', () => {
  assert.deepEqual(chainIds([]), []);
  assert.deepEqual(chainIds([one!]), [one]);
  // printf 'sha256:%064d sha256:%064d' 1 2 | sha256sum
  const second = 'sha256:e0213565073dd272477933ef550455db21856966e444074f1492aef0939305ac';
  assert.deepEqual(chainIds([one!, two!]), [one, second]);
  assert.deepEqual(chainIds([one!, two!, three!])[2], chainIds([second as Digest, three!])[1]);
});
