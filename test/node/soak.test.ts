import assert from 'node:assert/strict';
import { it } from 'node:test';
import { grown, Inspector, inspectable, lifecycles } from '../harness/lifecycles.ts';
import { ownHost } from '../harness/own-host.ts';
import { until } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

const slow = Boolean(process.env.BERTH_SLOW);
/** Traces are kept of so many pods: the heap grows until then. */
const warm = slow ? 600 : 16;
const count = slow ? 1400 : 60;

suite('a long life', { env: inspectable }, (bench) => {
  it(`holds after ${warm + count} pods what it held after ${warm}`, async (t) => {
    using inspector = await Inspector.open(bench.daemon);
    await lifecycles(bench.daemon, bench.image.busybox, warm);
    const before = await inspector.size();
    await lifecycles(bench.daemon, bench.image.busybox, count, warm);
    let after = await inspector.size();
    const settled = async () => {
      after = await inspector.size();
      return grown(before, after).length === 0;
    };
    await until('the end of what the last pods opened', settled, 10_000).catch(() => {}); // asserted below, by kind
    t.diagnostic(`heap ${before.heapMB.toFixed(1)} -> ${after.heapMB.toFixed(1)} MB`);
    t.diagnostic(`resident ${before.rssMB.toFixed(1)} -> ${after.rssMB.toFixed(1)} MB, ${after.threads} threads`);
    assert.deepEqual(grown(before, after), []);
    assert.ok(after.threads <= before.threads, `${after.threads} threads, ${before.threads} before`);
    if (slow) assert.ok(after.heapMB < before.heapMB + 3, `the heap grew by ${after.heapMB - before.heapMB} MB`);
  });
});
