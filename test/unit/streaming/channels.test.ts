import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeBase64, maxChannels } from '../../../src/streaming/websocket-channels.ts';

const cases: [text: string, bytes: string | null][] = [
  ['', ''],
  ['d29yZA==', 'word'],
  ['d29y\r\nZA==\n', 'word'],
  ['d29yZGVk', 'worded'],
  ['d29yZA', null],
  ['d29yZA=', null],
  ['d29yZA===', null],
  ['====', null],
  ['d2=yZA==', null],
  ['d29y ZA==', null],
  ['d29_ZA==', null],
  ['d29\u00ffZA==', null],
];
for (const [text, bytes] of cases) {
  test(`base64 ${JSON.stringify(text)}`, () => {
    assert.deepEqual(decodeBase64(Buffer.from(text, 'latin1')), bytes === null ? null : Buffer.from(bytes));
  });
}

test('as many channels as a byte, or an ASCII digit and what follows it, can name', () => {
  assert.deepEqual([maxChannels({ base64: false }), maxChannels({ base64: true })], [256, 80]);
});
