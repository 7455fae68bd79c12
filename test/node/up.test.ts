// The first command of the README, as an operator types it, and the way back.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';

const up = resolve(import.meta.dirname, '../../scripts/up');
const run = (file: string, ...args: string[]): string =>
  execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** What scripts/up could leave: mounts, links, iptables rules, cgroups, files and processes by its default names. */
const trace = () => ({
  mounts: readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes('berth')),
  links: readdirSync('/sys/class/net').filter((name) => /^(berth|veth)/.test(name)),
  rules: run('/usr/sbin/iptables-save')
    .split('\n')
    .filter((line) => !line.startsWith('#') && !line.startsWith(':')),
  cgroups: readdirSync('/sys/fs/cgroup').filter((name) => existsSync(`/sys/fs/cgroup/${name}/berth`)),
  files: [
    '/run/berth',
    '/var/lib/berth',
    '/etc/cni',
    '/etc/cni/net.d',
    '/var/lib/cni',
    '/var/log/berth.log',
    '/var/log/pods/hello',
  ].filter((path) => existsSync(path)),
  forwarding: readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8'),
});

test('scripts/up shows a page from a pod; --down leaves no trace', () => {
  const before = trace();
  const shown = run(up);
  try {
    assert.match(shown, /A pod runs on Berth\./);
    assert.match(shown, /RunPodSandbox/);
    assert.match(shown, /crictl --runtime-endpoint unix:\/\/\/run\/berth\/berth\.sock ps/);
    assert.throws(() => run(up), /Berth is up already/);
  } finally {
    run(up, '--down');
  }
  assert.deepEqual(trace(), before);
  assert.match(run(up, '--down'), /nothing to remove/);
});
