// A fuzzer: whatever the addon does with a tree while a container changes it ends in an answer or an errno, and stays inside.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fault, isErrno } from '../../src/base/fault.ts';
import { isDoubt } from '../../src/image/layer-form.ts';
import { joinLayer } from '../../src/image/layer-join.ts';
import { unpackLayer } from '../../src/image/layer-stream.ts';
import { parseDigest } from '../../src/model/ids.ts';
import { diskUsage, readFileInRoot, removeTree } from '../../src/sys/files.ts';
import { copyTree, openInRoot } from '../../src/sys/places.ts';
import { compiled } from '../harness/compile.ts';
import { labelTree } from '../harness/look.ts';
import { ownHost } from '../harness/own-host.ts';
import { sha256 } from '../registry/images.ts';
import { dir, file, hardlink, symlink, tar } from '../registry/tar.ts';
import { describeTree } from '../registry/tree.ts';
import { fuzz, pick, type Random } from './fuzz-support.ts';

await ownHost(mutator);

function mutator(): Promise<string> {
  return compiled(join(import.meta.dirname, 'mutate.c'));
}
const limits = { maxBytes: 10_000_000, maxEntries: 10_000, maxRatio: 200 };
const roundsASeed = 30;
/** Far more than any of this takes; who changes a tree must not hold up a thread for ever. */
const patienceMs = 60_000;

const layer = tar(
  dir('a'),
  file('a/b/c', 'content'),
  symlink('d', '/a'),
  file('d/through', 'y'),
  hardlink('h', 'a/b/c'),
  hardlink('b/low', 'a/a'),
  hardlink('c/low', 'b'),
  file('b/.wh.gone'),
  file('c/.wh..wh..opq'),
);

/** One that is joined: nothing in it is in doubt by itself. */
const plain = tar(dir('a'), file('a/b/c', 'content'), file('b/a/x', 'y'), file('c/.wh.a'), file('d/a/b/through', 'z'));

/** What a change may make of a call: it is told, as an errno or a Fault; anything else is a finding. */
const ofChange = [
  ...['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP', 'ESTALE', 'EEXIST', 'ENOTEMPTY', 'EXDEV', 'EINVAL'],
  ...['EPERM', 'ENXIO', 'EBUSY', 'ENODATA', 'EMLINK', 'EFBIG', 'EAGAIN', 'ENAMETOOLONG'],
] as const;

const names = ['a', 'b', 'c', 'd', 'a/a', 'a/b', 'b/c', 'a/b/c', 'd/a/b/c'];

async function act(random: Random, tree: string, work: string, serial: number): Promise<unknown> {
  const fresh = join(work, `new-${serial}`);
  const some = pick(random, names);
  switch (random(8)) {
    case 0:
      return diskUsage(tree);
    case 1:
      return labelTree(tree, 'security.berth', 'x:y:z');
    case 2:
      mkdirSync(fresh);
      return copyTree(tree, fresh).finally(() => removeTree(fresh));
    case 3:
      return removeTree(join(tree, pick(random, ['a', 'b', 'c', 'd'])));
    case 4:
      return readFileInRoot(tree, some, 1_000_000);
    case 5: {
      using place = openInRoot(tree, some);
      return place && diskUsage(place.path);
    }
    case 6:
      return unpack(tree);
    default:
      mkdirSync(fresh);
      try {
        if (random(2) === 0) return await unpack(fresh, layer, [tree]);
        const notes = await unpack(fresh, plain);
        return joinLayer({ path: fresh, name: 'upper', lowers: [tree], notes });
      } finally {
        await removeTree(fresh);
      }
  }
}

function unpack(path: string, content = layer, lowers?: readonly string[]) {
  const job = { path, digest: null, diffId: parseDigest(sha256(content)), limits };
  return unpackLayer(Readable.from([content]), lowers ? { ...job, lowers } : job);
}

async function inTime(work: Promise<unknown>): Promise<void> {
  const late = new AbortController();
  const tooLate = sleep(patienceMs, undefined, { signal: late.signal, ref: true }).then(
    () => assert.fail(`nothing came of it in ${patienceMs} ms`),
    () => {},
  );
  try {
    await Promise.race([work, tooLate]);
  } catch (error) {
    if (!isErrno(error, ...ofChange) && !isDoubt(error) && !(error instanceof Fault && error.kind !== 'Internal'))
      throw error;
  } finally {
    late.abort();
  }
}

let root = '';
before(() => {
  root = mkdtempSync(join(tmpdir(), 'berth-moving-'));
});
after(() => removeTree(root));

test('nothing that is done to a tree that changes leaves it', async () => {
  const outside = join(root, 'outside');
  for (const folder of ['a/a', 'b']) mkdirSync(join(outside, folder), { recursive: true });
  for (const name of ['c', 'a/b', 'a/a/c', 'b/c']) writeFileSync(join(outside, name), 'untouched');
  const tripwire = JSON.stringify(describeTree(outside));
  let serial = 0;
  const runs = await fuzz(async (random) => {
    const tree = join(root, `tree-${serial++}`);
    mkdirSync(tree);
    const argv = [tree, outside, String(random(2 ** 30))];
    const child = spawn(await mutator(), argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    try {
      for (let i = 0; i < roundsASeed; i++) await inTime(act(random, tree, root, serial++));
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await removeTree(tree);
    assert.equal(JSON.stringify(describeTree(outside)), tripwire, `${basename(tree)}: the tripwire was touched`);
  });
  assert.ok(runs > 0);
});
