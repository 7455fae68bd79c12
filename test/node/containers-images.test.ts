// What containers and images are to each other: images named by sha512, images without layers, images that go first.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { status as grpc } from '@grpc/grpc-js';
import { ContainerState } from '../../src/api/runtime/v1/cri.ts';
import type { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { inUserNamespace, refused, TestPod } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { busyboxLayer } from '../images/roots.ts';
import { artifact, type BuiltImage, image, layer, namedText, sha256, writeLayout } from '../registry/images.ts';
import { file, tar } from '../registry/tar.ts';
import { loadImage, outputIn } from './containers-support.ts';

await ownHost();

const inNamespace = inUserNamespace();

async function load(daemon: TestDaemon, name: string, built: BuiltImage): Promise<string> {
  const reference = `localhost/${name}:1`;
  const path = mkdtempSync(join(daemon.dir, `${name}-`));
  writeLayout(path, { [reference]: built });
  await daemon.admin.loadImages({ path });
  return reference;
}

/** The layers on the disk. */
const layersOf = (daemon: TestDaemon): string[] =>
  readdirSync(join(daemon.dataDir, 'v1/snapshots')).filter((name) => /^sha(256|512)-/.test(name));

for (const handler of ociRuntimes) {
  suite(`images and containers with ${handler}`, { handler }, (bench) => {
    test('an image by sha512 is a root and a volume, with a user namespace too', async () => {
      const by = { blob: 'sha512', diffId: 'sha512' } as const;
      const base = layer(gunzipSync((await busyboxLayer()).bytes), 'gzip', by);
      const built = image([base, layer(tar(file('note', 'by sha512\n')), 'gzip', by)], { algorithm: 'sha512' });
      const single = image([layer(tar(file('alone', 'one layer\n')), 'none', by)], { algorithm: 'sha512' });
      const [root, volume, small] = [
        await load(bench.daemon, 'root', built),
        await load(bench.daemon, 'volume', built),
        await load(bench.daemon, 'small', single),
      ];
      assert.ok(layersOf(bench.daemon).includes(base.diffId.replace(':', '-')));
      const at = (containerPath: string, reference: string) => ({ containerPath, image: { image: reference } });
      const mounts = [at('/volume', volume), at('/small', small)];
      for (const [name, options] of Object.entries({ plain: {}, mapped: inNamespace })) {
        const pod = await TestPod.run(bench.daemon, name, options);
        const script = 'cat /note /volume/note /small/alone; echo x >/written && cat /written';
        const lines = await outputIn(pod, root, script, { ...options, mounts });
        assert.deepEqual(lines, ['by sha512', 'by sha512', 'one layer', 'x']);
        const { containers } = await bench.daemon.runtime.listContainers({});
        assert.deepEqual(
          containers.map(({ imageId }) => imageId),
          [built.config.digest],
        );
        await pod.remove();
      }
      for (const reference of [root, small]) await bench.daemon.images.removeImage({ image: { image: reference } });
      assert.ok(!layersOf(bench.daemon).some((name) => name.startsWith('sha512-')));
    });

    test('an artifact: its files as a volume, whole or in part, with a user namespace too; never a root', async () => {
      const { images, runtime } = bench.daemon;
      const built = artifact([
        namedText('weights\n', 'model/w.bin'),
        namedText('read\n', 'README'),
        namedText('plain\n'),
      ]);
      const reference = await load(bench.daemon, 'model', built);
      const spec = { image: { image: reference } };
      const { image: shown, info } = await images.imageStatus({ ...spec, verbose: true });
      assert.deepEqual([shown?.id, shown?.repoTags], [built.manifest.digest, [reference]]);
      const { artifactType, artifactManifest } = JSON.parse(info.info!);
      assert.deepEqual([artifactType, artifactManifest.layers.length], ['application/vnd.example.thing', 3]);
      const { images: listed } = await images.listImages({});
      assert.ok(listed.some(({ id, size }) => id === built.manifest.digest && size === shown?.size));
      const byDigest = sha256('plain\n').replace(':', '-');
      const at = (containerPath: string, imageSubPath = '') => ({ containerPath, ...spec, imageSubPath });
      const mounts = [at('/all'), at('/folder', 'model'), at('/one', 'README')];
      for (const [name, options] of Object.entries({ plain: {}, mapped: inNamespace })) {
        const pod = await TestPod.run(bench.daemon, name, options);
        const script = `cat /all/model/w.bin /all/${byDigest} /folder/w.bin /one; find /all | wc -l
          stat -c '%a %u:%g' /all/README; touch /all/x 2>&1 | grep -c 'Read-only'; exit 0`;
        const lines = await outputIn(pod, bench.image.busybox, script, { ...options, mounts });
        assert.deepEqual(lines, ['weights', 'plain', 'weights', 'read', '5', '644 0:0', '1']);
        await refused(images.removeImage(spec), grpc.FAILED_PRECONDITION, /mounts it/);
        await refused(
          pod.create('root', reference, options),
          grpc.FAILED_PRECONDITION,
          /is an artifact .*image volume/,
        );
        const { containers } = await runtime.listContainers({ filter: { podSandboxId: pod.id } });
        assert.equal(containers.length, 1);
        await pod.remove();
      }
      const before = layersOf(bench.daemon).length;
      await images.removeImage(spec);
      assert.equal(layersOf(bench.daemon).length, before - 3);
    });

    test('an image without layers: an empty volume, and a root whose program is missing', async () => {
      const empty = await load(bench.daemon, 'empty', image([]));
      for (const [name, options] of Object.entries({ plain: {}, mapped: inNamespace })) {
        const pod = await TestPod.run(bench.daemon, name, options);
        const mounts = [{ containerPath: '/nothing', image: { image: empty } }];
        const script =
          'ls -A /nothing; stat -c "%a %u:%g" /nothing; grep " /nothing tmpfs ro,nosuid,nodev," /proc/mounts | grep -vc noexec; touch /nothing/x 2>&1; true';
        const lines = await outputIn(pod, bench.image.busybox, script, { ...options, mounts });
        assert.deepEqual(lines.slice(0, 2), ['755 0:0', '1']);
        assert.match(lines.slice(2).join('\n'), /^touch: .*Read-only file system$/);
        const part = pod.create('part', bench.image.busybox, { mounts: [{ ...mounts[0]!, imageSubPath: 'x' }] });
        await refused(part, grpc.FAILED_PRECONDITION, /does not exist in it/);
        const containerId = await pod.create('c', empty, options);
        const start = bench.daemon.runtime.startContainer({ containerId });
        await refused(start, grpc.INTERNAL, /\/bin\/sh.*[nN]o such file/);
        const { status } = await bench.daemon.runtime.containerStatus({ containerId });
        assert.deepEqual([status?.state, status?.exitCode], [ContainerState.CONTAINER_EXITED, 128]);
        assert.equal(status?.reason, 'StartError');
        await pod.remove();
      }
      await bench.daemon.images.removeImage({ image: { image: empty } });
    });

    test('an image that is removed while a container runs goes with the container', async () => {
      const { runtime, images } = bench.daemon;
      for (const way of ['container', 'pod'] as const) {
        const before = layersOf(bench.daemon);
        const reference = await loadImage(bench, `going-${handler}-${way}`, [{ name: 'own', data: `of ${way}\n` }]);
        const pod = await TestPod.run(bench.daemon, way);
        const containerId = await pod.sh('c', reference, 'exec sleep 1000');
        const other = await pod.sh('d', reference, 'exec sleep 1000');
        await images.removeImage({ image: { image: reference } });
        const { image: gone } = await images.imageStatus({ image: { image: reference } });
        assert.equal(gone, undefined);
        const own = layersOf(bench.daemon).filter((name) => !before.includes(name));
        assert.ok(own.length >= 1);
        for (const id of [containerId, other]) {
          const { stdout } = await runtime.execSync({ containerId: id, cmd: ['cat', '/own'], timeout: 10n });
          assert.equal(Buffer.from(stdout).toString(), `of ${way}\n`);
        }
        await runtime.removeContainer({ containerId: other });
        assert.deepEqual(layersOf(bench.daemon).sort(), [...before, ...own].sort(), 'another container stands on them');
        if (way === 'container') await runtime.removeContainer({ containerId });
        else await runtime.removePodSandbox({ podSandboxId: pod.id });
        assert.deepEqual(layersOf(bench.daemon).sort(), before.sort());
        if (way === 'container') await pod.remove();
      }
    });

    test('ContainerStatus has the name that the user wrote and the digest of its repository, whatever was pulled first', async () => {
      const { runtime, images } = bench.daemon;
      const built = image([layer(tar(file('own', handler)))]);
      const names = ['localhost/first:1', 'localhost/second:1'] as const;
      const path = mkdtempSync(join(bench.daemon.dir, 'two-names-'));
      writeLayout(path, { [names[0]]: built, [names[1]]: built });
      await bench.daemon.admin.loadImages({ path });
      const id = built.config.digest;
      const pod = await TestPod.run(bench.daemon, 'names');
      const of = (name: string) => `localhost/${name}@${built.manifest.digest}`;
      const cases = [
        { asked: { image: id, userSpecifiedImage: names[1] }, name: names[1], ref: of('second') },
        { asked: { image: id, userSpecifiedImage: names[0] }, name: names[0], ref: of('first') },
        { asked: { image: names[1] }, name: names[1], ref: of('second') },
        { asked: { image: id }, name: names[0], ref: of('first') },
      ];
      for (const [index, { asked, name, ref }] of cases.entries()) {
        const mounts = [{ containerPath: '/volume', image: asked }];
        const containerId = await pod.create(`c${index}`, '', { image: asked, command: ['/x'], mounts });
        const { status } = await runtime.containerStatus({ containerId });
        assert.deepEqual([status?.image?.image, status?.imageRef, status?.imageId], [name, ref, id]);
        assert.equal(status?.mounts[0]?.image?.imageRef, id, 'a volume by what PullImage gave');
        const { containers } = await runtime.listContainers({ filter: { id: containerId } });
        assert.equal(containers[0]?.image?.image, asked.image, 'a list says what was asked for');
        const { containersStatuses } = await runtime.podSandboxStatus({ podSandboxId: pod.id });
        assert.equal(containersStatuses.find((one) => one.id === containerId)?.image?.image, name);
      }
      await pod.remove();
      await images.removeImage({ image: { image: id } });
    });

    test('ContainerStatus says which image a volume is of, whatever its name means later', async () => {
      const { runtime, images } = bench.daemon;
      const first = image([layer(tar(file('a', 'first')))]);
      const second = image([layer(tar(file('a', 'second')))]);
      const reference = await load(bench.daemon, 'volume', first);
      const pod = await TestPod.run(bench.daemon, 'status');
      const mounts = [
        { containerPath: '/host', hostPath: bench.daemon.logDir, readonly: true },
        { containerPath: '/by-name', image: { image: reference }, imageSubPath: 'a' },
        { containerPath: '/by-id', image: { image: first.config.digest } },
      ];
      const containerId = await pod.create('c', bench.image.busybox, { mounts });
      await load(bench.daemon, 'volume', second);
      const { image: now } = await images.imageStatus({ image: { image: reference } });
      assert.equal(now?.id, second.config.digest);
      const { status } = await runtime.containerStatus({ containerId });
      const imageRef = first.config.digest;
      assert.deepEqual(
        status?.mounts.map(({ containerPath, image: spec, imageSubPath }) => [
          containerPath,
          spec && [spec.image, spec.imageRef],
          imageSubPath,
        ]),
        [
          ['/host', undefined, ''],
          ['/by-name', [reference, imageRef], 'a'],
          ['/by-id', [first.config.digest, imageRef], ''],
        ],
      );
      await pod.remove();
      for (const { config } of [first, second]) await images.removeImage({ image: { image: config.digest } });
    });
  });
}
