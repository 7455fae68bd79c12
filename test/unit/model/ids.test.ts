import assert from 'node:assert/strict';
import { test } from 'node:test';
import { algorithmOf, parseDigest } from '../../../src/model/ids.ts';

for (const [algorithm, length] of [
  ['sha256', 64],
  ['sha512', 128],
] as const) {
  test(`a digest of ${algorithm} has ${length} characters`, () => {
    const text = `${algorithm}:${'0f'.repeat(length / 2)}`;
    assert.equal(parseDigest(text), text);
    assert.equal(algorithmOf(parseDigest(text)), algorithm);
  });
}

for (const { name, text, message } of [
  { name: 'nothing', text: '', message: /"" is not sha256:<64 hex> or sha512:<128 hex>/ },
  { name: 'no algorithm', text: 'a'.repeat(64), message: / is not sha256:/ },
  { name: 'the length of the other', text: `sha512:${'a'.repeat(64)}`, message: / is not sha256:/ },
  { name: 'capitals', text: `sha256:${'A'.repeat(64)}`, message: /in lower case/ },
  { name: 'a path', text: `sha512:../../${'a'.repeat(122)}`, message: / is not sha256:/ },
  { name: 'a newline at its end', text: `sha256:${'a'.repeat(64)}\n`, message: / is not sha256:/ },
  {
    name: 'a broken algorithm',
    text: `md5:${'a'.repeat(32)}`,
    message: /of the algorithm md5, which cannot be verified/,
  },
  {
    name: 'a newer algorithm',
    text: `blake3:${'a'.repeat(64)}`,
    message: /of the algorithm blake3, .*sha256 and sha512 can/,
  },
  { name: 'an algorithm of parts', text: 'multihash+base58:QmRZx', message: /of the algorithm multihash\+base58/ },
  { name: 'a name of JavaScript', text: `constructor:${'a'.repeat(64)}`, message: /of the algorithm constructor/ },
]) {
  test(`a digest with ${name} is refused`, () => {
    assert.throws(() => parseDigest(text), { name: 'Fault', kind: 'InvalidArgument', message });
  });
}
