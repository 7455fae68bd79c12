// A container exchanges names in its tree while Berth walks through it: the walk never gets to what is outside.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { isErrno } from '../../src/base/fault.ts';
import { diskUsage, removeTree } from '../../src/sys/files.ts';
import { mountTmpfs, unmount } from '../../src/sys/mounts.ts';
import { copyTree } from '../../src/sys/places.ts';
import { compiled } from '../harness/compile.ts';
import { labelTree } from '../harness/look.ts';
import { ownHost } from '../harness/own-host.ts';

await ownHost(exchanger);

const attribute = 'security.berth'; // security.selinux, where there is no such module to check it
function exchanger(): Promise<string> {
  return compiled(join(import.meta.dirname, 'exchange.c'));
}
/** With sanitizers a walk takes five times as long, and is about memory, not about winning a race. */
const walks = process.env.BERTH_SANITIZED === '1' ? 120 : 600;
/** So many that a walk takes its time. */
const folders = Array.from({ length: 100 }, (_, i) => `b${i}`);

/** A tree and, outside of it, the tripwire: 4 MiB that belong to the host. */
class Scene implements AsyncDisposable {
  readonly work = mkdtempSync(join(tmpdir(), 'berth-walks-'));
  readonly tree = join(this.work, 'tree');
  readonly outside = join(this.work, 'outside');

  constructor() {
    mkdirSync(this.tree);
    mkdirSync(this.outside);
    writeFileSync(this.secrets[0]!, Buffer.alloc(4 << 20, 's'));
    for (const path of this.secrets.slice(1)) {
      mkdirSync(dirname(path));
      linkSync(this.secrets[0]!, path);
    }
  }

  readonly secrets = ['', ...folders].map((folder) => join(this.outside, folder, 'secret'));

  /** Exchanges two names until the end of the scope. */
  async exchange(one: string, other: string): Promise<AsyncDisposable> {
    const child = spawn(await exchanger(), [one, other], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    const end = async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    };
    return { [Symbol.asyncDispose]: end };
  }

  /** `a`, with folders that the tripwire has too, and a link to that, which change places all the time. */
  async exchangeFolderAndLink(): Promise<AsyncDisposable> {
    for (const folder of folders) mkdirSync(join(this.tree, 'a', folder), { recursive: true });
    symlinkSync(this.outside, join(this.tree, 'link'));
    return this.exchange(join(this.tree, 'a'), join(this.tree, 'link'));
  }

  /** A chain of folders so long that a walk does not hold all of them open; one in it changes places with one outside. */
  async exchangeFolders(): Promise<AsyncDisposable> {
    const upper = join(this.tree, 'd/'.repeat(10));
    mkdirSync(join(upper, 'x', 'd/'.repeat(60)), { recursive: true });
    mkdirSync(join(this.outside, 'y', 'd/'.repeat(60)), { recursive: true });
    return this.exchange(join(upper, 'x'), join(this.outside, 'y'));
  }

  labelled(): string {
    const argv = ['-h', '-n', attribute, this.outside, ...this.secrets];
    return execFileSync('/bin/sh', ['-c', 'getfattr "$@" 2>/dev/null || true', 'sh', ...argv], { encoding: 'utf8' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await removeTree(this.work);
  }
}

const kinds = ['exchangeFolderAndLink', 'exchangeFolders'] as const;
/** What a tree that changes may say of itself: nothing else is wrong. */
const ofChange = ['ENOENT', 'ENOTDIR', 'ELOOP', 'ESTALE', 'EEXIST', 'ENOTEMPTY'] as const;

async function unlessChanged(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isErrno(error, ...ofChange)) throw error;
  }
}

for (const kind of kinds) {
  test(`the usage of a writable layer is its own: ${kind}`, async () => {
    await using scene = new Scene();
    await using _ = await scene[kind]();
    for (let i = 0; i < walks; i++) {
      const { bytes } = await diskUsage(scene.tree);
      assert.ok(bytes < 4 << 20, `${bytes} bytes in walk ${i}: something outside was counted`);
    }
  });

  test(`a volume is relabelled, and nothing else: ${kind}`, async () => {
    await using scene = new Scene();
    await using _ = await scene[kind]();
    for (let i = 0; i < walks; i++) await labelTree(scene.tree, attribute, 'x:y:z');
    assert.equal(scene.labelled(), '');
  });

  test(`a copy has what is in the tree, and nothing else: ${kind}`, async () => {
    await using scene = new Scene();
    await using _ = await scene[kind]();
    for (let i = 0; i < walks / 12; i++) {
      const to = join(scene.work, `copy-${i}`);
      mkdirSync(to);
      await unlessChanged(copyTree(scene.tree, to));
      const secrets = execFileSync('/usr/bin/find', ['-P', to, '-name', 'secret'], { encoding: 'utf8' });
      assert.equal(secrets, '', `walk ${i}`);
      await removeTree(to);
    }
  });

  test(`a removal takes the tree, and nothing else: ${kind}`, async () => {
    await using scene = new Scene();
    for (let i = 0; i < walks / 40; i++) {
      rmSync(scene.tree, { recursive: true, force: true });
      rmSync(join(scene.outside, 'y'), { recursive: true, force: true });
      mkdirSync(scene.tree);
      await using _ = await scene[kind]();
      await unlessChanged(removeTree(scene.tree));
    }
    for (const path of scene.secrets) assert.ok(existsSync(path), path);
  });
}

test('a path that leads through a link by now is not relabelled', async () => {
  await using scene = new Scene();
  symlinkSync(scene.outside, join(scene.tree, 'link'));
  await assert.rejects(labelTree(join(scene.tree, 'link/b0'), attribute, 'x:y:z'), { code: 'ELOOP' });
  await assert.rejects(labelTree(join(scene.tree, 'link'), attribute, 'x:y:z'), { code: 'ELOOP' });
  assert.equal(scene.labelled(), '');
});

test('what is mounted in a tree is relabelled with it, and neither counted, copied nor removed', async () => {
  await using scene = new Scene();
  const [mounted, copy] = [join(scene.tree, 'mounted'), join(scene.work, 'copy')];
  for (const folder of [mounted, copy]) mkdirSync(folder);
  const { bytes } = await diskUsage(scene.tree);
  mountTmpfs(mounted, { size: 8 << 20 });
  try {
    writeFileSync(join(mounted, 'file'), Buffer.alloc(1 << 20));
    await labelTree(scene.tree, attribute, 'x:y:z');
    const argv = ['-h', '--only-values', '-n', attribute, join(mounted, 'file')];
    assert.equal(execFileSync('/usr/bin/getfattr', argv, { encoding: 'utf8' }).replace('\0', ''), 'x:y:z');
    assert.ok((await diskUsage(scene.tree)).bytes <= bytes);
    await copyTree(scene.tree, copy);
    assert.deepEqual(readdirSync(copy), []);
    for (const path of [scene.tree, mounted]) await assert.rejects(removeTree(path), { code: 'EBUSY' }, path);
    assert.ok(existsSync(join(mounted, 'file')));
  } finally {
    unmount(mounted);
  }
});
