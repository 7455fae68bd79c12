import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TerminalSize } from '../../../src/model/process-io.ts';
import { Sizes } from '../../../src/streaming/resize.ts';
import { statusJson, statusText } from '../../../src/streaming/status.ts';

describe('sizes of terminals', () => {
  const cases: { name: string; chunks: string[]; last: TerminalSize | null }[] = [
    { name: 'one', chunks: ['{"Width":80,"Height":24}\n'], last: { columns: 80, rows: 24 } },
    { name: 'in pieces', chunks: ['{"Wid', 'th":80,"Hei', 'ght":24}'], last: { columns: 80, rows: 24 } },
    {
      name: 'the last of several',
      chunks: ['{"Width":1,"Height":2}{"Width":3,"Height":4}'],
      last: { columns: 3, rows: 4 },
    },
    { name: 'in another case', chunks: ['{"width":80,"HEIGHT":24}'], last: { columns: 80, rows: 24 } },
    { name: 'zero', chunks: ['{"Width":0,"Height":0}'], last: { columns: 0, rows: 0 } },
    { name: 'negative', chunks: ['{"Width":-1,"Height":24}'], last: null },
    { name: 'too large', chunks: ['{"Width":65536,"Height":24}'], last: null },
    { name: 'a fraction', chunks: ['{"Width":1.5,"Height":24}'], last: null },
    { name: 'text', chunks: ['{"Width":"80","Height":24}'], last: null },
    { name: 'no height', chunks: ['{"Width":80}'], last: null },
    { name: 'garbage, and then a size', chunks: ['}{x}\0', '{"Width":5,"Height":6}'], last: { columns: 5, rows: 6 } },
    {
      name: 'endless garbage, and then a size',
      chunks: ['{'.repeat(5000), '{"Width":5,"Height":6}'],
      last: { columns: 5, rows: 6 },
    },
    { name: '__proto__', chunks: ['{"__proto__":{"Width":5,"Height":6}}'], last: null },
  ];
  for (const { name, chunks, last } of cases) {
    test(name, () => {
      const sizes = new Sizes();
      for (const chunk of chunks) sizes.push(Buffer.from(chunk));
      let got: TerminalSize | null = null;
      sizes.listen((size) => {
        got = size;
      });
      assert.deepEqual(got, last);
    });
  }
});

describe('how a command ended', () => {
  const cases = [
    { outcome: { code: 0 }, json: { metadata: {}, status: 'Success' }, text: '' },
    {
      outcome: { code: 42 },
      json: {
        metadata: {},
        status: 'Failure',
        message: 'command terminated with non-zero exit code: exit status 42',
        reason: 'NonZeroExitCode',
        details: { causes: [{ reason: 'ExitCode', message: '42' }] },
      },
      text: 'command terminated with non-zero exit code: exit status 42',
    },
    {
      outcome: { error: new Error('no such container') },
      json: { metadata: {}, status: 'Failure', message: 'no such container', reason: 'InternalError', code: 500 },
      text: 'no such container',
    },
  ];
  for (const { outcome, json, text } of cases) {
    test(JSON.stringify(json.status), () => {
      assert.deepEqual(JSON.parse(statusJson(outcome)), json);
      assert.equal(statusText(outcome), text);
    });
  }
});
