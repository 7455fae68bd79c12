import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { mostDelayMs, SyncLater } from '../../../src/image/sync-later.ts';

describe('what was pulled comes to the disk', () => {
  let isBusy = false;
  let syncs: PromiseWithResolvers<void>[] = [];
  let later: SyncLater;

  beforeEach(() => {
    [isBusy, syncs] = [false, []];
    later = new SyncLater(
      () => {
        const sync = Promise.withResolvers<void>();
        syncs.push(sync);
        return sync.promise;
      },
      () => isBusy,
    );
  });

  test('at once when nothing else is pulled, and only if there is something', () => {
    later.look();
    assert.equal(syncs.length, 0);
    later.want();
    later.look();
    later.look();
    assert.equal(syncs.length, 1);
  });

  test('once for all that are pulled at a time, when the last is over', () => {
    isBusy = true;
    for (let pull = 0; pull < 10; pull++) {
      later.want();
      isBusy = pull < 9;
      later.look();
    }
    assert.equal(syncs.length, 1);
  });

  test('after a while, however long others are pulled', (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    isBusy = true;
    later.want();
    later.look();
    t.mock.timers.tick(mostDelayMs - 1);
    later.want(); // which does not put it off
    assert.equal(syncs.length, 0);
    t.mock.timers.tick(1);
    assert.equal(syncs.length, 1);
  });

  test('again for what was pulled while it was under way', async () => {
    later.want();
    later.look();
    later.want();
    later.look();
    assert.equal(syncs.length, 1);
    syncs[0]!.resolve();
    await turn();
    assert.equal(syncs.length, 2);
    syncs[1]!.resolve();
    await later.idle();
    assert.equal(syncs.length, 2);
  });

  test('before the end, also while others are pulled', async () => {
    isBusy = true;
    later.want();
    const idle = later.idle();
    assert.equal(syncs.length, 1);
    syncs[0]!.resolve();
    await idle;
  });
});
