// The pod's namespaces and the pause process, on the real kernel.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isFault } from '../../src/base/fault.ts';
import type { SandboxSpec } from '../../src/shim/index.ts';
import { hostName, ownHost } from '../harness/own-host.ts';
import { alive, env, startPod, startScript, statusOf, type TestPod, textOf, until } from './shim-support.ts';

await ownHost();

const sandboxOf = (pod: TestPod, more: Partial<SandboxSpec> = {}): SandboxSpec => ({
  network: true,
  pid: false,
  ipc: true,
  uts: true,
  hostname: 'web-0',
  netnsPath: join(pod.dir, 'netns'),
  sysctls: [],
  cgroupTasks: [],
  cgroupFolder: '',
  oomScoreAdj: null,
  ...more,
});

const namespaceOf = (pid: number | 'self', type: string) => readlinkSync(`/proc/${pid}/ns/${type}`);
const types = ['net', 'ipc', 'uts', 'pid_for_children', 'mnt', 'user', 'cgroup'];
const ownTypes = (pid: number) => types.filter((type) => namespaceOf(pid, type) !== namespaceOf('self', type));

/** Runs a script inside the pause process' network, ipc and uts namespaces. */
const inside = async (pod: TestPod, pausePid: number, text: string) => {
  const argv = ['/usr/bin/nsenter', '-t', `${pausePid}`, '-n', '-i', '-u', '/bin/sh', '-c', text];
  return textOf(await pod.shim.run({ argv, env, cwd: '/', deadlineMs: 30_000 }));
};

test('the namespaces that were asked for are new, set up, and pinned', async (t) => {
  const pod = await startPod(t);
  const sysctls = ['net.ipv4.ip_unprivileged_port_start=80', 'net.ipv4.conf.lo.rp_filter=2', 'kernel.msgmax=12345'];
  const { pausePid } = await pod.shim.sandbox(sandboxOf(pod, { sysctls }));
  assert.deepEqual(ownTypes(pausePid), ['net', 'ipc', 'uts', 'mnt']);
  assert.equal(`net:[${statSync(join(pod.dir, 'netns')).ino}]`, namespaceOf(pausePid, 'net'));
  const said = await inside(
    pod,
    pausePid,
    'hostname; ip -o addr show dev lo; cd /proc/sys; cat net/ipv4/ip_unprivileged_port_start net/ipv4/conf/lo/rp_filter kernel/msgmax',
  );
  const [hostname, ...rest] = said.stdout.trim().split('\n');
  assert.equal(hostname, 'web-0');
  assert.deepEqual(rest.slice(-3), ['80', '2', '12345']);
  assert.match(rest[0]!, /127\.0\.0\.1\/8/);
  assert.equal((await pod.shim.list()).pausePid, pausePid);
  await pod.shim.shutdown();
  assert.equal(existsSync(join(pod.dir, 'netns')), false);
  assert.equal(existsSync(`/proc/${pausePid}`), false);
  assert.deepEqual(pod.pauseExits, [], 'an end that was asked for is no news');
});

test("on the host's namespaces the pause process has its mounts alone", async (t) => {
  const pod = await startPod(t);
  const onHost = { network: false, ipc: false, uts: false, netnsPath: '' };
  const { pausePid } = await pod.shim.sandbox(sandboxOf(pod, onHost));
  assert.deepEqual(ownTypes(pausePid), ['mnt']);
});

const userMaps = { uids: '0 100000 65536\n', gids: '0 200000 65536\n' };

