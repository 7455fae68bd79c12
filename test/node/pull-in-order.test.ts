// Layers whose meaning is in doubt are read twice, the second time in order: which ones, and what becomes of it when that fails.
import assert from 'node:assert/strict';
import { lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { log } from '../../src/base/log.ts';
import { LayerPool } from '../../src/image/layer-pool.ts';
import { type LayerSource, Layers } from '../../src/image/layers.ts';
import { Progress } from '../../src/image/progress.ts';
import { parseDigest } from '../../src/model/ids.ts';
import { openSnapshots, type Snapshots } from '../../src/snapshot/index.ts';
import { mount, unmount } from '../../src/sys/mounts.ts';
import { ownHost } from '../harness/own-host.ts';
import { layer } from '../registry/images.ts';
import { dir, file, hardlink, type Member, symlink, tar } from '../registry/tar.ts';

await ownHost();

const megabytes = 1_000_000;
const limits = { maxBytes: 10 * megabytes, maxEntries: 1000, maxRatio: 200 };
const base = [
  dir('usr'),
  dir('usr/lib'),
  file('usr/lib/one', Buffer.alloc(megabytes, 'x')),
  symlink('lib', 'usr/lib'),
  dir('etc'),
  file('etc/a'),
];

let root = '';
let snapshots: Snapshots;
let pool: LayerPool;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'berth-in-order-'));
  mount('tmpfs', root, 'tmpfs', 0, 'size=64m,mode=700');
  snapshots = await openSnapshots(root);
  pool = new LayerPool(1, 5000);
});
afterEach(async () => {
  await pool[Symbol.asyncDispose]();
  unmount(root, { detach: true });
  rmSync(root, { recursive: true });
});

type Reading = (signal: AbortSignal) => AsyncIterable<Uint8Array>;
type Counted = LayerSource & { readonly times: () => number };

/** A layer that says how often it was read; `second`: what it gives then instead. */
function source(members: readonly Member[], second?: Reading): Counted {
  const { blob, diffId } = layer(tar(...members));
  let times = 0;
  async function* first() {
    yield Buffer.from(blob.data);
  }
  return {
    digest: parseDigest(blob.digest),
    diffId: parseDigest(diffId),
    size: blob.data.length,
    origin: 'registry',
    open: (signal) => (++times === 2 && second ? second(signal) : first()),
    times: () => times,
  };
}

const never = new AbortController().signal;
const realize = (sources: readonly LayerSource[], signal = never, progress = new Progress('app'), least = limits) =>
  new Layers(snapshots, pool, least).realize(sources, progress, signal);

/** What only the order of the members tells. */
const doubtful = [file('lib/two', '2'), file('lib/.wh.one'), file('more', Buffer.alloc(2 * megabytes, 'm'))];

