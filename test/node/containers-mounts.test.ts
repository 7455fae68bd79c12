// What a container can have mounted: host paths in every way, images, an image's own volumes.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { MountPropagation } from '../../src/api/runtime/v1/cri.ts';
import { bindMount, mountTmpfs, unmount } from '../../src/sys/mounts.ts';
import { labelTree } from '../harness/look.ts';
import { ownHost } from '../harness/own-host.ts';
import { idsFrom, inUserNamespace, refused, TestPod, until, untilExited } from '../harness/pods.ts';
import { setPropagation } from '../harness/propagation.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { linesOf, loadImage, outputIn, outputOf, sharedFolder } from './containers-support.ts';

await ownHost();

const ids = idsFrom(300_000);
const inNamespace = inUserNamespace(ids);

for (const handler of ociRuntimes) {
  suite(`mounts with ${handler}`, { handler }, (bench) => {
    let serial = 0;

    test('propagation: what is mounted later on the host shows as far as was asked', async () => {
      using shared = sharedFolder(bench);
      mkdirSync(join(shared.folder, 'late'));
      const pod = await TestPod.run(bench.daemon, 'propagation');
      const mounts = Object.entries(MountPropagation)
        .filter(([name]) => name.startsWith('PROPAGATION_'))
        .map(([name, propagation]) => ({
          containerPath: `/${name}`,
          hostPath: shared.folder,
          propagation: propagation as 0 | 1 | 2,
        }));
      assert.equal(mounts.filter(({ propagation }) => propagation >= 0).length, 3);
      const containerId = await pod.sh('c', bench.image.busybox, 'sleep 1000', { mounts });
      mountTmpfs(join(shared.folder, 'late'), { size: 65_536 });
      writeFileSync(join(shared.folder, 'late/file'), '');
      const cmd = ['/bin/sh', '-c', mounts.map(({ containerPath }) => `ls ${containerPath}/late | wc -l`).join('; ')];
      const { stdout } = await bench.daemon.runtime.execSync({ containerId, cmd, timeout: 10n });
      const seen = Buffer.from(stdout).toString().trim().split('\n');
      assert.deepEqual(
        seen,
        mounts.map(({ propagation }) => (propagation === MountPropagation.PROPAGATION_PRIVATE ? '0' : '1')),
      );
      await pod.remove();
    });

    test('propagation that the source does not have is refused with the way out', async () => {
      const folder = join(bench.daemon.dir, 'private');
      mkdirSync(folder);
      bindMount(folder, folder);
      setPropagation(folder, 'private');
      const pod = await TestPod.run(bench.daemon, 'private');
      try {
        for (const propagation of [1, 2] as const) {
          const mounts = [{ containerPath: '/m', hostPath: folder, propagation }];
          const create = pod.create('c', bench.image.busybox, { mounts });
          await refused(create, grpc.FAILED_PRECONDITION, /make-rshared/);
        }
      } finally {
        unmount(folder);
        await pod.remove();
      }
    });

    test('noexec, nodev and nosuid of the request hold on host paths and image volumes, and its status says so', async () => {
      const pod = await TestPod.run(bench.daemon, 'options');
      const folder = join(bench.daemon.dir, 'options');
      mkdirSync(folder);
      writeFileSync(join(folder, 'run'), '#!/bin/sh\necho ran\n', { mode: 0o755 });
      const all = ['noexec', 'nodev', 'nosuid'];
      const mounts = [
        { containerPath: '/none', hostPath: folder },
        { containerPath: '/all', hostPath: folder, mountOptions: all },
        { containerPath: '/image', image: { image: bench.image.busybox }, mountOptions: ['noexec'] },
      ];
      const id = await pod.sh('c', bench.image.busybox, 'sleep 1000', { mounts });
      const run = async (path: string) => {
        const { stdout, stderr } = await bench.daemon.runtime.execSync({
          containerId: id,
          cmd: ['/bin/sh', '-c', path],
        });
        return `${stdout}${stderr}`.trim();
      };
      assert.equal(await run('/none/run'), 'ran');
      assert.match(await run('/all/run'), /Permission denied/);
      assert.match(await run('/image/bin/busybox true'), /Permission denied/);
      const table = await run('cat /proc/mounts');
      for (const option of all) assert.match(table, new RegExp(`^\\S+ /all \\S+ \\S*\\b${option}\\b`, 'm'));
      const { status } = await bench.daemon.runtime.containerStatus({ containerId: id });
      assert.deepEqual(
        status?.mounts.map(({ mountOptions }) => mountOptions),
        [[], all, ['noexec']],
      );
      assert.equal((await bench.daemon.runtime.status({})).features?.mountOptions, true);
      await pod.remove();
    });

    for (const [where, pod] of [
      ['', {}],
      [' in a user namespace', inNamespace],
    ] as const) {
      test(`noexec${where} holds where the mount can be written to, for a file, and below it`, async () => {
        using shared = sharedFolder(bench);
        const script = '#!/bin/sh\necho ran\n';
        for (const folder of [shared.folder, join(shared.folder, 'below')])
          writeFileSync(join(folder, 'run'), script, { mode: 0o755 });
        const mountOptions = ['noexec'];
        const owners = { uidMappings: ids, gidMappings: ids };
        const mounts = [
          { containerPath: '/rw', hostPath: shared.folder, mountOptions },
          { containerPath: '/ro', hostPath: shared.folder, readonly: true, mountOptions },
          { containerPath: '/file', hostPath: join(shared.folder, 'run'), mountOptions },
          { containerPath: '/mapped', hostPath: shared.folder, mountOptions, ...owners },
        ];
        const places = ['/rw/run', '/rw/below/run', '/ro/run', '/ro/below/run', '/file', '/mapped/run'];
        const tries = places.map((path) => `${path} 2>/dev/null && echo ${path}`).join('; ');
        const linux = 'linux' in pod ? pod : {};
        const test = await TestPod.run(bench.daemon, `noexec${where.replaceAll(' ', '-')}`, pod);
        const id = await test.sh('c', bench.image.busybox, `${tries}; echo tried`, { mounts, ...linux });
        await untilExited(bench.daemon, id);
        assert.deepEqual(linesOf(test, 'c'), ['tried']);
        await test.remove();
      });
    }

    test('in a user namespace a mount keeps what the mount of its source forbids', async () => {
      const folder = join(bench.daemon.dir, 'forbidding');
      mkdirSync(folder);
      mountTmpfs(folder, { mode: 0o755 }); // nosuid, nodev, noexec
      try {
        const hostPath = folder;
        const owners = { uidMappings: ids, gidMappings: ids };
        const mounts = [
          { containerPath: '/rw', hostPath },
          { containerPath: '/ro', hostPath, readonly: true },
          { containerPath: '/rro', hostPath, readonly: true, recursiveReadOnly: true },
          { containerPath: '/option', hostPath, mountOptions: ['nosuid'] },
          { containerPath: '/mapped', hostPath, readonly: true, ...owners },
        ];
        const pod = await TestPod.run(bench.daemon, 'forbidding', inNamespace);
        const id = await pod.sh('c', bench.image.busybox, 'cat /proc/mounts', { mounts, ...inNamespace });
        const shm = { containerPath: '/dev/shm' }; // what Berth says itself
        await untilExited(bench.daemon, id);
        const table = linesOf(pod, 'c').map((line) => line.split(' '));
        for (const { containerPath } of [...mounts, shm]) {
          const options = table.find(([, place]) => place === containerPath)?.[3]?.split(',') ?? [];
          for (const limit of ['nosuid', 'nodev', 'noexec'])
            assert.ok(options.includes(limit), `${containerPath}: ${options}`);
        }
        await pod.remove();
      } finally {
        unmount(folder);
      }
    });

    test('read-only reaches the mount itself, recursive read-only all below it', async () => {
      using shared = sharedFolder(bench);
      const mounts = [
        { containerPath: '/ro', hostPath: shared.folder, readonly: true },
        { containerPath: '/rro', hostPath: shared.folder, readonly: true, recursiveReadOnly: true },
      ];
      const tries = ['/ro', '/ro/below', '/rro', '/rro/below'];
      const script = tries.map((path) => `touch ${path}/x 2>/dev/null && echo ${path}`).join('; ');
      assert.deepEqual(await outputOf(bench, `${script}; true`, { mounts }), ['/ro/below']);
      const file = join(shared.folder, 'file');
      writeFileSync(file, '');
      const one = [{ containerPath: '/file', hostPath: file, readonly: true, recursiveReadOnly: true }];
      const script2 = 'echo x 2>/dev/null >/file && echo written; true';
      assert.deepEqual(await outputOf(bench, script2, { mounts: one }), []);
      const pod = await TestPod.run(bench.daemon, 'rro');
      const wrong = (more: object) => pod.create('c', bench.image.busybox, { mounts: [{ ...mounts[1]!, ...more }] });
      await refused(wrong({ readonly: false }), grpc.INVALID_ARGUMENT, /recursive_read_only needs readonly/);
      await refused(wrong({ propagation: 1 }), grpc.INVALID_ARGUMENT, /needs propagation PRIVATE/);
      await pod.remove();
    });

    test('a missing host path is made for everybody to enter, and a link is followed', async () => {
      const missing = join(bench.daemon.dir, `made-${handler}/inner`);
      const link = join(bench.daemon.dir, `link-${handler}`);
      symlinkSync(missing, link);
      const mounts = [{ containerPath: '/m', hostPath: missing }];
      const pod = await TestPod.run(bench.daemon, 'missing');
      await outputIn(pod, bench.image.busybox, 'echo x >/m/file', { mounts });
      assert.equal(statSync(missing).mode & 0o777, 0o755);
      assert.equal(statSync(join(missing, '..')).mode & 0o777, 0o755);
      const through = { mounts: [{ containerPath: '/m', hostPath: link }] };
      assert.deepEqual(await outputIn(pod, bench.image.busybox, 'cat /m/file', through), ['x']);
      const [id] = (await bench.daemon.runtime.listContainers({ filter: { podSandboxId: pod.id } })).containers.slice(
        -1,
      );
      const { status } = await bench.daemon.runtime.containerStatus({ containerId: id!.id });
      assert.equal(status?.mounts[0]?.hostPath, missing);
      await pod.remove();
    });

    test('mapped owners also without a user namespace, and what is mounted below stays on the host', async () => {
      using shared = sharedFolder(bench);
      writeFileSync(join(shared.folder, 'file'), '');
      chownSync(join(shared.folder, 'file'), 5, 6);
      const mounts = [{ containerPath: '/m', hostPath: shared.folder, uidMappings: ids, gidMappings: ids }];
      assert.deepEqual(await outputOf(bench, 'stat -c %u:%g /m /m/file; ls -d /m/below', { mounts }), [
        '300000:300000',
        '300005:300006',
        '/m/below',
      ]);
      assert.equal(statSync(join(shared.folder, 'below')).mode & 0o777, 0o777, 'its tmpfs is still mounted');
      const pod = await TestPod.run(bench.daemon, 'mapped');
      const wrong = (more: object) => pod.create('c', bench.image.busybox, { mounts: [{ ...mounts[0]!, ...more }] });
      await refused(wrong({ gidMappings: [] }), grpc.INVALID_ARGUMENT, /must come together/);
      await refused(wrong({ propagation: 2 }), grpc.INVALID_ARGUMENT, /exclude each other/);
      const procMount = wrong({ hostPath: '/proc/sys' });
      await refused(procMount, grpc.FAILED_PRECONDITION, /cannot be mapped/);
      await pod.remove();
    });

    test('image volumes: whole or a part, shared, read-only, and no way out', async () => {
      const reference = await loadImage(bench, `model-${handler}`, [
        { name: 'data', type: 'directory' },
        { name: 'data/weights', data: 'w'.repeat(10) },
        { name: 'data/run', data: '#!/bin/sh\necho ran\n', mode: 0o755 },
        { name: 'data/not-a-program', data: '#!/bin/sh\necho ran\n' },
        { name: 'out', type: 'symlink', link: join(bench.daemon.dir, 'outside') },
        { name: 'up', type: 'symlink', link: '../../../../data' },
        { name: 'owned', uid: 7, gid: 8 },
        { name: 'pipe', type: 'fifo' },
      ]);
      mkdirSync(join(bench.daemon.dir, 'outside'), { recursive: true });
      const image = { image: reference };
      const at = (containerPath: string, imageSubPath = '') => ({ containerPath, image, imageSubPath });
      const mounts = [at('/whole'), at('/part', 'data'), at('/single', 'data/weights'), at('/inside', 'up')];
      mounts.push(at('/program', 'data/run'));
      const busybox = { image: { image: bench.image.busybox } };
      mounts.push({ containerPath: '/busybox', ...busybox, imageSubPath: '' });
      mounts.push({ containerPath: '/single-file/echo', ...busybox, imageSubPath: 'bin/busybox' });
      const script =
        'cat /whole/data/weights /part/weights /single; echo; ls /inside; stat -c %u:%g /whole/owned; ' +
        'touch /whole/x 2>&1; touch /part/x 2>&1; /part/not-a-program 2>&1; ' +
        '/whole/data/run; /part/run; /program; /single-file/echo as ever; /busybox/bin/busybox echo too';
      for (const [pod, options] of Object.entries({ plain: {}, mapped: inNamespace })) {
        const made = await TestPod.run(bench.daemon, pod, options);
        const lines = await outputIn(made, bench.image.busybox, script, { ...options, mounts });
        assert.deepEqual(lines.slice(0, 5), ['w'.repeat(30), 'not-a-program', 'run', 'weights', '7:8']);
        assert.match(lines.slice(5, 8).join('\n'), /x: Read-only.*\n.*x: Read-only.*\n.*Permission denied$/);
        assert.deepEqual(lines.slice(8), ['ran', 'ran', 'ran', 'as ever', 'too']);
        const flags = await outputIn(made, bench.image.busybox, 'cat /proc/mounts', { ...options, mounts });
        for (const { containerPath } of mounts) {
          const [, options = ''] = new RegExp(`^\\S+ ${containerPath} \\S+ (\\S+)`, 'm').exec(flags.join('\n')) ?? [];
          assert.deepEqual(
            ['ro', 'nosuid', 'nodev', 'noexec'].filter((flag) => options.split(',').includes(flag)),
            ['ro', 'nosuid', 'nodev'],
            containerPath,
          );
        }
        const create = (subPath: string) =>
          made.create(`v${serial++}`, bench.image.busybox, { mounts: [at('/m', subPath)] });
        await refused(create('../x'), grpc.INVALID_ARGUMENT, /^ImageVolumeMountFailed: .*without "\.\."/);
        await refused(create('/etc'), grpc.INVALID_ARGUMENT, /must be relative/);
        await refused(create('no/such'), grpc.FAILED_PRECONDITION, /does not exist in it/);
        await refused(create('out'), grpc.FAILED_PRECONDITION, /does not exist in it/);
        await refused(create('pipe'), grpc.FAILED_PRECONDITION, /is no directory and no file/);
        await refused(
          bench.daemon.images.removeImage({ image }),
          grpc.FAILED_PRECONDITION,
          /remove the container first/,
        );
        await made.remove();
      }
      const pod = await TestPod.run(bench.daemon, 'unknown');
      const unknown = [{ containerPath: '/m', image: { image: 'localhost/never:1' } }];
      await refused(
        pod.create('c', bench.image.busybox, { mounts: unknown }),
        grpc.NOT_FOUND,
        /^ImageVolumeMountFailed: .*localhost\/never:1/,
      );
      await pod.remove();
      await bench.daemon.images.removeImage({ image });
    });

    test("an image's VOLUMEs start with its content, belong to the container and go with it", async () => {
      const entries = [
        { name: 'data', type: 'directory' as const, mode: 0o1750, uid: 33, gid: 34 },
        { name: 'data/file', data: 'from the image', mode: 0o640, uid: 33 },
        { name: 'data/link', type: 'symlink' as const, link: 'file' },
        { name: 'data/deep', type: 'directory' as const },
        { name: 'data/deep/set-id', data: 'x', mode: 0o4755 },
        { name: 'var', type: 'directory' as const },
        { name: 'var/spool', type: 'symlink' as const, link: '/data/deep' },
      ];
      const Volumes = { '/data': {}, '/new/place': {}, '/covered': {}, '/proc/x': {}, '/': {} };
      const image = await loadImage(bench, `volumes-${handler}`, entries, { Volumes });
      const script =
        'stat -c "%n %a %u:%g" /data /data/file /data/deep/set-id /new/place; cat /data/link; echo; ' +
        'echo changed >/data/file; cat /covered/host; grep -cE " (/data|/new/place|/covered) " /proc/mounts';
      const folder = join(bench.daemon.dir, `covered-${handler}`);
      mkdirSync(folder);
      writeFileSync(join(folder, 'host'), 'of the host\n', { mode: 0o644 });
      const mounts = [{ containerPath: '/covered', hostPath: folder }];
      for (const [name, options] of Object.entries({ plain: {}, mapped: inNamespace })) {
        const pod = await TestPod.run(bench.daemon, name, options);
        for (let round = 0; round < 2; round++) {
          assert.deepEqual(await outputIn(pod, image, script, { ...options, mounts }), [
            '/data 1750 33:34',
            '/data/file 640 33:0',
            '/data/deep/set-id 4755 0:0',
            '/new/place 755 0:0',
            'from the image',
            'of the host',
            '3',
          ]);
        }
        assert.equal(readdirSync(join(bench.daemon.dataDir, 'v1/volumes')).length, 2);
        await pod.remove();
        assert.deepEqual(readdirSync(join(bench.daemon.dataDir, 'v1/volumes')), []);
      }
    });

    test('VOLUMEs in VOLUMEs cost the disk what the image has, once', async () => {
      const depth = 12;
      const bytes = 4 << 20;
      const names = Array.from({ length: depth }, (_, index) =>
        Array(index + 1)
          .fill('v')
          .join('/'),
      );
      const entries = [
        ...names.map((name) => ({ name, type: 'directory' as const, mode: 0o1751 })),
        { name: `${names.at(-1)!}/file`, data: 'x'.repeat(bytes) },
        { name: 'v/outer', data: 'of the outer one' },
        { name: 'v/link', type: 'symlink' as const, link: '/etc' },
      ];
      // In no order; /v/new is nowhere in the image; what a link leads to is a volume where it leads.
      const Volumes = Object.fromEntries(
        [...names.map((name) => `/${name}`), '/v/new'].reverse().map((path) => [path, {}]),
      );
      const image = await loadImage(bench, `nested-${handler}`, entries, { Volumes });
      const script = `cat /v/outer; echo; stat -c "%n %a" /v /v/v /v/v/v /v/new; wc -c </${names.at(-1)}/file; grep -c " /v" /proc/mounts`;
      for (const [name, options] of Object.entries({ plain: {}, mapped: inNamespace })) {
        const pod = await TestPod.run(bench.daemon, name, options);
        assert.deepEqual(await outputIn(pod, image, script, options), [
          'of the outer one',
          '/v 1751',
          '/v/v 1751',
          '/v/v/v 1751',
          '/v/new 755',
          String(bytes),
          String(depth + 1),
        ]);
        const volumes = join(bench.daemon.dataDir, 'v1/volumes');
        const used = Number(execFileSync('/usr/bin/du', ['-sB1', volumes], { encoding: 'utf8' }).split('\t')[0]);
        assert.ok(used < 1.5 * bytes, `${used} bytes for an image of ${bytes}`);
        await pod.remove();
      }
    });

    test('a volume outlives the daemon, and one without a record goes at its start', async () => {
      const image = await loadImage(bench, `kept-${handler}`, [{ name: 'd', type: 'directory' }], {
        Volumes: { '/d': {} },
      });
      const pod = await TestPod.run(bench.daemon, 'kept');
      const containerId = await pod.sh('c', image, 'echo kept >/d/file; sleep 1000');
      const volumes = join(bench.daemon.dataDir, 'v1/volumes');
      await until('its file', async () => existsSync(join(volumes, containerId, '0/file')));
      mkdirSync(join(volumes, 'f'.repeat(64), '0'), { recursive: true });
      await bench.daemon.stop();
      await bench.daemon.start();
      assert.deepEqual(readdirSync(volumes), [containerId]);
      const { stdout } = await bench.daemon.runtime.execSync({ containerId, cmd: ['cat', '/d/file'], timeout: 10n });
      assert.equal(Buffer.from(stdout).toString(), 'kept\n');
      assert.deepEqual(linesOf(pod, 'c'), []);
      await pod.remove();
    });
  });
}

suite('labels', {}, (bench) => {
  test('every file of a tree gets the label, links themselves and not what they lead to', async () => {
    const folder = join(bench.daemon.dir, 'labels');
    mkdirSync(join(folder, 'a/b'), { recursive: true });
    const outside = join(bench.daemon.dir, 'outside');
    writeFileSync(outside, '');
    writeFileSync(join(folder, 'a/b/file'), '');
    symlinkSync(outside, join(folder, 'a/link'));
    await labelTree(folder, 'security.berth', 'x:y:z'); // security.selinux, where there is no such module to check it
    const has = (path: string) => {
      try {
        return execFileSync('/usr/bin/getfattr', ['-h', '--only-values', '-n', 'security.berth', path], {
          encoding: 'utf8',
          stdio: 'pipe',
        });
      } catch {
        return '';
      }
    };
    for (const path of [folder, join(folder, 'a'), join(folder, 'a/b'), join(folder, 'a/b/file')]) {
      assert.equal(has(path).replace('\0', ''), 'x:y:z', path);
    }
    assert.equal(has(outside), '');
    assert.equal(readFileSync(outside, 'utf8'), '');
  });
});
