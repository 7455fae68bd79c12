// A small part of each sweep; scripts/sweep runs them at full volume.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspectable } from '../harness/lifecycles.ts';
import { ownHost } from '../harness/own-host.ts';
import { suite } from '../harness/suite.ts';
import { sweepChaos } from './chaos.ts';
import { sweepCuts } from './cuts.ts';
import { sweepExecs } from './execs.ts';
import { sweepLines } from './lines.ts';
import { Model } from './model.ts';
import { sweepShims } from './shims.ts';

await ownHost();

/** Named by what fails, and the same again with it. */
const seed = Number(process.env.BERTH_SEED ?? 1 + (Date.now() % 1_000_000));

test('the model knows what cannot be', () => {
  const model = new Model();
  const known = model.meet('id', 'a/x', model.meet('pod', 'a', null));
  const created = model.now();
  assert.match(model.see(known, 2, created) ?? '', /nothing took it above 1/);
  model.allow(known, 3);
  assert.equal(model.see(known, 2, created), undefined);
  const running = model.now();
  assert.match(model.see(known, 1, running) ?? '', /was at 2 before the call/);
  assert.equal(model.see(known, 1, created), undefined, 'a call that began before may be late');
  assert.equal(model.see(known, 3, running), undefined);
});

suite('sweeps', {}, (bench) => {
  test(`row 2: no line is lost, doubled or torn by SIGKILLs of the daemon and by rotation (seed ${seed})`, async () => {
    const volume = { seed, lines: 20_000, kills: 2, reopens: 20, killsWhileReopening: 1 };
    const total = await sweepLines(bench.daemon, bench.image.busybox, volume);
    assert.ok(total.lines >= volume.lines);
    assert.deepEqual([total.lost, total.doubled, total.torn], [0, 0, 0]);
  });

  test(`row 3: what a shim kept is killed and told, however it went (seed ${seed})`, async () => {
    const { faults } = await sweepShims(bench.daemon, bench.image.busybox, { seed, times: 3 });
    assert.deepEqual(faults, []);
  });

  test(`row 12: whatever is asked of the same ids, the answers can be true (seed ${seed})`, async () => {
    const total = await sweepChaos(bench.daemon, bench.image.busybox, { seed, calls: 360, clients: 6, bystanders: 3 });
    assert.deepEqual(total.faults, []);
    // Of starts two or three succeed, or by chance none: most are of what is not there, or runs.
    for (const call of ['RunPodSandbox', 'CreateContainer']) assert.ok(total.outcomes[`${call} OK`]! > 0, call);
  });

  test(`row 13: a call that was cut off can be made again (seed ${seed})`, async () => {
    const { faults, cutOff } = await sweepCuts(bench, { seed, points: 1 });
    assert.deepEqual(faults, []);
    assert.ok(cutOff > 0);
  });
});

suite('sweeps of what stays', { env: inspectable }, (bench) => {
  test('row 14: nothing of commands stays, many at once, in a row, and when their container ends', async () => {
    const { faults } = await sweepExecs(bench.daemon, bench.image.busybox, { atOnce: 60, inARow: 300, ends: 3 });
    assert.deepEqual(faults, []);
  });
});