describe('a layer is read', () => {
  const once: Record<string, Member[]> = {
    'with all its directories and whiteouts, as builders of images write it': [
      dir('etc'),
      file('etc/.wh.a'),
      dir('usr'),
      dir('usr/lib'),
      file('usr/lib/.wh..wh..opq'),
      file('usr/lib/two', '2'),
      hardlink('usr/lib/three', 'usr/lib/two'),
      symlink('usr/lib/link', 'two'),
    ],
    'with files behind a lower link, as builders of single layers write it': [
      file('lib/x/libx.so.1', 'x'),
      symlink('lib/x/libx.so', 'libx.so.1'),
      file('usr/lib/y', 'y'),
      file('etc/b', 'b'),
    ],
    'that removes what is not there': [file('none/.wh.x'), file('etc/.wh.none')],
    'that hides all': [file('.wh..wh..opq'), file('opt/x')],
    'with a link that it does not use': [symlink('sbin', 'usr/lib'), file('usr/lib/two')],
  };
  const twice: Record<string, Member[]> = {
    'that removes something behind a lower link': doubtful,
    'with a hard link to a lower file': [hardlink('usr/again', 'usr/lib/one')],
    'that goes through a link of its own': [symlink('opt', 'usr'), file('opt/x')],
    'that removes what it has itself': [file('etc/a', 'new'), file('etc/.wh.a')],
    'with two files for one name, one of them behind a lower link': [file('lib/two', '1'), file('usr/lib/two', '2')],
    'that describes a lower link which it went through': [file('lib/two', '1'), dir('lib')],
  };
  for (const [times, all] of [once, twice].entries()) {
    for (const [name, members] of Object.entries(all)) {
      test(`${times === 0 ? 'once' : 'twice, and why is told'}: one ${name}`, async (t) => {
        const told = t.mock.method(log, 'info', () => {});
        const [lower, upper] = [source(base), source(members)];
        const progress = new Progress('app');
        await realize([lower, upper], never, progress);
        assert.deepEqual([lower.times(), upper.times()], [1, times + 1]);
        const reasons = told.mock.calls.map(
          ({ arguments: [facts] }) => facts as unknown as { layer: string; reason: string },
        );
        assert.deepEqual(
          reasons.map((facts) => facts.layer),
          times === 0 ? [] : [upper.digest],
        );
        for (const { reason } of reasons) assert.match(reason, /"/);
        const { bytesTotal, bytesFetched, layers, layersDone } = progress.status();
        assert.deepEqual([bytesFetched, layersDone], [bytesTotal, layers]);
        assert.deepEqual(
          readdirSync(root).filter((entry) => entry.startsWith('.')),
          [],
        );
      });
    }
  }

  test('twice, and counts once', async () => {
    const least = { ...limits, maxBytes: 4 * megabytes };
    await realize([source(base), source(doubtful)], never, undefined, least);
    assert.equal(snapshots.size(snapshots.list().at(-1)!.key), 2 * megabytes + 1);
  });
});

test('a name of a lower file that the layer links anew is its own from there on', async () => {
  const upper = [hardlink('c', 'd/a'), hardlink('e', 'd/b'), hardlink('d/b', 'd/a'), file('d/.wh.a'), file('d/.wh.b')];
  await realize([source([dir('d'), file('d/a', 'x'), hardlink('d/b', 'd/a')]), source(upper)]);
  const tree = snapshots.treePath(snapshots.list().find(({ parent }) => parent !== null)!.key);
  const [own, linked, removed] = ['d/b', 'c', 'd/a'].map((name) => lstatSync(join(tree, name)));
  assert.deepEqual([own!.ino, removed!.isCharacterDevice()], [linked!.ino, true]);
});

describe('the second reading', () => {
  async function fails(second: Reading, expected: object): Promise<void> {
    const upper = source(doubtful, second);
    await assert.rejects(realize([source(base), upper, source([file('above')])]), expected);
    assert.equal(upper.times(), 2);
    assert.deepEqual(
      readdirSync(root).filter((entry) => entry.startsWith('.')),
      [],
      'a stage is left',
    );
    await realize([source(base), source(doubtful)]);
  }

  test('of other bytes is refused', () =>
    fails(
      async function* () {
        yield Buffer.from(layer(tar(file('lib/evil', 'x'))).blob.data);
      },
      { kind: 'DataLoss' },
    ));

  test('that breaks off is a failure', () =>
    fails(async function* () {
      yield Buffer.from(layer(tar(...doubtful)).blob.data.subarray(0, 500));
      throw new Error('connection lost');
    }, /connection lost/));

  test('of nothing is refused', () => fails(async function* () {}, { kind: 'DataLoss' }));

  test('ends when nobody wants it any more', async () => {
    const caller = new AbortController();
    const begun = Promise.withResolvers<void>();
    const upper = source(doubtful, async function* (signal) {
      yield Buffer.from(layer(tar(...doubtful)).blob.data.subarray(0, 500));
      begun.resolve();
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    });
    const done = realize([source(base), upper], caller.signal);
    done.catch(() => {});
    await begun.promise;
    caller.abort(new Error('client left'));
    await assert.rejects(done, /client left/);
    assert.deepEqual(
      readdirSync(root).filter((entry) => entry.startsWith('.')),
      [],
    );
    await realize([source(base), source(doubtful)]);
  });

  test('holds nobody up whose layers are plain', async () => {
    const begun = Promise.withResolvers<void>();
    const caller = new AbortController();
    const upper = source(doubtful, async function* (signal) {
      begun.resolve();
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      yield Buffer.alloc(0);
    });
    const slow = realize([source(base), upper], caller.signal);
    slow.catch(() => {});
    await begun.promise;
    await realize([{ ...source([file('quick')]), origin: 'another' }]);
    caller.abort(new Error('client left'));
    await assert.rejects(slow, /client left/);
  });

  test('by a thread that dies is a failure, and the next one works', async () => {
    const send = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (
      this: Worker,
      message: { kind: string; job?: { lowers?: unknown } },
      ...rest: []
    ) {
      if (message.kind === 'unpack' && message.job?.lowers) this.terminate();
      return send.call(this, message, ...rest);
    };
    try {
      await assert.rejects(realize([source(base), source(doubtful)]), { kind: 'Internal' });
    } finally {
      Worker.prototype.postMessage = send;
    }
    assert.deepEqual(
      readdirSync(root).filter((entry) => entry.startsWith('.')),
      [],
    );
    await realize([source(base), source(doubtful)]);
  });

  test('that copies more lower files than the disk holds is refused', async () => {
    const names = Array.from({ length: 8 }, (_, i) => `f${i}`);
    const lower = source(names.map((name) => file(name, Buffer.alloc(5 * megabytes, name))));
    const upper = source(names.map((name) => hardlink(`again-${name}`, name)));
    const large = { ...limits, maxBytes: 1000 * megabytes };
    await assert.rejects(realize([lower, upper], never, undefined, large), { kind: 'ResourceExhausted' });
    assert.deepEqual(
      readdirSync(root).filter((entry) => entry.startsWith('.')),
      [],
    );
  });
});