for (const [kind, more] of Object.entries({ plain: {}, 'in a user namespace': { userMaps } })) {
  test(`the pause process holds nothing but its namespaces: ${kind}`, async (t) => {
    const pod = await startPod(t);
    const { pausePid } = await pod.shim.sandbox(sandboxOf(pod, more));
    const own = `/proc/${pausePid}`;
    assert.equal(statusOf(pausePid, 'Name'), 'berth-pause');
    assert.equal(readFileSync(`${own}/cmdline`, 'latin1'), 'berth-pause\0');
    assert.equal(readFileSync(`${own}/environ`, 'latin1'), '');
    await until(() => readdirSync(`${own}/fd`).length === 0); // the last one said that it is ready
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) assert.match(statusOf(pausePid, set), /^0+$/);
    assert.equal(statusOf(pausePid, 'NoNewPrivs'), '1');
    assert.equal(statusOf(pausePid, 'Seccomp'), '2');
    assert.equal(statusOf(pausePid, 'Groups'), '');
    const [uid, gid] = 'userMaps' in more ? [100000, 200000] : [65535, 65535];
    assert.equal(statusOf(pausePid, 'Uid'), Array(4).fill(uid).join('\t'));
    assert.equal(statusOf(pausePid, 'Gid'), Array(4).fill(gid).join('\t'));
    // proc(5): the files of a process that is not dumpable belong to the root of its user namespace.
    assert.equal(statSync(`${own}/environ`).uid, 'userMaps' in more ? 100000 : 0);
    // Its root is the only mount that it has, empty and read-only; its program is no file of the host.
    const mounts = readFileSync(`${own}/mountinfo`, 'utf8').trim().split('\n');
    assert.equal(mounts.length, 1, mounts.join('\n'));
    assert.match(mounts[0]!, / \/ \/ ro,nosuid,nodev,relatime - tmpfs berth-pause /);
    for (const place of ['root', 'cwd']) {
      assert.equal(readlinkSync(`${own}/${place}`), '/');
      assert.deepEqual(readdirSync(`${own}/${place}/`), []);
      assert.throws(() => writeFileSync(`${own}/${place}/x`, ''), { code: 'EROFS' });
    }
    assert.equal(readlinkSync(`${own}/exe`), '/program (deleted)');
    assert.equal(statSync(`${own}/exe`).dev, statSync(`${own}/root/`).dev);
  });
}

test('the end of the pause process is told, and the network stays until it is taken down', async (t) => {
  const pod = await startPod(t);
  const { pausePid } = await pod.shim.sandbox(sandboxOf(pod));
  process.kill(pausePid, 'SIGTERM');
  await until(() => pod.pauseExits.length > 0);
  assert.deepEqual(pod.pauseExits, [pausePid]);
  assert.equal((await pod.shim.list()).pausePid, 0);
  assert.ok(existsSync(join(pod.dir, 'netns')), 'the network is still there to be taken down');
  await pod.shim.shutdown();
  assert.equal(existsSync(join(pod.dir, 'netns')), false);
});

test('a sandbox after one that ended by itself holds its own namespaces alone', async (t) => {
  const pod = await startPod(t);
  const onHost = { network: false, netnsPath: '', pid: true, userMaps };
  const descriptors = () => readdirSync(`/proc/${pod.shim.pid}/fd`).length;
  const once = async () => {
    const { pausePid } = await pod.shim.sandbox(sandboxOf(pod, onHost));
    return { pausePid, held: descriptors() };
  };
  const first = await once();
  process.kill(first.pausePid, 'SIGKILL');
  await until(() => pod.pauseExits.length > 0);
  assert.equal((await once()).held, first.held);
});

