// A user of the host who is not root finds nothing of Berth's, whatever pods run; nor does one who has the id of a pod's root.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstatSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { NamespaceMode } from '../../src/api/runtime/v1/cri.ts';
import type { TestDaemon } from '../harness/daemon.ts';
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
import { loadImage } from '../node/containers-support.ts';

await ownHost();

const inUsers = (hostId: number) =>
  inUserNamespace(idsFrom(hostId), { network: NamespaceMode.NODE, pid: NamespaceMode.POD });
const [first, second] = [300_000, 400_000];
const privileged = { linux: { securityContext: { ...hostNetwork.linux.securityContext, privileged: true } } };
const kinds: Record<string, PodConfig & ContainerConfig> = {
  plain: hostNetwork,
  privileged,
  first: inUsers(first),
  second: inUsers(second),
};

/** Every path below the folder, mounts included, as root sees them; deep trees by their upper part. */
function pathsBelow(folder: string, depth = 12): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    const stays = entry.name !== 'proc' && entry.name !== 'sys';
    return [path, ...(entry.isDirectory() && depth > 0 && stays ? pathsBelow(path, depth - 1) : [])];
  });
}

/** Those of the paths that this user of the host reaches: stat(2) answers. */
function reached(paths: readonly string[], id: number): string[] {
  const script = 'while IFS= read -r path; do if [ -e "$path" ] || [ -L "$path" ]; then echo "$path"; fi; done';
  const ids = ['--reuid', `${id}`, '--regid', `${id}`, '--clear-groups', '--no-new-privs', '--inh-caps=-all'];
  const output = execFileSync('/usr/bin/setpriv', [...ids, '/bin/sh', '-c', script], {
    input: paths.map((path) => `${path}\n`).join(''),
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  return output.split('\n').filter((line) => line !== '');
}

const roots = ({ runDir, dataDir }: TestDaemon) => [runDir, dataDir];

for (const handler of ociRuntimes) {
  suite(`what users of the host find, with ${handler}`, { handler, network: false }, (bench) => {
    test('nothing below run_dir and data_dir while pods of every kind run', async () => {
      const image = await loadImage(bench, 'tempting', [{ name: 'bin/root-shell', mode: 0o4755, data: '#!' }], {
        Volumes: { '/volume': {} },
      });
      const pods = new Map<string, TestPod>();
      for (const [name, config] of Object.entries(kinds)) {
        const pod = await TestPod.run(bench.daemon, name, config);
        const mounts = [{ containerPath: '/image', image: { image } }];
        await pod.sh('c', image, 'echo secret >/dev/shm/secret; sleep 1000', { mounts, ...config });
        await pod.create('created', image, { command: ['/bin/true'], ...config });
        pods.set(name, pod);
      }
      const paths = roots(bench.daemon).flatMap((root) => pathsBelow(root));
      assert.ok(
        paths.some((path) => path.endsWith('/bin/root-shell')),
        'there is something to be found',
      );
      assert.ok(paths.some((path) => path.endsWith('/shm/secret')));
      for (const id of [65534, 1000]) assert.deepEqual(reached([...paths, '/dev/null'], id), ['/dev/null']);
      for (const root of roots(bench.daemon)) assert.equal(statSync(root).mode & 0o7, 0, root);

      // Who has the id of a pod's root is let through to what is that pod's, and no further.
      for (const [name, id] of Object.entries({ first, second })) {
        const own = join(bench.daemon.runDir, 'pods', pods.get(name)!.id);
        const all = join(bench.daemon.runDir, 'pods');
        const everything = reached(paths, id);
        assert.ok(everything.includes(own), `${name} is let through to its own`);
        const found = everything.filter((path) => path !== all && !path.startsWith(own));
        const beside = new Set([...readdirSync(bench.daemon.runDir), ...readdirSync(all).map((pod) => `pods/${pod}`)]);
        for (const path of found) {
          assert.ok(beside.has(path.slice(bench.daemon.runDir.length + 1)), `${name} reaches ${path}`);
        }
      }
      for (const pod of pods.values()) await pod.remove();
      assert.equal(lstatSync(bench.daemon.runDir).mode & 0o77, 0, 'closed again to those who are gone');
    });
  });
}
