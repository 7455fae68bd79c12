// The log of a daemon whose disk is full, or whose reader went.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lineWriter } from '../../../src/base/log-writer.ts';
import { writeWhole } from '../../../src/base/write-whole.ts';

const refusal = (code: string) => Object.assign(new Error(code), { code });

/** A disk on which there is so much space, and what is on it. */
function disk(space: number) {
  const state = { space, text: '' };
  const write = (_: number, data: Buffer) => {
    const fits = data.subarray(0, state.space);
    state.text += fits.toString();
    state.space -= fits.length;
    return fits.length < data.length ? { bytes: fits.length, error: refusal('ENOSPC') } : { bytes: fits.length };
  };
  return { state, log: lineWriter(2, write) };
}

/** Each line must be a document. */
const documents = (text: string) =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));

test('lines that found no space are counted, and the count is told before the next that does', () => {
  const { state, log } = disk(8);
  log('{"a":1}\n');
  for (const a of [2, 3]) log(`{"a":${a}}\n`);
  state.space = 1000;
  for (const a of [4, 5]) log(`{"a":${a}}\n`);
  const [first, loss, ...rest] = documents(state.text);
  assert.deepEqual([first, rest], [{ a: 1 }, [{ a: 4 }, { a: 5 }]]);
  assert.deepEqual([loss.level, loss.lines], [40, 2]);
});

test('a line that was cut off does not spoil the next, wherever the space ends', () => {
  for (let space = 0; space < 300; space++) {
    const { state, log } = disk(space);
    for (let a = 1; a <= 3; a++) log(`{"a":${a}}\n`);
    state.space = 3;
    log('{"a":4}\n');
    state.space = 1000;
    log('{"a":5}\n');
    const read = state.text.split('\n').slice(0, -1);
    const whole = read.filter((line) => /^\{.*\}$/.test(line)).map((line) => JSON.parse(line));
    const lost = whole.reduce((sum, { lines = 0 }) => sum + lines, 0);
    assert.ok(whole.filter(({ a }) => a !== undefined).length + lost >= 5, `${space}: ${state.text}`);
    assert.deepEqual(whole.at(-1), { a: 5 });
  }
});

test('a part at a time is written to the end, and so is what has to wait', () => {
  const answers = [3, 'EAGAIN', 1, 'EAGAIN', 4];
  const taken: number[] = [];
  const write = ((_: number, __: Buffer, offset: number) => {
    taken.push(offset);
    const answer = answers.shift()!;
    if (typeof answer === 'string') throw refusal(answer);
    return answer;
  }) as Parameters<typeof writeWhole>[3];
  assert.deepEqual(writeWhole(1, Buffer.from('12345678'), 10_000, write), { bytes: 8 });
  assert.deepEqual(taken, [0, 3, 3, 4, 4]);
});
