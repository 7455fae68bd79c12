// Connections into pods take descriptors and memory of the daemon's: there is an end to them.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { Forwards } from '../../../src/streaming/forwards.ts';

/** A client whose connections are there at once; port 1 is closed. */
function client(forwards: Forwards, most?: number) {
  const made: PassThrough[] = [];
  const connect = async (port: number) => {
    if (port === 1) throw new Error('ECONNREFUSED');
    made.push(new PassThrough());
    return made.at(-1)!;
  };
  const { connect: counted } = forwards.counted({ kind: 'portforward', ports: [], connect }, most);
  return { made, open: (count: number) => Promise.all(Array.from({ length: count }, () => counted(80))), counted };
}

const exhausted = { kind: 'ResourceExhausted' };

test('one client has so many, and may have others when some are over', async () => {
  const { made, open, counted } = client(new Forwards(100), 3);
  await open(3);
  await assert.rejects(counted(80), { ...exhausted, message: /this client has 3 connections/ });
  made[0]!.destroy();
  await new Promise(setImmediate);
  await open(1);
  await assert.rejects(counted(80), exhausted);
});

test('so have all clients together', async () => {
  const forwards = new Forwards(5);
  await client(forwards).open(3);
  const second = client(forwards);
  await second.open(2);
  await assert.rejects(second.counted(80), { ...exhausted, message: /5 connections are forwarded/ });
});

test('what cannot be connected does not count', async () => {
  const { open, counted } = client(new Forwards(2));
  for (const _ of [1, 2, 3]) await assert.rejects(counted(1), /ECONNREFUSED/);
  await open(2);
});

test('without being told otherwise: 1024 of one, 4096 of all', async () => {
  const forwards = new Forwards();
  for (const _ of [1, 2, 3, 4]) {
    const { open, counted } = client(forwards);
    await open(1024);
    await assert.rejects(counted(80), exhausted);
  }
  await assert.rejects(client(forwards).counted(80), { ...exhausted, message: /4096/ });
});
