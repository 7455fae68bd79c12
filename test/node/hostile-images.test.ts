// What an image's documents and files, and a record of another time, can do to the node: an error that says so, and
// nothing to anything else.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { status as grpc } from '@grpc/grpc-js';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { ownHost } from '../harness/own-host.ts';
import { refused, TestPod } from '../harness/pods.ts';
import { openStream } from '../harness/stream-calls.ts';
import { type Bench, suite } from '../harness/suite.ts';
import { busyboxLayer } from '../images/roots.ts';
import { image, layer, writeLayout } from '../registry/images.ts';
import { file, tar } from '../registry/tar.ts';
import { loadImage, outputIn, secured } from './containers-support.ts';

await ownHost();

/** Changes the text of records on the disk while the daemon is away. */
async function edit({ daemon }: Bench, what: string, from: RegExp, to: string): Promise<void> {
  await daemon.stop();
  const folder = join(daemon.dataDir, 'v1', what);
  let edited = 0;
  for (const name of readdirSync(folder)) {
    const before = readFileSync(join(folder, name), 'utf8');
    const after = before.replace(from, to);
    if (after !== before) edited++;
    writeFileSync(join(folder, name), after);
  }
  assert.equal(edited, 1, `${edited} of ${what} match ${from}`);
  await daemon.start();
}

suite('hostile images', {}, (bench) => {
  test('users that no list can hold are refused by name, value and limit; the lists go on', async () => {
    for (const [user, message] of [
      ['9223372036854775808', /User "9223372036854775808": ids are 0 to 4294967294/],
      ['u'.repeat(7 << 20), /User "u+\.\.\." of 7340032 bytes: at most 511 are taken/],
    ] as const) {
      const path = mkdtempSync(join(bench.daemon.dir, 'hostile-'));
      writeLayout(path, { 'localhost/hostile:1': image([layer(tar(file('a', 'x')))], { config: { User: user } }) });
      await refused(bench.daemon.admin.loadImages({ path }), grpc.INVALID_ARGUMENT, message);
      assert.equal((await bench.daemon.images.listImages({})).images.length, 2);
    }
  });

  test('a record from before the limits costs its image, not the list', async () => {
    await loadImage(bench, 'before', [{ name: 'note', data: 'x' }], { User: '1234' });
    assert.equal((await bench.daemon.images.listImages({})).images.length, 3);
    await edit(bench, 'images', /"user":"1234"/, '"user":"9223372036854775808"');
    assert.equal((await bench.daemon.images.listImages({})).images.length, 2);
    const quarantined = bench.daemon.logged.filter(({ msg }) => String(msg).includes('kept in quarantine'));
    assert.match(String(quarantined[0]?.reason), /User "9223372036854775808"/);
    rmSync(join(bench.daemon.dataDir, 'v1/quarantine'), { recursive: true });
  });

  test('a pod and a container that no list can hold are left out; the others and their figures are shown', async () => {
    const { daemon } = bench;
    const pods = [await TestPod.run(daemon, 'whole'), await TestPod.run(daemon, 'broken')];
    const ids = [];
    for (const [i, pod] of pods.entries()) {
      for (const name of ['a', 'b']) ids.push(await pod.sh(`${name}${i}`, bench.image.busybox, 'sleep 1000'));
    }
    // No list has the one that is broken: nothing would remove it but this.
    await using _ = { [Symbol.asyncDispose]: async () => void (await Promise.all(pods.map((pod) => pod.remove()))) };
    await edit(bench, 'pods', /("name":"broken",[^}]*)"attempt":0/, '$1"attempt":1099511627776');
    await edit(bench, 'containers', /("name":"b0",[^}]*)"attempt":0/, '$1"attempt":1099511627776');
    const { runtime } = daemon;
    const [whole, shown] = [[pods[0]!.id], [ids[0]!, ids[2]!, ids[3]!].sort()];
    assert.deepEqual(
      (await runtime.listPodSandbox({})).items.map(({ id }) => id),
      whole,
    );
    assert.deepEqual((await runtime.listContainers({})).containers.map(({ id }) => id).sort(), shown);
    assert.deepEqual(
      (await runtime.listContainerStats({})).stats.map(({ attributes }) => attributes?.id).sort(),
      shown,
    );
    const { stats } = await runtime.listPodSandboxStats({});
    assert.deepEqual(
      stats.map(({ attributes, linux }) => [attributes?.id, linux?.containers.map((one) => one.attributes?.id)]),
      [[whole[0], [ids[0]]]],
    );
    const { containersStatuses } = await runtime.podSandboxStatus({ podSandboxId: whole[0]! });
    assert.deepEqual(
      containersStatuses.map(({ id }) => id),
      [ids[0]],
    );
    assert.ok((await runtime.listPodSandboxMetrics({})).podMetrics.length >= 1);
    using client = openStream(cri.RuntimeServiceClient, cri, daemon.socket);
    const streamed = (await Array.fromAsync(client.streamContainers({}))).flatMap(({ containers }) => containers);
    assert.deepEqual(streamed.map(({ id }) => id).sort(), shown);
    const told = daemon.logged.filter(({ msg }) => String(msg).includes('left out of lists'));
    assert.equal(new Set(told.map(({ id }) => id)).size, 2);
  });

  test('an /etc/passwd and an /etc/group of 16 MiB hold nobody up who asks nothing of them, and others at once', async () => {
    const line = 'user:x:1000:1000:::\n';
    const long = line.repeat((16 << 20) / line.length);
    const base = layer(gunzipSync((await busyboxLayer()).bytes));
    const reference = 'localhost/long:1';
    const path = mkdtempSync(join(bench.daemon.dir, 'long-'));
    writeLayout(path, { [reference]: image([base, layer(tar(file('etc/passwd', long), file('etc/group', long)))]) });
    await bench.daemon.admin.loadImages({ path });
    const pod = await TestPod.run(bench.daemon, 'long');
    for (const security of [{}, { runAsUser: { value: 5n } }, { runAsUsername: 'user' }]) {
      await refused(
        pod.create('c', reference, secured(security)),
        grpc.FAILED_PRECONDITION,
        /^\/etc\/passwd of the image has more than 1048576 bytes and is not searched: shorten it, or set run_as_user/,
      );
    }
    const strict = secured({
      runAsUser: { value: 5n },
      runAsGroup: { value: 6n },
      supplementalGroups: [7n],
      supplementalGroupsPolicy: cri.SupplementalGroupsPolicy.Strict,
    });
    // busybox' own id would look its names up in these files, for minutes.
    const ids = await outputIn(pod, reference, 'grep -E "^(Uid|Groups)" /proc/self/status', strict);
    assert.deepEqual(
      ids.map((text) => text.trim().split(/\s+/)),
      [
        ['Uid:', '5', '5', '5', '5'],
        ['Groups:', '6', '7'],
      ],
    );
    await pod.remove();
    await bench.daemon.images.removeImage({ image: { image: reference } });
  });
});
