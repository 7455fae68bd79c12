// AppArmor, on a host that has it (scripts/vm-tests boots one): Berth's own profile, none, and the operator's.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { SecurityProfile_ProfileType as ProfileType } from '../../src/api/runtime/v1/cri.ts';
import { gatherHostFacts } from '../../src/sys/host.ts';
import { ownHost } from '../harness/own-host.ts';
import { refused, TestPod } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { outputIn, secured } from './containers-support.ts';

await ownHost();

const skip = !gatherHostFacts().apparmor && 'AppArmor is off on this host';
const name = `berth-test-${process.pid}`;
const parser = (args: string[], input: string) =>
  execFileSync('/usr/sbin/apparmor_parser', args, { input, stdio: ['pipe', 'ignore', 'inherit'] });
const text = `profile ${name} flags=(attach_disconnected) {\n  file,\n  capability,\n  signal,\n  deny /tmp/** w,\n}\n`;

for (const handler of ociRuntimes) {
  if (skip) {
    test('AppArmor', { skip });
    break;
  }
  suite(`AppArmor with ${handler}`, { handler }, (bench) => {
    const current = 'cat /proc/self/attr/current';
    const profile = (profileType: ProfileType, localhostRef = '') =>
      secured({ apparmor: { profileType, localhostRef } });

    test('unset and RuntimeDefault are the profile that Berth loads', async () => {
      const pod = await TestPod.run(bench.daemon, 'default');
      const run = (script: string, more: object) => outputIn(pod, bench.image.busybox, script, more);
      for (const more of [{}, profile(ProfileType.RuntimeDefault), secured({ apparmorProfile: 'runtime/default' })]) {
        assert.deepEqual(await run(current, more), ['berth-default (enforce)']);
      }
      assert.match(readFileSync('/sys/kernel/security/apparmor/profiles', 'utf8'), /^berth-default \(enforce\)$/m);
      await pod.remove();
    });

    test('the default profile stops mounts and the switches of the host, and not plain work', async () => {
      const pod = await TestPod.run(bench.daemon, 'stops');
      const admin = { ...secured({ capabilities: { addCapabilities: ['ALL'] } }) };
      const tries = {
        mount: 'mount -t tmpfs none /mnt',
        sysrq: 'echo h >/proc/sysrq-trigger',
        core: 'echo x >/proc/sys/kernel/core_pattern',
        swappiness: 'echo 60 >/proc/sys/vm/swappiness',
        files: 'echo x >/file && cat /file',
        shm: 'echo 12345 >/proc/sys/kernel/shmmax',
        net: 'echo 1 >/proc/sys/net/ipv4/ip_forward',
        read: 'cat /sys/devices/system/cpu/online /proc/cpuinfo /proc/sys/kernel/hostname',
        signal: 'sleep 100 & kill $!',
      };
      const script = `mkdir -p /mnt; ${Object.entries(tries)
        .map(([what, command]) => `(${command}) >/dev/null 2>&1 && echo ${what}`)
        .join('; ')}; true`;
      const allowed = await outputIn(pod, bench.image.busybox, script, admin);
      assert.deepEqual(allowed, ['files', 'shm', 'net', 'read', 'signal']);
      await pod.remove();
    });

    test('unconfined and privileged have none', async () => {
      const privileged = secured({ privileged: true });
      const pod = await TestPod.run(bench.daemon, 'none', privileged);
      for (const more of [profile(ProfileType.Unconfined), privileged]) {
        assert.deepEqual(await outputIn(pod, bench.image.busybox, current, more), ['unconfined']);
      }
      await pod.remove();
    });

    test('a profile of the host is used if it is loaded, also by exec, else refused', async () => {
      parser(['--replace', '--skip-cache'], text);
      const pod = await TestPod.run(bench.daemon, 'localhost');
      try {
        const more = profile(ProfileType.Localhost, name);
        const lines = await outputIn(pod, bench.image.busybox, `${current}; touch /tmp/x 2>&1; true`, more);
        assert.equal(lines[0], `${name} (enforce)`);
        assert.match(lines[1]!, /Permission denied/);
        const containerId = await pod.sh('long', bench.image.busybox, 'sleep 1000', more);
        const { stdout } = await bench.daemon.runtime.execSync({ containerId, cmd: current.split(' '), timeout: 30n });
        assert.equal(Buffer.from(stdout).toString().trim(), `${name} (enforce)`);
        const unknown = pod.create('x', bench.image.busybox, profile(ProfileType.Localhost, `${name}-not`));
        await refused(unknown, grpc.FAILED_PRECONDITION, /is not loaded on this host/);
      } finally {
        await pod.remove();
        parser(['--remove'], text);
      }
    });
  });
}

if (skip) {
  suite('without AppArmor', {}, (bench) => {
    test('a profile by name is refused, the default is none', async () => {
      const pod = await TestPod.run(bench.daemon, 'off');
      const localhost = secured({ apparmor: { profileType: ProfileType.Localhost, localhostRef: name } });
      await refused(pod.create('x', bench.image.busybox, localhost), grpc.FAILED_PRECONDITION, /AppArmor is off/);
      assert.deepEqual(await outputIn(pod, bench.image.busybox, 'echo ran', {}), ['ran']);
      await pod.remove();
    });
  });
} else test('without AppArmor', { skip: 'AppArmor is on' });
