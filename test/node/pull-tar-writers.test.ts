// What programs write in each form of tar that they know comes out as it was packed.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { image, layer, writeLayout } from '../registry/images.ts';
import { Store } from '../registry/store.ts';
import { describeTree } from '../registry/tree.ts';

await ownHost();

let store: Store;
let work = '';
before(async () => {
  store = await Store.open();
  work = mkdtempSync(join(tmpdir(), 'berth-writers-'));
  for (const [name, lines] of Object.entries(trees)) python(`${makeTree}${lines}`, join(work, name));
});
after(async () => {
  await store[Symbol.asyncDispose]();
  rmSync(work, { recursive: true });
});

const python = (program: string, ...args: string[]): Buffer =>
  execFileSync('/usr/bin/python3', ['-c', program, ...args], { maxBuffer: 1 << 28 });

const makeTree = `
import os, sys
root = os.fsencode(sys.argv[1]); os.umask(0)
def put(name, content=b'x', mode=0o644, uid=0, gid=0):
    with open(os.path.join(root, name), 'wb') as f: f.write(content)
    os.chown(os.path.join(root, name), uid, gid); os.chmod(os.path.join(root, name), mode)
def at(name, when): os.utime(os.path.join(root, name), (when, when), follow_symlinks=False)
os.makedirs(os.path.join(root, b'dir/sub'), 0o751)
put(b'dir/file'); put(b'dir/empty', b''); put(b'dir/block', b'b' * 512); put(b'large', b'l' * 700001, 0o600, 7, 8)
put(b'setuid', b'#!', 0o4755, 1, 2); put(b'dir/sub/setgid', b'#!', 0o2711); put(b'caf\\xe9-\\xff', b'no UTF-8')
os.link(os.path.join(root, b'dir/file'), os.path.join(root, b'other'))
os.symlink(b'dir/file', os.path.join(root, b'link')); os.symlink(b'/nowhere', os.path.join(root, b'dir/absolute'))
os.chmod(os.path.join(root, b'dir/sub'), 0o1777)
`;
const nodes = `
os.mkfifo(os.path.join(root, b'fifo'), 0o620)
os.mknod(os.path.join(root, b'char'), 0o020666, os.makedev(1, 3)); os.mknod(os.path.join(root, b'block'), 0o060660, os.makedev(7, 300))
long = b'deep/' + b'd' * 80
os.makedirs(os.path.join(root, long)); put(long + b'/' + b'f' * 90, b'by a prefix')
`;
/** What ustar has no room for. */
const beyond = `
put(b'far-owner', b'x', 0o640, 3000000, 4000000000); put(b'far-owner-empty', b'', 0o4755, 2097152, 5)
put(long + b'/' + b'f' * 250, b'a long name'); os.makedirs(os.path.join(root, b'w' * 200 + b'/' + b'w' * 255))
put(b'w' * 200 + b'/' + b'w' * 255 + b'/' + b'w' * 255, b'x', 0o600, 3000000, 0)
os.symlink(b't/' * 600, os.path.join(root, b'far-link')); os.symlink(b't' * 4000, os.path.join(root, b'w' * 240))
os.link(os.path.join(root, long + b'/' + b'f' * 250), os.path.join(root, b'h' * 180))
put(b'old'); at(b'old', -86400); put(b'far-time'); at(b'far-time', 2 ** 33 + 5)
`;
/** Times that have no room for a part of a second. */
const whole = `
for folder, folders, files in os.walk(root, topdown=False):
    for path in [os.path.join(folder, name) for name in folders + files] + [folder]:
        at(os.path.relpath(path, root), int(os.lstat(path).st_mtime // 1))
`;
const fine = `
put(b'fine'); os.utime(os.path.join(root, b'fine'), ns=(0, 1500000000123456789)); put(b'before', b'x')
os.utime(os.path.join(root, b'before'), ns=(0, -1250000000))
os.setxattr(os.path.join(root, b'fine'), b'user.binary', bytes([0, 255, 10, 61, 0])); os.setxattr(os.path.join(root, b'dir'), b'user.on', b'dir')
os.setxattr(os.path.join(root, b'setuid'), b'security.capability', bytes.fromhex('0100000200240000000000000000000000000000'))
os.setxattr(os.path.join(root, b'dir/file'), b'security.capability', bytes.fromhex('0100000300240000000000000000000000000000a0860100'))
`;
const trees = {
  v7: whole,
  ustar: nodes + whole,
  gnu: nodes + beyond + whole,
  pax: nodes + beyond + fine,
} as const;

type Form = { readonly tree: keyof typeof trees; readonly pack: (folder: string) => Buffer };

const gnuTar =
  (...options: string[]) =>
  (folder: string): Buffer =>
    execFileSync('/usr/bin/tar', [...options, '--numeric-owner', '-cf', '-', '-C', folder, '.'], {
      maxBuffer: 1 << 28,
    });

const pythonTar = (format: string) => (folder: string) =>
  python(
    `import os, sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=tarfile.${format}) as t: t.add(sys.argv[1], arcname='.')`,
    folder,
  );

const forms: Readonly<Record<string, Form>> = {
  "GNU tar's v7": { tree: 'v7', pack: gnuTar('--format=v7') },
  "GNU tar's ustar": { tree: 'ustar', pack: gnuTar('--format=ustar') },
  "GNU tar's oldgnu": { tree: 'gnu', pack: gnuTar('--format=oldgnu') },
  "GNU tar's gnu": { tree: 'gnu', pack: gnuTar('--format=gnu') },
  "GNU tar's pax": { tree: 'pax', pack: gnuTar('--format=posix', '--xattrs', '--xattrs-include=*') },
  "GNU tar's pax, with all that it can say": {
    tree: 'pax',
    pack: gnuTar(
      '--format=posix',
      '--xattrs',
      '--xattrs-include=*',
      '--acls',
      '--selinux',
      '--pax-option=globexthdr.name=g,comment=x',
    ),
  },
  "busybox' tar": {
    tree: 'ustar',
    pack: (folder) => execFileSync('/bin/busybox', ['tar', '-cf', '-', '-C', folder, '.'], { maxBuffer: 1 << 28 }),
  },
  "Python's ustar": { tree: 'ustar', pack: pythonTar('USTAR_FORMAT') },
  "Python's gnu": { tree: 'gnu', pack: pythonTar('GNU_FORMAT') },
};

describe('a tree comes out as it was packed by', () => {
  for (const [name, { tree, pack }] of Object.entries(forms)) {
    test(name, async () => {
      const folder = join(work, tree);
      const layout = mkdtempSync(join(work, 'layout-'));
      writeLayout(layout, { app: image([layer(pack(folder))]) });
      const [loaded] = await store.images.load(layout);
      const [ours, theirs] = [describeTree(await store.mount(loaded!.id)), describeTree(folder)];
      store.unmount();
      assert.deepEqual(ours, theirs);
    });
  }
});
