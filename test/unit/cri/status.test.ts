import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { Fault, notFound } from '../../../src/base/fault.ts';
import { statusOf } from '../../../src/cri/status.ts';

const errno = (code: string) => Object.assign(new Error(`${code}: it happened`), { code });

const cases: [name: string, error: unknown, code: number][] = [
  ['a fault', notFound('pod', 'x'), status.NOT_FOUND],
  ['a deadline', new Fault('DeadlineExceeded', 'late'), status.DEADLINE_EXCEEDED],
  ['a full disk', errno('ENOSPC'), status.RESOURCE_EXHAUSTED],
  ['a disk that takes no more writes', errno('EROFS'), status.RESOURCE_EXHAUSTED],
  [
    'a full disk among steps of an undo',
    new AggregateError([new AggregateError([new Error('layer', { cause: errno('EDQUOT') })], 'container')], 'pod'),
    status.RESOURCE_EXHAUSTED,
  ],
  [
    'a fault among several errors',
    new AggregateError([new Error('a'), new Error('b', { cause: new Fault('Unavailable', 'u') })], 'both'),
    status.UNAVAILABLE,
  ],
  [
    'a full disk, on which cleaning up failed too',
    new SuppressedError(new Error('busy'), errno('ENOSPC'), 'suppressed'),
    status.RESOURCE_EXHAUSTED,
  ],
];
for (const [name, error, code] of cases) {
  test(`${name} has its code`, () => assert.equal(statusOf(error, 'Call').code, code));
}

test('what went wrong first is said first, and not that it was suppressed', () => {
  const { details } = statusOf(new SuppressedError(new Error('busy'), errno('ENOSPC'), 'suppressed'), 'Call');
  assert.equal(details, 'ENOSPC: it happened; then busy');
});

test('a message is cut to what a header may hold', () => {
  for (const text of ['x', 'ö', '𐍈']) {
    const { details } = statusOf(new Fault('Internal', `a${text.repeat(100_000)}`), 'Call');
    assert.match(details, new RegExp(`^a${text}+$`, 'u'));
    assert.ok(Buffer.byteLength(details) <= 4096 && Buffer.byteLength(details) > 4090);
  }
});
