import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wordsOf } from '../../../src/image/words.ts';

const json = (value: unknown) => JSON.stringify(value);
for (const [said, words] of [
  [json({ errors: [{ code: 'DENIED', message: 'not yours' }, { message: 'ask' }] }), 'DENIED: not yours; ask'],
  [json({ errors: [{ status: 404, message: 'no such image', detail: { a: 1 } }] }), 'no such image'],
  [json({ errors: ['quota exceeded', null, { code: { a: 1 } }] }), 'quota exceeded; ; '],
  [json({ errors: 'all of it' }), ''],
  [json({ error: 'invalid_grant', error_description: 'the token ran out' }), 'invalid_grant: the token ran out'],
  [json({ error: { code: 403, message: 'Permission denied', status: 'PERMISSION_DENIED' } }), '403: Permission denied'],
  [json({ type: 'about:blank', title: 'Gone', detail: 'moved last year' }), 'Gone: moved last year'],
  [json({ details: 'incorrect username or password' }), 'incorrect username or password'],
  [json({ message: 'Not Found' }), 'Not Found'],
  [json([1]), ''],
  [
    '<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code>\n<Message>Request has expired</Message><Expires>x</Expires></Error>',
    'AccessDenied: Request has expired',
  ],
  ['<html><head>\n<title> 502 Bad Gateway\n</title></head><body>x</body></html>', '502 Bad Gateway'],
  ['<html><body>x</body></html>', ''],
  ['unauthorized: project is gone\nmore', 'unauthorized: project is gone'],
  [`line of \u001b[31m${'x'.repeat(400)}`, `line of ?[31m${'x'.repeat(287)}`],
] as const) {
  test(`of ${said.slice(0, 60)} the words are told`, () => {
    assert.equal(wordsOf(Buffer.from(said)), words);
  });
}

test('words are looked for in one pass, whatever is sent', () => {
  for (const part of ['<title> ', ' ', '<Code></Code> ', '<Code>', '{"errors":[', '["']) {
    const before = process.cpuUsage();
    wordsOf(Buffer.from(`<title>${part.repeat(65_536 / part.length)}.`));
    wordsOf(Buffer.from(`${part.repeat(65_536 / part.length)}.`));
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 200_000, `${part}: ${(user + system) / 1000} ms`);
  }
});
