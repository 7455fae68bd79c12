import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeAnswer, encodeCall } from '../../../src/sys/dbus-wire.ts';

const call = { path: '/p', interface: 'a.B', member: 'C', destination: 'a.B', arguments: ['x', 'fail'] } as const;

test('a call, byte by byte', () => {
  const expected = [
    '6c010001', // little endian, method call, no flags, version 1
    '11000000', // body: 4 + 2, two of padding, 4 + 5
    '07000000', // serial
    '48000000', // header fields
    '01016f00020000002f70000000000000', // path, then padding to 8
    '0201730003000000612e420000000000', // interface
    '03017300010000004300000000000000', // member
    '0601730003000000612e420000000000', // destination
    '0801670002737300', // signature
    '0100000078000000040000006661696c00', // x, fail
  ];
  assert.equal(encodeCall(7, call).toString('hex'), expected.join(''));
});

test('properties: text, yes and no, lists of numbers, each aligned', () => {
  const bytes = encodeCall(1, { ...call, arguments: [{ S: 'v', B: true, N: [1, 2] }, null] });
  const body = bytes.subarray(bytes.length - bytes.readUInt32LE(4));
  // S: 6 + 3, to 12, + 6 = 18; B: 24 + 6 + 3, to 36, + 4 = 40; N: + 6 + 4, to 52, + 4 + 8 = 64
  assert.equal(body.readUInt32LE(0), 64);
  assert.deepEqual([body.length, body.readUInt32LE(72)], [80, 0]);
});

test('yes as an argument, and a number of 64 bits', () => {
  const bytes = encodeCall(1, { ...call, arguments: ['u', true, { L: 2n ** 64n - 1n }] });
  const body = bytes.subarray(bytes.length - bytes.readUInt32LE(4));
  // u: 4 + 2, to 8; yes: 4; the list's length, to 16; L: 4 + 2; t: 3, to 32, + 8
  assert.deepEqual([body.length, body.readUInt32LE(8), body.readUInt32LE(12)], [40, 1, 24]);
  assert.equal(body.readBigUInt64LE(32), 2n ** 64n - 1n);
  assert.match(bytes.toString('latin1'), /sba\(sv\)/);
});

/** An answer as systemd writes it: header fields of the types u, s and g. */
function answer(type: number, fields: Buffer, body = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(16);
  head.set([0x6c, type, 1, 1]);
  head.writeUInt32LE(body.length, 4);
  head.writeUInt32LE(9, 8);
  head.writeUInt32LE(fields.length, 12);
  const end = 16 + fields.length;
  return Buffer.concat([head, fields, Buffer.alloc((8 - (end % 8)) % 8), body]);
}
const replyTo = (serial: number) => Buffer.from([5, 1, 0x75, 0, serial, 0, 0, 0]);

test('answers in pieces, signals between them, and errors with their text', () => {
  const done = answer(2, replyTo(3));
  for (let size = 0; size < done.length; size++) assert.equal(decodeAnswer(done.subarray(0, size)), null);
  assert.deepEqual(decodeAnswer(Buffer.concat([done, done])), { size: done.length, to: 3, error: null });
  assert.equal(decodeAnswer(answer(4, Buffer.alloc(0)))?.to, 0);
  const name = Buffer.concat([Buffer.from([4, 1, 0x73, 0, 3, 0, 0, 0]), Buffer.from('a.b\0\0\0\0\0')]);
  const signature = Buffer.from([8, 1, 0x67, 0, 1, 0x73, 0, 0]);
  const text = Buffer.concat([Buffer.from([4, 0, 0, 0]), Buffer.from('none\0')]);
  const failed = decodeAnswer(answer(3, Buffer.concat([replyTo(3), name, signature]), text));
  assert.deepEqual(failed?.error, { name: 'a.b', text: 'none' });
});

test('what is no message, or claims to be huge, is refused', () => {
  assert.throws(() => decodeAnswer(Buffer.from('HTTP/1.1 200 OK\r\n')), /no D-Bus message/);
  const huge = answer(2, replyTo(1));
  huge.writeUInt32LE(0xfffffff0, 4);
  assert.throws(() => decodeAnswer(huge), /no D-Bus message/);
});
