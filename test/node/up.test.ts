// The first command of the README, as an operator types it, and the way back: on a host where nothing of it ever was.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { removeCgroup } from '../../src/sys/cgroups.ts';
import { ensureCrictl } from '../conformance/go.ts';
import { hostName, ownHost } from '../harness/own-host.ts';

await ownHost(() => ensureCrictl('/var/cache/berth'));

const root = resolve(import.meta.dirname, '../..');
const up = join(root, 'scripts/up');
/** Cgroups are all that others on this host could share. */
const cgroup = `bt${hostName}x-up`;
const folder = mkdtempSync(join(tmpdir(), 'berth-up-'));
const config = join(folder, 'config.toml');

const run = (file: string, ...args: string[]): string =>
  execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 << 20 });
const sh = (script: string): string => run('bash', '-euc', script);
const goUp = (): string => run(up, '--config', config);
const goDown = (): string => run(up, '--config', config, '--down');
const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');

before(() => {
  sh(`rm -f /etc/crictl.yaml
    mount -t tmpfs -o mode=755 tmpfs /mnt; mkdir /mnt/upper /mnt/work
    mount -t overlay -o lowerdir=/usr/local/bin,upperdir=/mnt/upper,workdir=/mnt/work overlay /usr/local/bin
    umount -l /mnt; rm -f /usr/local/bin/{berth,crictl}`);
  writeFileSync(config, `cgroup_parent = "/${cgroup}"\n`);
});
after(async () => {
  await removeCgroup(`/${cgroup}`);
  rmSync(folder, { recursive: true });
});

