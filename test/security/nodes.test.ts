// Device nodes in a container's root, its image's or its own: only where something makes them of use.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { NamespaceMode } from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import {
  type ContainerConfig,
  hostNetwork,
  idsFrom,
  inUserNamespace,
  type PodConfig,
  TestPod,
} from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { loadImage, outputIn, secured } from '../node/containers-support.ts';

await ownHost();

const inUsers = inUserNamespace(idsFrom(300_000), { network: NamespaceMode.NODE, pid: NamespaceMode.POD });
const privileged = { linux: { securityContext: { ...hostNetwork.linux.securityContext, privileged: true } } };
const drop = secured({ capabilities: { dropCapabilities: ['ALL'] } });
const readonly = { capabilities: { dropCapabilities: ['MKNOD'] }, readonlyRootfs: true };

type Case = { readonly nodes: boolean; readonly container?: ContainerConfig; readonly pod?: PodConfig };
const cases: Record<string, Case> = {
  'default rights': { nodes: true },
  'a read-only root': { nodes: true, container: secured({ readonlyRootfs: true }) },
  'all capabilities dropped': { nodes: false, container: drop },
  'all capabilities dropped and MKNOD added': {
    nodes: true,
    container: secured({ capabilities: { dropCapabilities: ['ALL'], addCapabilities: ['MKNOD'] } }),
  },
  'MKNOD dropped and a read-only root': { nodes: false, container: secured(readonly) },
  'a user namespace': { nodes: false, container: inUsers, pod: inUsers },
  'a user namespace and a read-only root': {
    nodes: false,
    container: { linux: { securityContext: { ...inUsers.linux.securityContext, readonlyRootfs: true } } },
    pod: inUsers,
  },
  'a device outside of /dev': {
    nodes: true,
    container: { ...drop, devices: [{ hostPath: '/dev/full', containerPath: '/opt/full', permissions: 'r' }] },
  },
  'a device in /dev': {
    nodes: false,
    container: { ...drop, devices: [{ hostPath: '/dev/full', containerPath: '/dev/more', permissions: 'r' }] },
  },
  privileged: { nodes: true, container: privileged, pod: privileged },
};
/** How Berth mounts them. crun 1.8 mounts a root anew without the flag, runc 1.1 a read-only one: it is a second lock. */
function rootFlags(id: string): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' '));
  const [flags = ''] = lines.filter(([, , , , place = '']) => place.endsWith(`/${id}/rootfs`)).map((line) => line[5]);
  assert.ok(flags.startsWith('rw'), id);
  return flags.split(',');
}

for (const handler of ociRuntimes) {
  suite(`device nodes of a root, with ${handler}`, { handler, network: false }, (bench) => {
    for (const [name, { nodes, container = {}, pod = hostNetwork }] of Object.entries(cases)) {
      test(`${nodes ? 'of use' : 'none'}: ${name}`, async () => {
        const image = await loadImage(bench, 'nodes', [], { Volumes: { '/volume': {} } });
        const made = await TestPod.run(bench.daemon, 'nodes', pod);
        const created = await made.create('created', image, { command: ['/bin/true'], ...container });
        assert.equal(rootFlags(created).includes('nodev'), !nodes);
        const devices = 'head -c0 /dev/null && echo x >/dev/null && echo works';
        assert.deepEqual(await outputIn(made, image, devices, container), ['works']);
        await made.remove();
      });
    }

    test('a chroot with a /dev/null of its own, as peers let it', async () => {
      const made = await TestPod.run(bench.daemon, 'jail', hostNetwork);
      const script =
        'mkdir /jail; mknod /jail/null c 1 3; echo x >/jail/null && echo works; mknod /jail/kmsg c 1 11; cat /jail/kmsg 2>&1; true';
      const lines = await outputIn(made, bench.image.busybox, script, {});
      assert.equal(lines[0], 'works');
      assert.match(lines[1] ?? '', /Operation not permitted/);
      await made.remove();
    });
  });
}
