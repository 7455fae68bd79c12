// Random sequences of layers: what Berth mounts is what applying them one after the other gives.
import assert from 'node:assert/strict';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { mountTmpfs, unmount } from '../../src/sys/mounts.ts';
import { ownHost } from '../harness/own-host.ts';
import { dir, file, hardlink, type Member, symlink, tar } from '../registry/tar.ts';
import { LayerModel, Meaningless, type Picture, pictureOf } from './layer-model.ts';
import { LayerBench } from './layers-support.ts';

await ownHost();

/** Sequences that mean something, the same ones each time; others, and a hundred thousand of them, by hand. */
const wanted = Number(process.env.BERTH_SEQUENCES ?? 100);
/** By hand: each way goes on until this time is over. */
const minutes = Number(process.env.BERTH_MINUTES ?? 0);
const seed = Number(process.env.BERTH_SEED ?? 1);
const shownFailures = Number(process.env.BERTH_SHOWN ?? 12);
/** Whether umoci has to make of them what the model does. */
const withUmoci = process.env.BERTH_UMOCI === '1';

/** Each layer as Berth takes it, alone where it can, and all of them in order. */
const ways = { 'as they come': false, 'in order': true };
type Way = keyof typeof ways;
const benches = new Map<Way, LayerBench>();
/** Everything is in memory: what the disk takes is not of interest. */
const memory = mkdtempSync(join(tmpdir(), 'berth-memory-'));
before(async () => {
  mountTmpfs(memory, {});
  process.env.TMPDIR = memory;
  for (const [way, inOrderOnly] of Object.entries(ways))
    benches.set(way as Way, await LayerBench.open({ inOrderOnly }));
});
after(async () => {
  for (const bench of benches.values()) await bench[Symbol.asyncDispose]();
  unmount(memory, { detach: true });
  rmdirSync(memory);
});

/** mulberry32: small, and the same everywhere. */
function random(from: number): (below: number) => number {
  let state = from;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below) | 0;
  };
}

const names = ['a', 'b', 'c'];
/** Members as a layer may have them: few names, so that they meet. */
function layerOf(pick: (below: number) => number): Member[] {
  const name = () => names[pick(names.length)]!;
  const path = () => Array.from({ length: 1 + pick(3) }, name).join('/');
  const folder = () => (pick(3) === 0 ? '' : `${Array.from({ length: 1 + pick(2) }, name).join('/')}/`);
  const makers: (() => Member)[] = [
    () => dir(path(), { mode: [0o755, 0o700][pick(2)]! }),
    () => dir(path()),
    () => file(path(), `${pick(1000)}`),
    () => file(path(), `${pick(1000)}`),
    () => symlink(path(), [name(), `../${name()}`, `/${path()}`, `${name()}/${name()}`, '..'][pick(5)]!),
    () => symlink(path(), path()),
    () => hardlink(path(), path()),
    () => ({ name: path(), type: '6' }),
    () => file(`${folder()}.wh.${name()}`),
    () => file(`${folder()}.wh.${name()}`),
    () => file(`${folder()}.wh..wh..opq`),
  ];
  return Array.from({ length: 1 + pick(5) }, () => makers[pick(makers.length)]!());
}

const shown = (layers: readonly Member[][]): string =>
  layers
    .map(
      (members, i) =>
        `${i}: ${members.map(({ name, type = '0', link, mode }) => `${type} ${name}${link ? ` -> ${link}` : ''}${mode === 0o700 ? ' 700' : ''}`).join('; ')}`,
    )
    .join('\n');

/** How Berth's tree differs from the model's, line by line; null: the layers have no meaning. */
async function difference(layers: readonly Member[][], way: Way): Promise<string[] | null> {
  const model = new LayerModel();
  try {
    for (const members of layers) model.apply(members);
  } catch (error) {
    if (error instanceof Meaningless) return null;
    throw error;
  }
  const expected = model.picture();
  const content = layers.map((members) => tar(...members));
  const { ours, theirs } = await benches.get(way)!.glance(content, pictureOf, { withUmoci });
  const umocis = theirs === null ? [] : differing('umoci', theirs, expected);
  const members = layers.flat();
  return [
    ...differing('ours', ours, expected),
    ...umocis.filter((line) => !umociDiffers.some(({ where }) => where(line, members))),
  ];
}

