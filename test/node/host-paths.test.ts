// What a request's paths of the host can be besides what they should: refused with the path and what is wrong with it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { SecurityProfile_ProfileType } from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import { type ContainerConfig, hostNetwork, refused, TestPod } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

type Odd = { readonly make: (path: string) => void; readonly says: RegExp };
const deep = `${'d/'.repeat(2100)}d`;
/** Each is made as `<folder>/<name>`, and asked for so, or with `below` behind it. */
const odd: Record<string, Odd & { readonly below?: string }> = {
  'a link to nothing': { make: (path) => symlinkSync('/nowhere/at/all', path), says: /leads to nothing/ },
  'a link to itself': { make: (path) => symlinkSync(path, path), says: /in circles/ },
  'below a file': { make: (path) => writeFileSync(path, ''), below: '/x', says: /through what is no directory/ },
  'a name of 300 bytes': {
    make: (path) => mkdirSync(path),
    below: `/${'n'.repeat(300)}`,
    says: /a name of over 255 bytes/,
  },
  'a path of 4 KiB': { make: (path) => mkdirSync(path), below: `/${deep}`, says: /too long|4096|path/i },
};

suite('odd paths of the host', {}, (bench) => {
  const asked: Record<string, (path: string) => ContainerConfig> = {
    mount: (hostPath) => ({ mounts: [{ containerPath: '/x', hostPath }] }),
    device: (hostPath) => ({ devices: [{ hostPath, containerPath: '/dev/x', permissions: 'r' }] }),
    'seccomp profile': (path) => ({
      linux: {
        securityContext: {
          ...hostNetwork.linux.securityContext,
          seccomp: { profileType: SecurityProfile_ProfileType.Localhost, localhostRef: path },
        },
      },
    }),
  };
  for (const [field, config] of Object.entries(asked)) {
    test(`as a ${field}`, async () => {
      const pod = await TestPod.run(bench.daemon, 'odd', hostNetwork);
      for (const [index, [name, { make, says, below = '' }]] of Object.entries(odd).entries()) {
        const path = join(bench.daemon.dir, `${field.replace(' ', '-')}-${index}`);
        make(path);
        const made = pod.create('c', bench.image.busybox, { ...hostNetwork, ...config(path + below) });
        await assert.rejects(made, ({ code, details }: { code: number; details: string }) => {
          const allowed: number[] = [grpc.FAILED_PRECONDITION, grpc.INVALID_ARGUMENT];
          assert.ok(allowed.includes(code), `${name}: ${code} ${details}`);
          if (field === 'mount') assert.match(details, says, name);
          assert.match(details, new RegExp(field.split(' ')[0]!, 'i'), `${name}: what it was asked for as`);
          return true;
        });
      }
      await pod.remove();
    });
  }

  test('a FIFO and a socket are mounted as they are', async () => {
    const path = join(bench.daemon.dir, 'fifo');
    execFileSync('/usr/bin/mkfifo', [path]);
    const pod = await TestPod.run(bench.daemon, 'fifo', hostNetwork);
    await pod.create('c', bench.image.busybox, { ...hostNetwork, mounts: [{ containerPath: '/x', hostPath: path }] });
    const profile = pod.create('d', bench.image.busybox, asked['seccomp profile']!(path));
    await refused(profile, grpc.INVALID_ARGUMENT, /not a file of at most 1 MiB/);
    await pod.remove();
  });
});
