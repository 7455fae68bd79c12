// A part of row 17's sweep of clocks; scripts/sweep clocks runs all of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { endTestRegistry } from '../harness/suite.ts';
import { sweepClocks } from './clocks.ts';

await ownHost();

const seed = Number(process.env.BERTH_SEED ?? 1 + (Date.now() % 1_000_000));

test(`row 17: the wall clock jumps (seed ${seed})`, async () => {
  const { faults } = await sweepClocks({ seed, jumps: 8 });
  await endTestRegistry();
  assert.deepEqual(faults, []);
});