/** Where umoci 0.4.7 makes something else of a layer, and why Berth does not. */
const umociDiffers: readonly { readonly why: string; where: (line: string, members: readonly Member[]) => boolean }[] =
  [
    {
      why: 'It removes what has the new name of a hard link before it makes the link, also if that is the very file',
      where: (line, members) =>
        line.endsWith(': link: no such file or directory') && members.some(({ type }) => type === '1'),
    },
    {
      why: 'A directory that is removed, but for what the layer has put into it, keeps its mode: the layer has not described it',
      where: (line, members) =>
        /: umoci directory \d+, model directory 755$/.test(line) && members.some(({ name }) => name.includes('.wh.')),
    },
  ];

function differing(whose: string, actual: Picture | string, expected: Picture): string[] {
  if (typeof actual === 'string') return [`${whose}: ${actual}`];
  const paths = [...new Set([...Object.keys(actual), ...Object.keys(expected)])];
  return paths
    .filter((path) => actual[path] !== expected[path])
    .map((path) => `${path}: ${whose} ${actual[path]}, model ${expected[path]}`);
}

const fifo = (name: string): Member => ({ name, type: '6' });
const whiteout = (folder: string, name: string): Member => file(`${folder}.wh.${name}`);
const opaque = (folder: string): Member => file(`${folder}.wh..wh..opq`);

