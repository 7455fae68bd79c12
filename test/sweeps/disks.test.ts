// A part of row 7's sweep; scripts/sweep disks runs all of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { endTestRegistry } from '../harness/suite.ts';
import { SickDisks } from './disks.ts';

await ownHost();

const seed = Number(process.env.BERTH_SEED ?? 1 + (Date.now() % 1_000_000));

test(`row 7: disks that fail at any call, or fill up at any page (seed ${seed})`, async () => {
  await using sick = await SickDisks.start();
  const { faults, refused } = await sick.sweep({ seed, offsets: 1 });
  await endTestRegistry();
  assert.deepEqual(faults, []);
  assert.ok(refused > 0);
});
