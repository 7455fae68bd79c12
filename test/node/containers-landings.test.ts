// Mounts of a container whose image has links on the way to them: what counts is where they lead, and what was asked for is there.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { MountPropagation } from '../../src/api/runtime/v1/cri.ts';
import { isAtOrBelow } from '../../src/oci/index.ts';
import { ownHost } from '../harness/own-host.ts';
import { idsFrom, inUserNamespace, refused, TestPod } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import type { Entry } from '../images/layer.ts';
import { loadImage, outputIn, sharedFolder } from './containers-support.ts';

await ownHost();

const directory = (name: string): Entry => ({ name, type: 'directory' });
const link = (name: string, to: string): Entry => ({ name, type: 'symlink', link: to });
const privileged = { linux: { securityContext: { privileged: true } } };
const propagation = MountPropagation.PROPAGATION_BIDIRECTIONAL;

for (const handler of ociRuntimes) {
  suite(`where mounts land with ${handler}`, { handler }, (bench) => {
    /** A folder of the host with one file, which says its name. */
    const folder = (name: string): string => {
      const path = join(bench.daemon.dir, name);
      mkdirSync(path, { recursive: true });
      writeFileSync(join(path, 'file'), `${name}\n`, { mode: 0o644 });
      return path;
    };

    test('what was asked for is not under a VOLUME, a file of the pod or what lies further out', async () => {
      const entries = [
        ...['var', 'var/app', 'var/app/data', 'b', 'b/c', 'b/c/d', 'e'].map(directory),
        { name: 'var/app/data/own', data: 'of the image\n' },
        link('data', '/var/app/data'),
        link('names', '/etc/hosts'),
        link('a', 'b/c/d'),
      ];
      const Volumes = { '/var/app/data': {}, '/e': {}, '/etc/hostname': {}, '/names': {}, '/etc/resolv.conf': {} };
      const image = await loadImage(bench, `landings-${handler}`, entries, { Volumes });
      const mounts = [
        { containerPath: '/data/config', hostPath: folder('below a VOLUME') },
        { containerPath: '/names', hostPath: join(folder('hosts'), 'file') },
        { containerPath: '/a/x', hostPath: folder('inner') },
        { containerPath: '/b/c/d', hostPath: folder('outer') },
        { containerPath: '/a/../e', hostPath: folder('by two dots') },
      ];
      const script =
        'cat /var/app/data/own /var/app/data/config/file /etc/hosts /b/c/d/x/file /b/c/d/file /e/file /etc/hostname';
      for (const [name, more] of Object.entries({ plain: {}, mapped: inUserNamespace(idsFrom(300_000)) })) {
        const pod = await TestPod.run(bench.daemon, name, { hostname: name, ...more });
        assert.deepEqual(await outputIn(pod, image, script, { mounts, ...more }), [
          ...['of the image', 'below a VOLUME', 'hosts', 'inner', 'outer', 'by two dots', name],
        ]);
        await pod.remove();
      }
    });

    test('what kubelet and node agents mount is there, in an image with a link at /var/run', async () => {
      const at = (name: string) => join(folder(name), 'file');
      const mounts = [
        { containerPath: '/var/run/secrets/kubernetes.io/serviceaccount', hostPath: folder('token'), readonly: true },
        { containerPath: '/etc/hosts', hostPath: at('hosts') },
        { containerPath: '/dev/termination-log', hostPath: at('end') },
        { containerPath: '/dev/shm', hostPath: folder('shm') },
        { containerPath: '/opt/app.conf', hostPath: at('part of a volume'), readonly: true },
        {
          ...{ containerPath: '/host', hostPath: '/', readonly: true },
          propagation: MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
        },
        { containerPath: '/host/proc', hostPath: '/proc', readonly: true },
        { containerPath: '/host/sys', hostPath: '/sys', readonly: true },
      ];
      const script =
        'cat /run/secrets/kubernetes.io/serviceaccount/file /etc/hosts /dev/termination-log /dev/shm/file /opt/app.conf; ls -d /host/etc /host/proc/1 /host/sys/kernel';
      for (const readonlyRootfs of [false, true]) {
        const pod = await TestPod.run(bench.daemon, `usual-${readonlyRootfs}`);
        const linux = { securityContext: { readonlyRootfs } };
        assert.deepEqual(await outputIn(pod, bench.image.busybox, script, { mounts, linux }), [
          ...['token', 'hosts', 'end', 'shm', 'part of a volume', '/host/etc', '/host/proc/1', '/host/sys/kernel'],
        ]);
        await pod.remove();
      }
    });

    test('a read-only mount stays as it is: no VOLUME and no file of the pod is made in it', async () => {
      const image = await loadImage(bench, `closed-${handler}`, [], {
        Volumes: { '/closed/new': {}, '/open/new': {} },
      });
      const closed = folder('closed');
      const hostPath = folder('open');
      const mounts = [
        ...['/closed', '/etc'].map((containerPath) => ({ containerPath, hostPath: closed, readonly: true })),
        { containerPath: '/open', hostPath },
      ];
      const pod = await TestPod.run(bench.daemon, 'closed');
      assert.deepEqual(await outputIn(pod, image, 'ls /closed /etc; echo x >/open/new/x; ls /open/new', { mounts }), [
        ...['/closed:', 'file', '', '/etc:', 'file', 'x'],
      ]);
      assert.deepEqual([readdirSync(closed), readdirSync(hostPath)], [['file'], ['file', 'new']]);
      await pod.remove();
    });

    test("the host gets no file of the pod by an image's link into what it shares both ways", async () => {
      using shared = sharedFolder(bench);
      const resolver = join(shared.folder, 'resolv.conf');
      writeFileSync(resolver, "the host's\n", { mode: 0o644 });
      const image = await loadImage(bench, `leads-${handler}`, [link('etc/resolv.conf', '/both/resolv.conf')]);
      const pod = await TestPod.run(bench.daemon, 'leads', privileged);
      const mounts = [{ containerPath: '/both', hostPath: shared.folder, propagation }];
      const script = 'cat /etc/resolv.conf; sleep 1000';
      await pod.talking('c', image, script, { mounts, ...privileged });
      assert.equal(readFileSync(resolver, 'utf8'), "the host's\n");
      assert.deepEqual(
        pod.log('c').map(({ text }) => text),
        ["the host's"],
      );
      await pod.remove();
    });

    test('what is masked in a container is not masked on the host', async () => {
      const below = () =>
        readFileSync('/proc/self/mountinfo', 'utf8')
          .split('\n')
          .filter((line) => isAtOrBelow(line.split(' ')[4] ?? '', '/sys'));
      const before = below();
      const pod = await TestPod.run(bench.daemon, 'masked');
      const mounts = [{ containerPath: '/sys', hostPath: '/sys', propagation }];
      const linux = { securityContext: { maskedPaths: ['/sys/firmware'], readonlyPaths: [] } };
      const command = ['/bin/sleep', '1000'];
      try {
        const made = pod.start('c', bench.image.busybox, { command, mounts, linux });
        await refused(made, grpc.INVALID_ARGUMENT, /"\/sys" is refused: \/sys\/\S+ would be hidden .* on the host too/);
      } finally {
        assert.deepEqual(below(), before);
      }
      await pod.remove();
    });
  });
}