/** Kinds of layers that went wrong, or nearly did, each as small as it can be. */
const known: Readonly<Record<string, Member[][]>> = {
  'a link that leads through a link of the same layer': [
    [dir('bin'), dir('usr'), symlink('usr/sbin', '../bin'), symlink('sbin', 'usr/sbin')],
    [file('sbin/x', 'x')],
  ],
  'links that lead through links of other layers': [
    [dir('usr'), dir('usr/bin'), file('usr/bin/a', 'a')],
    [symlink('usr/sbin', 'bin')],
    [symlink('sbin', 'usr/sbin')],
    [file('sbin/x', 'x'), file('sbin/d/y', 'y')],
  ],
  'a link whose target lies behind another link': [
    [
      dir('usr'),
      dir('usr/lib'),
      symlink('lib', 'usr/lib'),
      symlink('usr/lib/deep', '/lib/deeper'),
      dir('usr/lib/deeper'),
    ],
    [file('lib/deep/x', 'x')],
  ],
  'a link that the layer removes, and uses as a directory': [
    [dir('real'), symlink('l', 'real')],
    [whiteout('', 'l'), file('l/x', 'x')],
  ],
  'a link that the layer uses as a directory, and removes': [
    [dir('real'), file('real/a', 'a')],
    [symlink('l', 'real')],
    [whiteout('', 'l'), dir('l'), file('l/x', 'x')],
  ],
  'a link in a directory that the layer empties': [
    [dir('real'), dir('d'), symlink('d/l', '/real')],
    [opaque('d/'), file('d/l/x', 'x')],
  ],
  'a directory behind a link is emptied': [
    [dir('real'), file('real/a', 'a'), symlink('l', 'real')],
    [opaque('l/'), file('l/x', 'x')],
  ],
  'a name behind a link is removed': [[dir('real'), file('real/a', 'a'), symlink('l', 'real')], [whiteout('l/', 'a')]],
  'a name behind a link to the root, which the layer has itself': [
    [symlink('l', '..'), dir('a'), file('a/old', 'o')],
    [file('a/new', 'n'), whiteout('l/', 'a')],
  ],
  'a directory that is removed together with what is in it': [
    [dir('x'), file('x/y', 'y'), file('x/z', 'z')],
    [whiteout('x/', 'y'), whiteout('', 'x')],
  ],
  'a directory that is removed before what is in it': [
    [dir('x'), dir('x/y'), file('x/y/z', 'z')],
    [whiteout('x/y/', 'z'), whiteout('x/', 'y'), whiteout('', 'x')],
  ],
  'a hard link to a link of a lower layer': [[symlink('l', 'nowhere')], [hardlink('m', 'l')]],
  'hard links to a FIFO of a lower layer': [[fifo('f')], [hardlink('a', 'f'), hardlink('d/b', 'f')]],
  'hard links to a lower file that has two names': [
    [file('one', '1'), hardlink('two', 'one')],
    [hardlink('three', 'one'), hardlink('four', 'two')],
  ],
  'a name that is removed behind a link of the layer itself': [
    [dir('b'), file('b/x', 'x')],
    [symlink('l', 'b'), whiteout('l/', 'x')],
  ],
  'a removal in a directory that the layer then replaces by a link': [
    [file('c', 'c')],
    [dir('d'), whiteout('d/', 'c'), whiteout('', 'c'), symlink('d', '..')],
  ],
  'what is behind a link into a directory that the layer removes': [
    [dir('a'), file('a/x', 'x'), symlink('l', 'a/b')],
    [whiteout('', 'a'), file('l/y', 'y')],
  ],
  'what is behind a link that leads through a link of the layer to nothing': [
    [symlink('l', 'c/d')],
    [symlink('c', 'real'), file('l/x', 'x')],
  ],
  'a directory that is not described, in one that is emptied': [
    [dir('a'), dir('a/b', { mode: 0o700 })],
    [opaque('a/'), file('a/b/x', 'x')],
  ],
  'a directory that is described by another name': [
    [dir('a'), symlink('l', 'a')],
    [file('a/b/x', 'x'), dir('l/b', { mode: 0o700 })],
  ],
  'a hard link to a file behind a link': [
    [dir('real'), file('real/f', 'f'), symlink('l', 'real')],
    [hardlink('h', 'l/f')],
  ],
  'a link that the layer replaces by a directory, and fills by another name': [
    [symlink('a', 'c'), dir('c'), symlink('c/c', 'c/x')],
    [dir('c/c'), file('a/c/f', 'f')],
  ],
  'a name that is removed behind a link, in a directory that is removed': [
    [dir('a'), file('a/x', 'x'), symlink('l', 'a')],
    [whiteout('l/', 'x'), whiteout('', 'a')],
  ],
  'a name that is removed behind a link, in a directory that becomes a file': [
    [dir('a'), file('a/x', 'x'), symlink('l', 'a')],
    [whiteout('l/', 'x'), file('a', 'file')],
  ],
  'a directory that is removed behind a link, and holds removals alone': [
    [file('b/b/a', 'a'), symlink('c', 'b')],
    [whiteout('b/b/', 'c'), whiteout('c/', 'b')],
  ],
  'a directory that is removed behind a link, and holds something new': [
    [dir('a', { mode: 0o700 }), symlink('l', '.')],
    [file('a/new', 'n'), whiteout('l/', 'a')],
  ],
  'a removal behind a link, in what becomes a file': [
    [dir('a/c'), file('a/c/x', 'x'), symlink('l', 'a/c')],
    [whiteout('l/', 'x'), file('a', 'file')],
  ],
  'a hard link to itself, by another name': [[symlink('b/b', '/b')], [symlink('a', 'b'), hardlink('b/b', 'a/b/b')]],
  'a hard link to itself, through itself': [[symlink('a', '..'), hardlink('a', 'a/a'), file('a/b', 'b')]],
  'a hard link, through a link, to a lower link that leads to a directory': [
    [symlink('c', 'd')],
    [symlink('l', '/'), file('c/x', 'x'), hardlink('h', 'l/c')],
  ],
  'a hard link to a lower file under a name that is removed': [
    [file('b', 'b')],
    [hardlink('c', 'b'), whiteout('', 'c')],
  ],
  'a lower directory that becomes a hard link to a lower file, and then a directory': [
    [dir('c'), file('c/old', 'o'), file('f', 'f')],
    [hardlink('c', 'f'), dir('c')],
  ],
  'a directory of the layer that becomes a hard link to a lower link, and then a directory': [
    [dir('c'), file('c/old', 'o'), symlink('l', '..')],
    [dir('c'), hardlink('c', 'l'), dir('c', { mode: 0o700 }), file('c/last', 'l')],
  ],
  'a removal behind a link, of a directory with a link that leads elsewhere': [
    [dir('b'), symlink('b/l', '..'), dir('c'), symlink('c/a', 'real'), dir('c/real')],
    [whiteout('b/l/', 'c'), file('c/a/x', 'x')],
  ],
  'a directory emptied behind a link, with a link in it that leads elsewhere': [
    [dir('b'), symlink('b/l', '../c'), dir('c'), symlink('c/a', 'real'), dir('c/real')],
    [opaque('b/l/'), file('c/a/x', 'x')],
  ],
  'a removal behind a link to a directory that becomes a link back': [
    [symlink('b', 'a')],
    [dir('a'), whiteout('b/', 'c'), symlink('a', 'b/b')],
  ],
  'a removal behind a link to a directory that becomes a link back, through one below': [
    [symlink('b', 'a'), symlink('d', 'b')],
    [dir('a'), whiteout('b/', 'c'), symlink('a', 'd/x')],
  ],
  'a directory that is implied, and described behind a lower link': [
    [dir('c/a/c')],
    [fifo('a/c/a'), dir('c/c/c'), file('b', 'b'), dir('c')],
    [symlink('b', '..'), dir('c/a/a'), dir('b/c', { mode: 0o700 }), dir('a/c/a')],
  ],
  'a removal behind a lower link that leads through what the layer removes': [
    [symlink('a', 'c/b'), dir('a/b/c', { mode: 0o700 }), symlink('c/a', '/a/b')],
    [file('c/a/.wh.a'), symlink('a/b', 'c/c')],
    [dir('c/b/a'), whiteout('', 'a')],
  ],
  'a removal of a link through itself, and of another that the layer replaced': [
    [symlink('c/b', 'c'), symlink('b', 'c')],
    [whiteout('b/', 'b'), symlink('c', 'a/a'), fifo('b/a'), whiteout('', 'c')],
  ],
  'a removal behind a lower link, of what becomes a link': [
    [file('a/c', '1'), file('c/c/c', '2'), file('a/a/c', '3'), opaque(''), symlink('b', 'a')],
    [whiteout('b/', 'c'), symlink('a', 'c')],
  ],
  'directories behind a lower link that leads through another': [
    [symlink('b', '..'), opaque('b/b/'), dir('a/c/b'), symlink('c', 'b'), dir('b/a/c')],
    [fifo('a/a/b'), dir('b/c'), dir('c/c/a'), dir('c/c/b', { mode: 0o700 })],
  ],
  'a hard link to a lower link that the layer goes through': [
    [file('b/b', 'b'), dir('a/a'), dir('a/b'), symlink('c', '..')],
    [whiteout('', 'a'), whiteout('c/b/', 'b'), dir('a'), hardlink('b/b', 'c')],
  ],
  'a name behind a lower link, in a directory that is removed': [
    [dir('a'), symlink('a/b', '..')],
    [whiteout('', 'a'), dir('a/b/b')],
  ],
  'a directory behind a lower link that is a link below, too': [
    [dir('usr/lib'), symlink('lib', 'usr/lib'), symlink('usr/lib/d', '../e'), dir('usr/e')],
    [file('lib/d/x', 'x'), dir('lib/f', { mode: 0o700 }), file('usr/lib/f/y', 'y')],
  ],
  'a lower link that the layer replaces, and that another leads through': [
    [symlink('a', 'b'), symlink('b', 'c'), dir('c')],
    [dir('b'), file('a/x', 'x')],
  ],
  'a lower link that the layer goes through, and replaces by way of another': [
    [dir('u'), symlink('l', 'u'), symlink('u/d', '../e'), dir('e')],
    [dir('l/d', { mode: 0o700 }), file('u/d/w', 'w')],
  ],
  'a lower link that leads through a link of the layer, in a directory that only the layer has': [
    [symlink('b/a', '/a/b/c')],
    [symlink('a/b', 'a/c'), file('b/a/c', 'x'), symlink('c/a', 'b/a')],
  ],
  'a symbolic link of 4095 bytes': [[symlink('l', `${'a/'.repeat(2047)}b`)]],
};
for (const way of Object.keys(ways) as Way[]) {
  for (const [name, layers] of Object.entries(known)) {
    test(`${name}, ${way}`, async () => {
      assert.deepEqual(await difference(layers, way), []);
    });
  }

  const amount = minutes > 0 ? `${minutes} minutes` : wanted;
  test(`random sequences of layers, ${amount} from seed ${seed}, ${way}`, async (t) => {
    const failures: string[] = [];
    let done = 0;
    const end = performance.now() + minutes * 60_000;
    const goesOn = () => (minutes > 0 ? performance.now() < end : done < wanted);
    for (let number = seed; goesOn(); number++) {
      const pick = random(number);
      const layers = Array.from({ length: 2 + pick(3) }, () => layerOf(pick));
      const lines = await difference(layers, way);
      if (lines === null) continue;
      done++;
      if (lines.length > 0) failures.push(`seed ${number}\n${shown(layers)}\n  ${lines.join('\n  ')}`);
    }
    t.diagnostic(`${done} sequences that mean something`);
    assert.equal(
      failures.length,
      0,
      `${failures.length} of ${done} differ:\n${failures.slice(0, shownFailures).join('\n\n')}`,
    );
  });
}
