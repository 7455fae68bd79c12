// Real trees: a Debian of packages (BERTH_SLOW=1), and 64 layers that overwrite, delete and swap; against umoci.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { removeTree } from '../../src/sys/files.ts';
import { ownHost } from '../harness/own-host.ts';
import { differences } from '../hostile/layers-support.ts';
import { cacheFolder } from '../images/paths.ts';
import { image, layer, writeLayout } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { dir, file, type Member, symlink, tar } from '../registry/tar.ts';
import { describeTree, type Facts } from '../registry/tree.ts';

await ownHost(process.env.BERTH_SLOW ? ensureDebian : undefined);

let work = '';
before(() => {
  work = mkdtempSync(join(tmpdir(), 'berth-debian-'));
});
after(() => removeTree(work));

async function bothTrees(layers: readonly Buffer[]): Promise<{ ours: Facts; theirs: Facts }> {
  const scratch = mkdtempSync(join(work, 'case-'));
  const layout = join(scratch, 'layout');
  writeLayout(layout, { app: image(layers.map((content) => layer(content, 'none'))) });
  await using store = await Store.open();
  const [loaded] = await store.images.load(layout);
  const ours = describeTree(await store.mount(loaded!.id));
  execFileSync('/usr/bin/umoci', ['unpack', '--image', `${layout}:app`, join(scratch, 'bundle')], { stdio: 'pipe' });
  return { ours, theirs: describeTree(join(scratch, 'bundle/rootfs')) };
}

/** A number below `below`, the same at every run. */
function sequence(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
}

const names = ['a', 'b', 'c', 'd'];

/** A layer of random changes to a small set of names two levels deep. */
function changes(next: (below: number) => number, serial: number): Member[] {
  const members: Member[] = [];
  for (const top of names) {
    switch (next(8)) {
      case 0:
        members.push(file(`.wh.${top}`));
        break;
      case 1:
        members.push(file(top, `${serial}`, { mode: 0o600 + next(8), uid: next(5) }));
        break;
      case 2:
        members.push(symlink(top, 'elsewhere'));
        break;
      case 3:
        members.push(dir(top, { mode: 0o700 + next(64) }), file(`${top}/.wh..wh..opq`), file(`${top}/x`, `${serial}`));
        break;
      case 4:
        members.push(dir(top, { mtime: 1_500_000_000 + serial }), file(`${top}/.wh.${names[next(4)]}`));
        break;
      case 5:
      case 6:
        members.push(
          dir(top, { uid: next(3) }),
          dir(`${top}/${names[next(4)]}`),
          file(`${top}/${names[next(4)]}-file`, `${serial}`.repeat(next(3000))),
        );
        break;
      default: // this layer leaves it alone
    }
  }
  return members;
}

for (const seed of process.env.BERTH_SLOW ? Array.from({ length: 20 }, (_, i) => i) : [1, 2]) {
  test(`64 layers of overwrites, deletions and swaps (${seed})`, async () => {
    const next = sequence(seed);
    const base = tar(dir('elsewhere'), file('elsewhere/kept', 'x'));
    const layers = [base, ...Array.from({ length: 63 }, (_, index) => tar(...changes(next, index)))];
    const { ours, theirs } = await bothTrees(layers);
    assert.deepEqual(differences(ours, theirs), []);
  });
}

/** A Debian in a tar, kept; it comes from the network's package sources. */
async function ensureDebian(): Promise<string> {
  const archive = join(cacheFolder('debian'), 'bookworm.tar');
  if (existsSync(archive)) return archive;
  const root = mkdtempSync(join(tmpdir(), 'berth-bookworm-'));
  try {
    const more = '--include=libcap2-bin,iputils-ping,sudo';
    execFileSync('/usr/sbin/debootstrap', ['--variant=minbase', more, 'bookworm', root], { stdio: 'pipe' });
    const options = ['--create', '--xattrs', '--xattrs-include=*', '--numeric-owner', '--format=pax'];
    const members = ['--directory', root, '--exclude=./dev/*', '.'];
    execFileSync('/usr/bin/tar', [...options, `--file=${archive}.new`, ...members]);
    renameSync(`${archive}.new`, archive);
  } finally {
    await removeTree(root);
  }
  return archive;
}

test('a Debian of packages, with setuid programs and file capabilities', {
  skip: !process.env.BERTH_SLOW,
}, async () => {
  const whole = readFileSync(await ensureDebian());
  const second = tar(file('usr/bin/.wh.sudo'), dir('var/cache', { mode: 0o700 }), file('var/cache/.wh..wh..opq'));
  const { ours, theirs } = await bothTrees([whole, second]);
  assert.ok(Object.keys(ours).length > 5000);
  assert.match(JSON.stringify(ours['usr/bin/ping']), /security\.capability/);
  assert.match(String(ours['usr/bin/passwd']?.mode), /0o1047/);
  assert.equal(ours['usr/bin/sudo'], undefined);
  assert.deepEqual(differences(ours, theirs), []);
});