test('in a shared PID namespace the pause process is PID 1 and reaps', async (t) => {
  const pod = await startPod(t);
  const { pausePid } = await pod.shim.sandbox(sandboxOf(pod, { pid: true }));
  assert.equal(statusOf(pausePid, 'NSpid').split('\t').at(-1), '1');
  assert.deepEqual(ownTypes(pausePid), ['net', 'ipc', 'uts', 'pid_for_children', 'mnt']);
  const file = join(pod.dir, 'orphan');
  const text = `(sh -c 'echo started > ${file}; exec sleep 1101' &)`;
  const argv = ['/usr/bin/nsenter', '-t', `${pausePid}`, '-p', '/bin/sh', '-c', text];
  await pod.shim.run({ argv, env, cwd: '/', deadlineMs: 10_000 });
  const children = () => readFileSync(`/proc/${pausePid}/task/${pausePid}/children`, 'utf8').trim();
  await until(() => existsSync(file) && children() !== '');
  const orphan = Number(children());
  process.kill(orphan, 'SIGKILL');
  await until(() => !existsSync(`/proc/${orphan}`));
  // What is in the namespace cannot end it, whatever it sends; the host's root can.
  const kill = 'for signal in TERM INT HUP QUIT USR1 KILL; do kill -$signal 1 || exit 1; done';
  const killer = ['/usr/bin/nsenter', '-t', `${pausePid}`, '-p', '/bin/sh', '-c', `${kill}; exit 7`];
  assert.equal((await pod.shim.run({ argv: killer, env, cwd: '/', deadlineMs: 10_000 })).code, 7);
  // A signal of which one is pending already is lost (signal(7)): what the killer sent is taken first.
  await until(() => /^0+$/.test(statusOf(pausePid, 'ShdPnd')));
  assert.ok(alive(pausePid));
  assert.deepEqual(pod.pauseExits, []);
  process.kill(pausePid, 'SIGTERM');
  await until(() => pod.pauseExits.length > 0);
});

test('a user namespace owns the others', async (t) => {
  const pod = await startPod(t);
  const sysctls = ['net.ipv4.ip_unprivileged_port_start=0'];
  const { pausePid } = await pod.shim.sandbox(sandboxOf(pod, { userMaps, sysctls }));
  assert.deepEqual(ownTypes(pausePid), ['net', 'ipc', 'uts', 'mnt', 'user']);
  assert.match(statusOf(pausePid, 'Uid'), /^100000\s+100000/);
  assert.match(statusOf(pausePid, 'Gid'), /^200000\s+200000/);
  assert.match((await inside(pod, pausePid, 'ip -o link show dev lo')).stdout, /LOOPBACK,UP/);
});

test('the pipes of what runs in a user namespace belong to its root', async (t) => {
  const pod = await startPod(t);
  const owners = 'cd /proc/$$/fd && stat -L -c %u:%g 0 1 2 | cat >$1.owners';
  const owned = async (key: string) => {
    const spec = startScript(pod, key, `${owners}; exit 1`, { stdin: true });
    await pod.shim.start(spec);
    return readFileSync(`${spec.pidFile}.owners`, 'utf8').trim().split('\n');
  };
  assert.deepEqual(await owned('before'), Array(3).fill('0:0'));
  await pod.shim.sandbox(sandboxOf(pod, { userMaps }));
  assert.deepEqual(await owned('after'), Array(3).fill('100000:200000'));
});

test('the pause process is in the given cgroups, and lowers its OOM score as far as it may', async (t) => {
  const name = `bt${hostName}x-shim`;
  const folders = ['memory', 'pids'].map((controller) => `/sys/fs/cgroup/${controller}/${name}`);
  const cgroupFolder = `/sys/fs/cgroup/unified/${name}`;
  for (const folder of [...folders, cgroupFolder]) mkdirSync(folder);
  t.after(() => [...folders, cgroupFolder].forEach((folder) => void rmdirSync(folder)));
  const pod = await startPod(t);
  const cgroupTasks = folders.map((folder) => join(folder, 'tasks'));
  const { pausePid } = await pod.shim.sandbox(sandboxOf(pod, { cgroupTasks, cgroupFolder, oomScoreAdj: 500 }));
  for (const folder of [...folders, cgroupFolder])
    assert.equal(readFileSync(join(folder, 'cgroup.procs'), 'utf8'), `${pausePid}\n`);
  assert.equal(readFileSync(`/proc/${pausePid}/oom_score_adj`, 'utf8'), '500\n');
  await pod.shim.shutdown(); // before the folders go
  const other = await startPod(t);
  const own = readFileSync(`/proc/${other.shim.pid}/oom_score_adj`, 'utf8');
  const { oomClamped, pausePid: second } = await other.shim.sandbox(sandboxOf(other, { oomScoreAdj: -998 }));
  assert.equal(readFileSync(`/proc/${second}/oom_score_adj`, 'utf8'), oomClamped ? own : '-998\n');
});

