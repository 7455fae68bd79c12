import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { RootView } from '../../../../src/lifecycle/container/root-view.ts';
import { Looker } from '../../../../src/shim/index.ts';
import { patienceMs } from '../../../harness/look.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-view-'));
const looker = new Looker(patienceMs);
after(() => {
  rmSync(folder, { recursive: true });
  looker[Symbol.dispose]();
});
const root = join(folder, 'root');
const volume = join(folder, 'volume');
const links: Record<string, string> = {
  'root/abs': '/a/b',
  'root/up': '../../../../a',
  'root/a/back': '..',
  'root/chain': 'abs/../../chain2',
  'root/chain2': 'a/back/abs',
  'root/loop': 'loop2/x',
  'root/loop2': 'loop',
  'root/self': '.',
  'volume/in': '/a/x',
  'volume/loop': 'loop',
};
for (const path of [join(root, 'a/b'), join(volume, 'sub')]) mkdirSync(path, { recursive: true });
for (const [path, target] of Object.entries(links)) symlinkSync(target, join(folder, path));

const places: Record<string, string> = {
  '/': '/',
  '': '/',
  '/..': '/',
  'a//./b/': '/a/b',
  '/abs': '/a/b',
  '/abs/../x': '/a/x',
  '/up/b': '/a/b',
  '/a/back/a/back/x': '/x',
  '/chain': '/a/b',
  '/self/self/self/x': '/x',
  '/missing/../abs/x/y': '/a/b/x/y',
  '/missing/abs': '/missing/abs',
};
for (const [path, place] of Object.entries(places)) {
  test(`${JSON.stringify(path)} leads to ${place}`, async () => {
    assert.equal(await new RootView(root, looker).resolve(path), place);
  });
}

test('loops end', async () => {
  await assert.rejects(new RootView(root, looker).resolve('/loop'), /"\/loop" is a loop of symbolic links/);
});

test('links that lead on and on end before anybody has to wait for them', async () => {
  const long = join(folder, 'long');
  mkdirSync(long);
  for (let i = 0; i < 39; i++)
    symlinkSync(`${'/y'.repeat(800)}${'/..'.repeat(800)}/link${i + 1}`, join(long, `link${i}`));
  const view = new RootView(long, looker);
  const begun = process.cpuUsage();
  await assert.rejects(view.resolve('/link0'), /"\/link0" and others lead through too many and too long links/);
  await assert.rejects(view.resolve('/x'), /too many/, 'it is the view that has an end, not each of its paths');
  const { user, system } = process.cpuUsage(begun);
  assert.ok(user + system < 300_000, `${user + system} microseconds`);
});

test('a thousand volumes with long names are no such thing', async () => {
  const view = new RootView(root, looker);
  for (let i = 0; i < 1000; i++) await view.resolve(`/usr/share/application/of/some/maker/with/long/names/${i}/data`);
});

test('of what is mounted the last one counts, and a file system of the kernel has no links', async () => {
  const view = new RootView(root, looker);
  view.cover('/a', volume);
  assert.equal(await view.resolve('/up/in/y'), '/a/x/y', 'links of a volume lead into the root');
  await assert.rejects(view.resolve('/a/loop'), /loop/);
  view.cover('/a/sub', null);
  assert.equal(await view.resolve('/a/sub/in'), '/a/sub/in');
  view.cover('/a', null);
  assert.equal(await view.resolve('/a/in'), '/a/in');
  view.cover('/loop', null);
  assert.equal(await view.resolve('/loop/x'), '/loop/x', 'a mount point is no link');
});

test('of two mounts over a place the later one counts, and none once they are taken away', async () => {
  const view = new RootView(root, looker);
  view.cover('/a', volume);
  assert.equal(await view.resolve('/a/in'), '/a/x');
  view.cover('/', null); // over all of it, links included
  assert.equal(await view.resolve('/abs'), '/abs');
  view.cover('/a', volume);
  assert.equal(await view.resolve('/a/in'), '/a/x');
  view.uncover();
  assert.equal(await view.resolve('/abs/in'), '/a/b/in');
});

test('thousands of looks leave the event loop to others', async () => {
  const view = new RootView(root, looker);
  let turns = 0;
  let over = false;
  const others = () => {
    turns++;
    if (!over) setImmediate(others);
  };
  setImmediate(others);
  for (let i = 0; i < 2000; i++) await view.resolve('/abs/x/y');
  over = true;
  assert.ok(turns > 20, `others had ${turns} turns`);
});
