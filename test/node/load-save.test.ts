// What is saved is what was there: loaded again here, and read by skopeo.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { differences } from '../hostile/layers-support.ts';
import { image, layer, writeLayout } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { dir, file, hardlink, symlink, tar } from '../registry/tar.ts';
import { describeTree } from '../registry/tree.ts';

await ownHost();

const name = 'docker.io/team/app:v1';
const capability = Buffer.from('0100000200240000000000000000000000000000', 'hex');
const forever = new AbortController().signal;
const long = `${'directory-with-a-name/'.repeat(8)}file-with-a-name`;
const layers = [
  tar(
    dir('etc'),
    file('etc/a', 'one', { mode: 0o4755, uid: 3_000_000, gid: 7, pax: { mtime: '1500000000.123456789' } }),
    file('etc/gone', 'x'),
    dir('full'),
    file('full/old', 'x'),
    file('cap', 'x', { pax: { 'SCHILY.xattr.security.capability': capability, 'SCHILY.xattr.user.note': 'n\0o=\n' } }),
    hardlink('cap2', 'cap'),
    symlink('link', long),
    file(long, Buffer.alloc(300_000, 'long ')),
    file('n\xffme', 'bytes'),
    file('before-1970', '', { pax: { mtime: '-1.25' } }),
    { name: 'fifo', type: '6', mode: 0o600 },
    { name: 'disk', type: '4', major: 259, minor: 70_000 },
    { name: 'null', type: '3', major: 1, minor: 3, mode: 0o666 },
  ),
  tar(dir('etc', { mode: 0o700 }), file('etc/.wh.gone'), dir('full'), file('full/.wh..wh..opq'), file('full/new', 'y')),
];
const built = image(
  layers.map((content) => layer(content)),
  {
    config: { User: 'u:g', WorkingDir: '/w', Labels: { a: 'b' }, Volumes: { '/v': {} }, Entrypoint: ['/e'] },
  },
);
let work = '';
before(() => {
  work = mkdtempSync(join(tmpdir(), 'berth-save-'));
  writeLayout(join(work, 'layout'), { [name]: built });
});
after(() => rmSync(work, { recursive: true }));

test('saved and loaded again: the same tree, the same configuration, the same names', async () => {
  await using store = await Store.open();
  const [original] = await store.images.load(join(work, 'layout'));
  const path = join(work, 'saved.tar');
  const { id, bytes } = await store.images.save(name, path, forever);
  assert.equal(statSync(path).size, bytes);
  const before_ = describeTree(await store.mount(original!.id));
  await using other = await Store.open();
  const [loaded] = await other.images.load(path);
  assert.equal(loaded?.id, id);
  assert.deepEqual(loaded?.tags, [name]);
  assert.deepEqual(loaded?.config, original?.config);
  assert.deepEqual(differences(describeTree(await other.mount(name)), before_), []);
  const again = join(work, 'again.tar');
  await other.images.save(name, again, forever);
  execFileSync('/usr/bin/cmp', [path, again]);
  for (const kind of ['oci-archive', 'docker-archive']) {
    const copy = join(work, kind);
    const from = kind === 'oci-archive' ? `${kind}:${path}:${name}` : `${kind}:${path}`;
    execFileSync('/usr/bin/skopeo', ['--insecure-policy', 'copy', '--quiet', from, `dir:${copy}`], { stdio: 'pipe' });
    assert.ok(readdirSync(copy).includes(id.slice('sha256:'.length)));
  }
});

test('a layer that hides all below it does so when it is saved and loaded', async () => {
  const layout = join(work, 'hiding');
  const hiding = image([layer(tar(file('a', 'x'))), layer(tar(file('.wh..wh..opq'), file('b', 'y')))]);
  writeLayout(layout, { [name]: hiding });
  await using store = await Store.open();
  await store.images.load(layout);
  await store.images.save(name, join(work, 'hiding.tar'), forever);
  await using other = await Store.open();
  await other.images.load(join(work, 'hiding.tar'));
  assert.deepEqual(readdirSync(await other.mount(name)), ['b']);
});

test('a file that exists is not replaced, and a save that fails leaves none', async () => {
  await using store = await Store.open();
  await store.images.load(join(work, 'layout'));
  const taken = join(work, 'taken');
  writeFileSync(taken, 'mine');
  await assert.rejects(store.images.save(name, taken, forever), { kind: 'AlreadyExists' });
  await assert.rejects(store.images.save(name, join(work, 'no/such'), forever), { kind: 'NotFound' });
  await assert.rejects(store.images.save('none', join(work, 'x'), forever), { kind: 'NotFound' });
  const path = join(work, 'cancelled.tar');
  await assert.rejects(store.images.save(name, path, AbortSignal.abort(new Error('stop'))), /stop/);
  assert.equal(statSync(path, { throwIfNoEntry: false }), undefined);
});
