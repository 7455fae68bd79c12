import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import {
  type CgroupTree,
  cgroupEntrance,
  cgroupFolders,
  controllerFolder,
  createCgroup,
  killCgroup,
  oomCountFile,
  ownCgroup,
  pidsIn,
  readyToMove,
  removeCgroup,
  thawCgroup,
} from '../../../src/sys/cgroups.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-cgroups-'));
after(() => rmSync(folder, { recursive: true }));

const v1: CgroupTree = {
  mode: 'v1',
  hierarchies: [
    { path: join(folder, 'memory'), version: 1, controllers: ['memory'] },
    { path: join(folder, 'cpuset'), version: 1, controllers: ['cpuset'] },
  ],
};
const v2: CgroupTree = {
  mode: 'v2',
  hierarchies: [{ path: join(folder, 'unified'), version: 2, controllers: ['cpu', 'memory'] }],
};

const places: [path: string, below: string][] = [
  ['/pods/a', 'pods/a'],
  ['pods//a/', 'pods/a'],
  ['kube-burst-pod1.slice:berth:c1', 'kube.slice/kube-burst.slice/kube-burst-pod1.slice/berth-c1.scope'],
  ['kube-burst.slice/pause', 'kube.slice/kube-burst.slice/pause'],
  ['/kube-burst.slice/pause', 'kube-burst.slice/pause'], // a path of the cgroupfs driver, whatever its name
  ['system.slice::a.service', 'system.slice/a.service'],
];
for (const [path, below] of places) {
  test(`where ${path} is`, () => {
    assert.deepEqual(cgroupFolders(path, { tree: v2 }), [join(folder, 'unified', below)]);
    assert.deepEqual(cgroupEntrance(path, { tree: v2 }), { tasks: [], folder: join(folder, 'unified', below) });
    const tasks = ['memory', 'cpuset'].map((name) => join(folder, name, below, 'tasks'));
    assert.deepEqual(cgroupEntrance(path, { tree: v1 }), { tasks, folder: '' });
  });
}

for (const path of ['', '/', '/a/../..', '..', '/a/./b', 'a\0b', 'a:b:c:d']) {
  test(`refused: ${JSON.stringify(path)}`, () => {
    assert.throws(() => cgroupFolders(path, { tree: v2 }), { kind: 'InvalidArgument' });
  });
}

test('the file that counts kills for memory', () => {
  assert.equal(oomCountFile('/a', { tree: v1 }), join(folder, 'memory/a/memory.oom_control'));
  assert.equal(oomCountFile('/a', { tree: v2 }), join(folder, 'unified/a/memory.events'));
  assert.equal(oomCountFile('/a', { tree: { mode: 'v1', hierarchies: [] } }), '');
  assert.equal(controllerFolder('/a', 'pids', { tree: v1 }), null);
});

test('a new v1 cpuset takes the processors of its parent', async () => {
  for (const [name, cpus] of [
    ['', '0-3'],
    ['pods', '\n'],
  ] as const) {
    mkdirSync(join(folder, 'cpuset', name), { recursive: true });
    writeFileSync(join(folder, 'cpuset', name, 'cpuset.cpus'), cpus);
    writeFileSync(join(folder, 'cpuset', name, 'cpuset.mems'), '0');
  }
  mkdirSync(join(folder, 'memory'));
  await createCgroup('/pods', { tree: v1 });
  assert.equal(readFileSync(join(folder, 'cpuset/pods/cpuset.cpus'), 'utf8'), '0-3');
  assert.ok(existsSync(join(folder, 'memory/pods')));
});

test('pids of the whole subtree, each once', async () => {
  for (const [name, pids] of [
    ['p', ''],
    ['p/a', '12\n13\n'],
    ['p/a/b', '13\n14\n0\n'],
  ] as const) {
    mkdirSync(join(folder, 'unified', name), { recursive: true });
    writeFileSync(join(folder, 'unified', name, 'cgroup.procs'), pids);
  }
  assert.deepEqual((await pidsIn('/p', { tree: v2 })).sort(), [12, 13, 14]);
  assert.deepEqual(await pidsIn('/gone', { tree: v2 }), []);
});

test('removing goes from the leaves up, and again without harm', async () => {
  mkdirSync(join(folder, 'unified/tree/a/b'), { recursive: true });
  await removeCgroup('/tree', { tree: v2 });
  assert.ok(!existsSync(join(folder, 'unified/tree')));
  await removeCgroup('/tree', { tree: v2 });
});

test('a tree that is deeper than a path may be long, with a name that is no text, is read and removed', async () => {
  const [levels, name] = [150, 'a'.repeat(100)]; // 15,000 bytes, which nothing may name at once
  const odd = Buffer.from('\xff', 'latin1');
  const root = join(folder, 'unified/deep');
  const open = readdirSync('/proc/self/fd').length;
  mkdirSync(root, { recursive: true });
  process.chdir(root);
  for (let level = 1; level <= levels; level++) {
    mkdirSync(name);
    process.chdir(name);
    writeFileSync('cgroup.procs', `${level}\n`);
  }
  mkdirSync(odd);
  const oddFile = Buffer.concat([odd, Buffer.from('/cgroup.procs')]);
  writeFileSync(oddFile, `${levels + 1}\n`);
  assert.equal((await pidsIn('/deep', { tree: v2 })).length, levels + 1);
  rmSync(oddFile); // the kernel's own are no obstacle
  for (let level = levels; level > 0; level--) {
    rmSync('cgroup.procs');
    process.chdir('..');
  }
  process.chdir('/');
  await removeCgroup('/deep', { tree: v2 });
  assert.equal(existsSync(root), false);
  assert.equal(readdirSync('/proc/self/fd').length, open);
});

test('whatever number of cgroups there is, others have their turns while they are walked', async () => {
  const root = join(folder, 'unified/wide');
  for (let nth = 0; nth < 8000; nth++) mkdirSync(join(root, `${nth % 100}`, `${nth}`), { recursive: true });
  const walks = {
    'pids in all': () => pidsIn('/wide', { tree: v2 }),
    thaw: () => thawCgroup('/wide', { tree: v2 }),
    kill: () => killCgroup('/wide', { tree: v2 }),
    remove: () => removeCgroup('/wide', { tree: v2 }),
  };
  for (const [name, walk] of Object.entries(walks)) {
    let [turns, over] = [0, false];
    const ended = walk().finally(() => {
      over = true;
    });
    while (!over) {
      await turn();
      turns++;
    }
    await ended;
    assert.ok(turns > 2, `${name}: ${turns} turns`);
  }
  assert.equal(existsSync(root), false);
});

test('a cgroup that stays busy is named at the deadline', async () => {
  mkdirSync(join(folder, 'unified/busy'), { recursive: true });
  writeFileSync(join(folder, 'unified/busy/file'), ''); // a plain directory with a file in it: ENOTEMPTY
  const removal = removeCgroup('/busy', { tree: v2, deadlineMs: 1 });
  await assert.rejects(removal, { kind: 'DeadlineExceeded', message: /busy, or one in it, stays busy/ });
});

test('to be ready to move is a wish of the process itself: nothing is thrown where it has no cgroup', async () => {
  await readyToMove({ tree: { ...v1, hierarchies: [] } });
  await readyToMove({ tree: v1 });
  const [first] = v1.hierarchies;
  const own = join(first!.path, ownCgroup(first!));
  mkdirSync(own, { recursive: true });
  await readyToMove({ tree: v1 });
  assert.equal(readFileSync(join(own, 'cgroup.procs'), 'utf8'), '0');
});