test('a sandbox that fails names the step and leaves nothing', async (t) => {
  const pod = await startPod(t);
  const cases: { more: Partial<SandboxSpec>; text: RegExp }[] = [
    { more: { sysctls: ['net.ipv4.no_such=1'] }, text: /set the sysctl net\.ipv4\.no_such=1: ENOENT/ },
    { more: { sysctls: ['kernel.msgmax=x'] }, text: /set the sysctl kernel\.msgmax=x: EINVAL/ },
    { more: { sysctls: ['net/../kernel/hostname=x'] }, text: /sysctl .*EINVAL/ },
    { more: { sysctls: ['/kernel/hostname=x'] }, text: /sysctl .*EINVAL/ },
    { more: { sysctls: [`${'x'.repeat(289)}=1`] }, text: /sysctl x+: ENOENT/ },
    { more: { sysctls: [`${'x'.repeat(290)}=1`] }, text: /sysctl x+: EINVAL/ }, // its path does not fit
    { more: { sysctls: ['no-value'] }, text: /sysctl no-value: EINVAL/ },
    { more: { hostname: 'x'.repeat(65) }, text: /set the hostname x+: EINVAL/ },
    { more: { cgroupTasks: ['/no/such/tasks'] }, text: /cgroup \/no\/such\/tasks: ENOENT/ },
    { more: { cgroupFolder: '/no/such' }, text: /cgroup \/no\/such: ENOENT/ },
    { more: { cgroupFolder: '/tmp' }, text: /cgroup \/tmp: EBADF/ },
    { more: { netnsPath: '/no/such/netns' }, text: /network namespace on \/no\/such\/netns: ENOENT/ },
    { more: { userMaps: { uids: 'x', gids: 'y' } }, text: /user ids of the namespace: EINVAL/ },
  ];
  const children = () => readFileSync(`/proc/${pod.shim.pid}/task/${pod.shim.pid}/children`, 'utf8');
  for (const { more, text } of cases) {
    const error = await pod.shim.sandbox(sandboxOf(pod, more)).catch((thrown: Error) => thrown);
    assert.match(`${error}`, text);
    assert.equal(isFault(error, 'InvalidArgument'), /sysctl .*EINVAL/.test(`${text}`), `${text}`);
    assert.equal(children(), '', `${text}`);
    assert.equal(existsSync(join(pod.dir, 'netns')), false, `${text}`);
    assert.equal((await pod.shim.list()).pausePid, 0);
  }
  const { pausePid } = await pod.shim.sandbox(sandboxOf(pod));
  await assert.rejects(pod.shim.sandbox(sandboxOf(pod)), (error) => isFault(error, 'AlreadyExists'));
  assert.ok(alive(pausePid));
});

test('a FIFO in the place of a cgroup file fails the sandbox at once, and holds up nobody', async (t) => {
  const pod = await startPod(t);
  const tasks = join(pod.dir, 'tasks');
  execFileSync('/usr/bin/mkfifo', [tasks]);
  await assert.rejects(pod.shim.sandbox(sandboxOf(pod, { cgroupTasks: [tasks] })), /cgroup .*tasks: ENXIO/);
});

test('the pause process does not outlive its shim', async (t) => {
  const pod = await startPod(t);
  const { pausePid } = await pod.shim.sandbox(sandboxOf(pod, { netnsPath: '' }));
  process.kill(pod.shim.pid, 'SIGKILL');
  await pod.lost;
  await until(() => !alive(pausePid));
  unlinkSync(join(pod.dir, 'shim.sock'));
});