/** All that scripts/up could leave on this host; of files those below /run and what it shares with nobody. The lock is the iptables package's. */
const state = () => ({
  mounts: lines(sh("awk '{ print $5, $4, $3 }' /proc/self/mountinfo"))
    .filter((line) => /^\/(run|(etc|opt|var\/lib|var\/log)\/(berth|cni|pods))/.test(line))
    .sort(),
  links: lines(sh("ip -o address | awk '{ print $2, $3, $4 }'; ip -o link | awk '{ print $2 }'")),
  rules: lines(sh('iptables-save; ip6tables-save')).filter((line) => !/^(#|COMMIT|\*|:[A-Z]+ )/.test(line)),
  cgroups: lines(sh(`find /sys/fs/cgroup -type d -path '*/${cgroup}*' 2>/dev/null || true`)),
  files: lines(
    sh(`find /run /etc /opt /var/lib /var/log /usr/local/bin -xdev '(' -fstype tmpfs -o -fstype overlay ')' ! -name xtables.lock \
      '(' -type f -exec md5sum {} + -o -true ')' -printf '%p %y %m\n'`),
  ).sort(),
  sysctls: lines(
    sh('grep -r . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv{4,6}/conf/{all,default} 2>/dev/null || true'),
  ),
  processes: lines(
    sh('for each in /proc/[0-9]*/cmdline; do { tr "\\0" " " <$each; echo; } 2>/dev/null || true; done'),
  ).filter((line) => /^\S*(node|berth|busybox|crun|httpd)/.test(line)),
});

type State = ReturnType<typeof state>;
function assertSame(then: State): void {
  const now = state();
  for (const kind of Object.keys(then) as (keyof State)[]) assert.deepEqual(now[kind], then[kind], kind);
}

describe('scripts/up', { concurrency: false }, () => {
  test('shows a page from a pod; --down leaves no trace, not even of what others never had', () => {
    const then = state();
    for (const path of ['/var/lib/cni', '/etc/cni', '/opt/cni', '/var/log/pods', '/run/berth', '/var/lib/berth']) {
      assert.ok(!then.files.some((line) => line.startsWith(path)), `${path} is not there`);
    }
    const shown = goUp();
    assert.match(shown, /A pod runs on Berth\./);
    assert.match(shown, /RunPodSandbox/);
    assert.ok(shown.includes(`Remove all of it: sudo scripts/up --config ${config} --down`));
    assert.match(sh('crictl ps'), /\sweb\s.*\shello\s+default$/m, 'names by the labels');
    assert.match(sh('crictl --version; berth version'), /^crictl version \d.*\nberth \d/);
    assert.match(sh('crictl logs "$(crictl ps -q)" 2>&1'), /response:200/);
    assert.throws(goUp, /Berth is up already.*--down/);
    goDown();
    assertSame(then);
    assert.match(goDown(), /nothing to remove/);
    assertSame(then);
  });

  test('twice in a row, and beside what others have there, a running containerd too: they keep theirs', async () => {
    const then = state();
    const note = (path: string) => sh(`mkdir -p $(dirname ${path}); echo note >${path}`);
    const notes = [
      '/etc/cni/net.d/readme',
      '/var/lib/cni/networks/other/10.0.0.1',
      '/var/lib/cni/results/other',
      '/var/log/pods/other/0.log',
      '/run/berth/other',
      '/var/lib/berth/other',
      '/opt/cni/bin/other',
    ];
    for (const path of notes) note(path);
    const home = join(folder, 'containerd');
    writeFileSync(
      `${home}.toml`,
      `version = 2\nroot = "${home}"\nstate = "${home}/state"\n[grpc]\naddress = "${home}/socket"
      [plugins."io.containerd.internal.v1.opt"]\npath = "${home}/opt"`,
    );
    const containerd = spawn('containerd', ['--config', `${home}.toml`], { stdio: 'ignore' });
    sh(`until [ -S ${home}/socket ]; do sleep 0.05; done`);
    sh(`mkdir /etc/berth; cp ${config} /etc/berth/config.toml`); // the command without an option
    const before = state();
    for (const _ of [1, 2]) {
      assert.match(run(up), /A pod runs on Berth\./);
      run(up, '--down');
      assertSame(before);
    }
    run(up);
    note('/var/lib/cni/networks/late/10.0.0.1');
    run(up, '--down');
    sh('rm -r /var/lib/cni/networks/late');
    assertSame(before);
    assert.equal(containerd.exitCode ?? containerd.signalCode, null, 'containerd runs on');
    containerd.kill();
    await once(containerd, 'exit');
    sh('rm -r /etc/berth /etc/cni /var/lib/cni /var/log/pods /run/berth /var/lib/berth /opt/cni');
    assertSame(then);
  });

  test("a log that was there goes on, and a link of the bridge's name is left alone", () => {
    const then = state();
    sh('echo old >/var/log/berth.log');
    goUp();
    goDown();
    assert.match(sh('cat /var/log/berth.log'), /^old\n.*Berth is serving/s);
    sh('rm /var/log/berth.log; ip link add berth0 type bridge');
    const before = state();
    assert.throws(goUp, /Link berth0 exists: remove it, or configure a network/);
    assert.match(goDown(), /nothing to remove/);
    assertSame(before);
    sh('ip link delete berth0');
    assertSame(then);
  });

  test("README's tour and docs/tour.md run as they are pasted", () => {
    const then = state();
    sh(`mkdir /etc/berth; cp ${config} /etc/berth/config.toml`); // the command without an option
    run(up);
    const pasted = ['README.md', 'docs/tour.md'].flatMap((paper) =>
      [...readFileSync(join(root, paper), 'utf8').matchAll(/^```bash\n([\s\S]*?)^```$/gm)].map(([, block]) => block),
    );
    assert.equal(pasted.length, 6);
    // We are root, and there need be no sudo.
    const said = sh(`exec 2>&1; cd ${root}; sudo() { "$@"; }\n${pasted.join('echo "== a block ends"\n')}`);
    const [tour = '', back = '', files = '', images = '', own = '', errors = ''] = said.split('== a block ends\n');
    assert.match(tour, /\sRunning\s+web\s.*\shello\s/);
    assert.match(tour, /^socket = "\/run\/berth\/berth\.sock"$/m);
    assert.match(tour, /^RunPodSandbox .* ms/m);
    assert.equal(tour.match(/A pod runs on Berth\./g)?.length, 2, 'the page, with the daemon and without');
    assert.match(back, /No pull is under way\n\{.*\}\n$/);
    assert.match(files, /"id"/);
    assert.match(files, /shim\.sock/);
    assert.match(images, /loaded again, its id is sha256:.*\n.*localhost\/berth-demo:latest\n0 layer\(s\)/s);
    assert.match(
      own,
      /^RuntimeReady: true.*localhost\/berth-demo.*\sshell\s.*\smine\s.*^www$.*^hello from mine$.*Removed sandbox/ms,
    );
    assert.match(errors, /did you mean trace\?.*No trace of a pod or an image no-such-pod.*There is no configuration/s);
    run(up, '--down');
    sh('rm -r /etc/berth');
    assertSame(then);
  });

  const refused: [name: string, script: string, says: RegExp][] = [
    ['a flag that there is none of', `${up} --dwon`, /does not take --dwon: scripts\/up \[--config FILE\] \[--down\]/],
    ['a word too many', `${up} --down now`, /does not take now/],
    ['no file after --config', `${up} --config`, /--config takes a FILE/],
    [
      'a configuration that is not there',
      `${up} --down --config /no/such`,
      /There is no configuration \/no\/such: make it/,
    ],
    ['another user than root', `unshare --user ${up}`, /must run as root: sudo scripts\/up$/],
    ['another user, on the way back', `unshare --user ${up} --down`, /must run as root: sudo scripts\/up --down$/],
  ];
  test('what it cannot do it says in one line, and does nothing', () => {
    const then = state();
    for (const [name, script, says] of refused) {
      const said = lines(sh(`! ${script} 2>&1`));
      assert.equal(said.length, 1, `${name}: ${said.join('\n')}`);
      assert.match(said[0]!, /^scripts\/up: /, name);
      assert.match(said[0]!, says, name);
    }
    assertSame(then);
  });

  test('without Go there is no crictl; a conflist of a plugin that is not installed is named', () => {
    const then = state();
    sh(`mount -t tmpfs tmpfs /var/cache/berth
      if [ -d /usr/local/go ]; then mount -t tmpfs tmpfs /usr/local/go; fi
      for go in /usr/{local/,}bin/go; do if [ -e $go ]; then mount --bind /dev/null $go; fi; done
      mkdir -p /etc/cni/net.d
      echo '{"cniVersion":"1.0.0","name":"old","plugins":[{"type":"gone"}]}' >/etc/cni/net.d/05-old.conflist`);
    const said = sh(`! ${up} --config ${config} 2>&1`);
    assert.match(said, /^ *crictl is left out: Cannot find go: apt-get install golang-go; then scripts\/up --down/m);
    assert.match(said, /^scripts\/up: .*gone.*\nThen remove what there is: sudo scripts\/up --config .* --down\n$/m);
    assert.doesNotMatch(said, /^ {4}at /m, 'no stack');
    goDown();
    sh(`umount /var/cache/berth
      for go in /usr/local/go /usr/{local/,}bin/go; do if mountpoint -q $go; then umount $go; fi; done
      rm -r /etc/cni`);
    assertSame(then);
  });

  /** Sends the signal to the script when it has printed `last`; answers what it said. */
  const killedAfter = (last: string, signal: string, words = ''): string =>
    sh(`cd ${folder}; ${up} --config config.toml ${words} >/run/out 2>&1 & pid=$!
      until grep -q '${last}' /run/out || ! kill -0 $pid; do sleep 0.01; done
      kill -${signal} $pid; wait $pid || true; cat /run/out; rm /run/out`);
  const deaths: [last: string, signal: string][] = [
    ['bundled into dist', 'KILL'],
    ['network configuration', 'TERM'],
    ['started and serving', 'KILL'],
    ['CreateContainer', 'INT'],
  ];
  for (const [last, signal] of deaths) {
    test(`SIG${signal} after "${last}", up again, --down cut off: --down removes what there is`, () => {
      const then = state();
      const said = killedAfter(last, signal);
      if (signal !== 'KILL') assert.match(said, /ended by SIG(TERM|INT)\nThen remove what there is: sudo scripts\/up/);
      if (last !== 'bundled into dist') assert.throws(goUp, /Berth is up already, or was on its way; remove it with:/);
      if (last === 'CreateContainer') killedAfter('berth serve: ended', 'KILL', '--down');
      goDown();
      assertSame(then);
    });
  }

  test('the daemon was killed and every directory of others removed meanwhile', () => {
    const then = state();
    goUp();
    sh(`kill -9 $(pgrep -f '[m]ain.cjs serve --config ${config}')
      rm -r /etc/cni /var/lib/cni /var/log/pods /var/log/berth.log`);
    goDown();
    assertSame(then);
  });

  test('a daemon that cannot start: the error says where to look, and --down needs none', () => {
    const then = state();
    const bad = join(folder, 'bad.toml');
    writeFileSync(bad, `cgroup_parent = "/${cgroup}"\n[streaming]\naddress = "203.0.113.1:1"\n`);
    assert.throws(() => run(up, '--config', bad), /berth serve ended \(1\): see \/var\/log\/berth\.log/);
    run(up, '--config', bad, '--down');
    assertSame(then);
  });
});
