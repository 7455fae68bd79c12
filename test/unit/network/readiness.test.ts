import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Fault } from '../../../src/base/fault.ts';
import type { HostFiles } from '../../../src/base/host-files.ts';
import { defaults } from '../../../src/base/settings.ts';
import { Network } from '../../../src/network/index.ts';
import { Readiness } from '../../../src/network/readiness.ts';
import { ownFiles } from '../../../src/sys/own-files.ts';

const never = () => new Promise<void>(() => {});
const fails = (why: string) => () => Promise.reject(new Error(why));

test('an answer is the verdict, and the next call asks again', async () => {
  const readiness = new Readiness();
  assert.equal(await readiness.of('net', async () => {}), null);
  assert.equal(await readiness.of('net', fails('no room')), 'no room');
  assert.equal(await readiness.of('net', async () => {}), null);
});

test('while an answer is awaited the last one stands, and nobody asks twice', async () => {
  const readiness = new Readiness();
  assert.equal(await readiness.of('net', fails('no room')), 'no room');
  const { promise, resolve } = Promise.withResolvers<void>();
  let asked = 0;
  const slow = () => {
    asked++;
    return promise;
  };
  assert.deepEqual(await Promise.all([readiness.of('net', slow), readiness.of('net', slow)]), ['no room', 'no room']);
  assert.equal(asked, 1);
  resolve();
  assert.equal(await readiness.of('net', slow), null);
});

test('no answer at all is said, and so is none of networks that are new', async () => {
  const readiness = new Readiness();
  assert.match((await readiness.of('net', never)) ?? '', /has not answered STATUS for 0\.\d s/);
  assert.equal(await readiness.of('other', async () => {}), null);
  assert.match((await readiness.of('third', never)) ?? '', /has not answered STATUS/);
});

test('a configuration that is slow to read is what it was; one that does not answer is no network', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'berth-ready-'));
  t.after(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'a.conflist'), '{"name":"a","cniVersion":"1.0.0","plugins":[{"type":"a"}]}');
  writeFileSync(join(dir, 'a'), '', { mode: 0o755 });
  const own = ownFiles();
  let list = own.list;
  const files: HostFiles = { ...own, list: (path, most) => list(path, most) };
  const cni = { ...defaults.cni, confDir: dir, binDirs: [dir] };
  const network = () =>
    new Network({ cni, dataDir: dir, timeouts: defaults.timeouts }, dir, { files, hostFiles: () => files });
  const used = network();
  assert.equal(await used.problem(), null);
  const slow = Promise.withResolvers<never>();
  list = () => slow.promise;
  assert.equal(await used.problem(), null, 'as it was');
  assert.match((await network().problem()) ?? '', /has not answered for 1 s/);
  slow.reject(new Fault('DeadlineExceeded', 'it is gone'));
  assert.equal(await used.problem(), 'it is gone');
  list = own.list;
  assert.equal(await used.problem(), null);
  // A look that ends after a newer one has nothing to say any more.
  const late = Promise.withResolvers<never>();
  list = () => late.promise;
  const first = used.problem();
  list = own.list;
  assert.equal(await used.problem(), null);
  late.reject(new Fault('DeadlineExceeded', 'it was gone'));
  assert.equal(await first, 'it was gone');
  list = () => new Promise<never>(() => {});
  assert.equal(await used.problem(), null);
});
