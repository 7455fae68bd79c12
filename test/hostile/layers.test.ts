// Every way out of a root with everything that can be put at its end, and every change of a lower layer by an upper one.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { dir, file, hardlink, type Member, symlink, tar } from '../registry/tar.ts';
import type { Facts } from '../registry/tree.ts';
import { differences, LayerBench } from './layers-support.ts';

await ownHost();

let bench: LayerBench;
before(async () => {
  bench = await LayerBench.open();
});
after(() => bench[Symbol.asyncDispose]());

const up = '../'.repeat(24);
const capability = Buffer.from('0100000200240000000000000000000000000000', 'hex');
type Fixture = { readonly layers: readonly (readonly Member[])[]; readonly at: string };

/** Ways out: members that prepare, and the name by which the outside would be reached. */
const ways: Readonly<Record<string, (outside: string) => Fixture>> = {
  'a name with ..': (outside) => ({ layers: [[]], at: `${up}${outside}` }),
  'an absolute name': (outside) => ({ layers: [[]], at: `/${outside}` }),
  'an absolute link': (outside) => ({ layers: [[symlink('l', outside)]], at: 'l' }),
  'a relative link': (outside) => ({ layers: [[symlink('l', `${up}${outside}`)]], at: 'l' }),
  'a chain of links': (outside) => ({
    layers: [[symlink('a', '..'), symlink('b', 'a/../..'), symlink('l', `b/..${outside}`)]],
    at: 'l',
  }),
  'a link through /proc': (outside) => ({ layers: [[symlink('l', `/proc/self/root${outside}`)]], at: 'l' }),
  'a directory that becomes a link': (outside) => ({
    layers: [[dir('l'), file('l/first', 'x'), symlink('l', outside)]],
    at: 'l',
  }),
  'a link of the layer below': (outside) => ({ layers: [[symlink('l', outside)], []], at: 'l' }),
  'a link below, and a directory that is not described': (outside) => ({
    layers: [[symlink('l', `${up}${outside}`)], []],
    at: 'l/directory/..',
  }),
};

/** What is put there. */
const loads: Readonly<Record<string, (at: string) => Member[]>> = {
  'a file': (at) => [file(`${at}/tripwire`, 'gone')],
  'a large file': (at) => [file(`${at}/tripwire`, Buffer.alloc(200_000, 'gone'))],
  'a file with a capability': (at) => [
    file(`${at}/tripwire`, 'gone', { mode: 0o4755, pax: { 'SCHILY.xattr.security.capability': capability } }),
  ],
  'a directory': (at) => [dir(`${at}/directory`, { mode: 0 })],
  'the directory itself': (at) => [dir(at, { mode: 0, uid: 7, mtime: 1 })],
  'a symbolic link': (at) => [symlink(`${at}/tripwire`, '/etc/passwd')],
  'a hard link': (at) => [hardlink('stolen', `${at}/tripwire`), file('stolen', 'gone')],
  'a hard link there': (at) => [file('mine', 'gone'), hardlink(`${at}/tripwire`, 'mine')],
  'a device': (at) => [{ name: `${at}/tripwire`, type: '3', major: 1, minor: 3 }],
  'a fifo': (at) => [{ name: `${at}/tripwire`, type: '6' }],
  'a whiteout': (at) => [file(`${at}/.wh.tripwire`)],
  'an opaque marker': (at) => [file(`${at}/.wh..wh..opq`)],
};

for (const [way, prepare] of Object.entries(ways)) {
  for (const [what, put] of Object.entries(loads)) {
    test(`${what} by ${way} stays inside`, async () => {
      const { layers, at } = prepare(bench.outside);
      const all = [...layers.slice(0, -1), [...layers.at(-1)!, ...put(at)]];
      const { ours, escaped, leftovers } = await bench.unpack(all.map((members) => tar(...members)));
      assert.equal(escaped, false, 'the tripwire was touched');
      assert.deepEqual(leftovers, [], 'something was left');
      if (typeof ours === 'string') assert.match(ours, /^Archive: |^Layer /);
    });
  }
}

const beside = [dir('other'), file('other/file', 'other'), dir('real'), file('real/in', 'real')];
/** What `x` is in the layer below. */
const lowers: Readonly<Record<string, Member[]>> = {
  nothing: [],
  'a file': [file('x', 'lower', { mode: 0o640, uid: 3 })],
  'a directory': [dir('x', { mode: 0o711, uid: 4 }), file('x/a', 'a'), dir('x/d'), file('x/d/b', 'b')],
  'a link to a directory': [symlink('x', 'real')],
  'a link to nothing': [symlink('x', '/nowhere/at/all')],
  'a file with two names': [file('x', 'lower'), hardlink('y', 'x')],
  'a fifo': [{ name: 'x', type: '6', mode: 0o600 }],
  'a setuid file with a capability': [
    file('x', 'lower', { mode: 0o6755, pax: { 'SCHILY.xattr.security.capability': capability } }),
  ],
  'a sticky directory with attributes': [
    dir('x', { mode: 0o3777, gid: 9, pax: { 'SCHILY.xattr.user.note': 'lower' } }),
    file('x/a', 'a'),
  ],
};
/** What the layer above does to it. */
const uppers: Readonly<Record<string, Member[]>> = {
  'a file': [file('x', 'upper')],
  'a directory': [dir('x', { mode: 0o700 })],
  'a directory with a file': [dir('x'), file('x/new', 'new')],
  'a symbolic link': [symlink('x', 'other')],
  'a hard link to a lower file': [hardlink('x', 'other/file')],
  'a whiteout': [file('.wh.x')],
  'a whiteout, then a file': [file('.wh.x'), file('x', 'upper')],
  'a whiteout, then a directory': [file('.wh.x'), dir('x'), file('x/new', 'new')],
  'an opaque directory': [dir('x'), file('x/.wh..wh..opq'), file('x/new', 'new')],
  'file, directory, file': [file('x', '1'), dir('x'), file('x/in', '2'), file('x', '3')],
};

for (const [below, lower] of Object.entries(lowers)) {
  for (const [what, upper] of Object.entries(uppers)) {
    test(`${what} over ${below} is what umoci makes of it`, async () => {
      const { ours, theirs, leftovers } = await bench.compare([tar(...beside, ...lower), tar(...upper)]);
      assert.deepEqual(leftovers, []);
      if (typeof ours === 'string') assert.fail(`refused: ${ours}`);
      if (typeof theirs === 'string') assert.fail(theirs);
      assert.deepEqual(differences(ours, theirs), []);
    });
  }
}

test('a directory that no layer describes is as old as its unpacking; one that a lower layer describes stays as old', async () => {
  const lower = [dir('known', { mtime: 5 }), file('known/a', 'a')];
  const { ours, theirs } = await bench.compare([
    tar(...lower),
    tar(file('known/new/file', 'x'), file('other/file', 'x')),
  ]);
  if (typeof ours === 'string' || typeof theirs === 'string') assert.fail(`${ours} ${theirs}`);
  const age = (facts: Facts, name: string) => Math.abs(Number(facts[name]!.mtime) / 1e6 - Date.now());
  const both: readonly Facts[] = [ours, theirs];
  for (const name of ['known/new', 'other']) {
    for (const facts of both) assert.ok(age(facts, name) < 3_600_000, `${name} ${facts[name]!.mtime}`);
  }
  assert.equal(ours.known!.mtime, 5_000_000_000);
  assert.ok(age(theirs, 'known') < 3_600_000, 'umoci has it as changed');
});
