// The berth command beside a daemon: pulls, gc, save, load; and a daemon whose disk is full serves on.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { mount, unmount } from '../../src/sys/mounts.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { image, layer, pushImage, writeLayout } from '../registry/images.ts';
import { startProxy } from '../registry/proxy.ts';
import { type Registry, startRegistry } from '../registry/server.ts';
import { file, tar } from '../registry/tar.ts';

await ownHost();

const remount = 32; // MS_REMOUNT, mount(2)
const main = resolve(import.meta.dirname, '../../src/main.ts');
const noise = randomBytes(5_000_000);
const built = image([layer(tar(file('small', 'x'))), layer(tar(file('noise', noise)))]);
const big = built.layers[1]!.blob;
let registry: Registry;
let daemon: TestDaemon;
before(async () => {
  registry = await startRegistry();
  await pushImage({ host: registry.host, repository: 'app' }, 'v1', built);
  daemon = new TestDaemon({ network: false });
  await daemon.start();
});
after(async () => {
  await daemon.dispose();
  await registry[Symbol.asyncDispose]();
});

async function berth(...args: string[]): Promise<string> {
  const all = ['--disable-warning=ExperimentalWarning', main, ...args, '--config', daemon.configFile];
  return (await promisify(execFile)(process.execPath, all)).stdout;
}

test('a pull is seen while it runs, and not afterwards', async () => {
  const half = Promise.withResolvers<void>();
  const rest = Promise.withResolvers<void>();
  await using proxy = await startProxy(registry.host, async (incoming, outgoing) => {
    if (!incoming.url?.includes(big.digest)) return false;
    outgoing.writeHead(200, { 'content-length': big.data.length });
    outgoing.write(big.data.subarray(0, 3_000_000), () => half.resolve());
    await rest.promise;
    outgoing.end(big.data.subarray(3_000_000));
    return true;
  });
  const reference = `${proxy.host}/app:v1`;
  const pull = daemon.images.pullImage({ image: { image: reference } });
  await half.promise;
  const seen = await berth('pulls');
  rest.resolve();
  await pull;
  assert.match(seen, new RegExp(`${reference} +fetching +[01]/2 +[0-9.]+ [kM]?B of 5\\.0 MB`));
  assert.equal(await berth('pulls'), 'No pull is under way\n');
  await daemon.images.removeImage({ image: { image: reference } });
});

test('saved, removed, collected and loaded again', async () => {
  const reference = `${registry.host}/app:v1`;
  await daemon.images.pullImage({ image: { image: reference } });
  const path = join(daemon.dir, 'saved.tar');
  const saved = await berth('save', reference, path);
  await assert.rejects(berth('save', reference, path), /there is a file already/);
  await daemon.images.removeImage({ image: { image: reference } });
  assert.equal(await berth('gc', '--dry-run'), '0 layer(s), 0 B would be removed\n');
  const [id = ''] = /sha256:[0-9a-f]{64}/.exec(saved) ?? [];
  assert.equal(await berth('load', path), `${id} ${reference}\n`);
  const { images } = await daemon.images.listImages({});
  assert.deepEqual(
    images.map((one) => one.id),
    [id],
  );
  const fifo = join(daemon.dir, 'fifo');
  const words = [process.execPath, main, daemon.configFile, path, fifo];
  const script = `"$0" "$1" load - --config "$2" < "$3" && "$0" "$1" load /dev/stdin --config "$2" < "$3" && mkfifo "$4" && { cat "$3" > "$4" & "$0" "$1" load "$4" --config "$2"; }`;
  const { stdout } = await promisify(execFile)('/bin/bash', ['-c', script, ...words]);
  assert.equal(stdout, `${id} ${reference}\n`.repeat(3));
  await daemon.images.removeImage({ image: { image: id } });
});

test('of an archive with a damaged image the good ones are loaded, and the exit code says that not all are', async () => {
  const bad = image([layer(tar(file('bad', 'x')))]);
  const windows = image([], { editConfig: (config) => Object.assign(config, { os: 'windows' }) });
  const folder = join(daemon.dir, 'layout');
  mkdirSync(folder);
  writeLayout(folder, {
    'docker.io/team/good:v1': built,
    'docker.io/team/bad\u001b[2J:v1': bad,
    'docker.io/team/other:v1': windows,
  });
  writeFileSync(join(folder, 'blobs', bad.layers[0]!.blob.digest.replace(':', '/')), 'no layer');
  await assert.rejects(berth('load', folder), (error: Error & { code: number; stdout: string; stderr: string }) => {
    assert.equal(error.code, 1);
    assert.equal(error.stdout, `${built.config.digest} docker.io/team/good:v1\n`);
    assert.match(error.stderr, /passed over: .*team\/other:v1: .*windows/);
    assert.match(error.stderr, /1 of 2 images were not loaded:\n {2}.*sha256:[0-9a-f]{64}: .*digest/);
    assert.doesNotMatch(error.stderr, /\u001b/);
    return true;
  });
  const { images } = await daemon.images.listImages({});
  assert.deepEqual(
    images.map((one) => one.id),
    [built.config.digest],
  );
  await daemon.images.removeImage({ image: { image: built.config.digest } });
});

test('a disk that fills up while it pulls: ResourceExhausted, nothing half-made, and the next pull works', async () => {
  const small = new TestDaemon({ network: false });
  mkdirSync(small.dataDir, { recursive: true });
  mount('tmpfs', small.dataDir, 'tmpfs', 0, 'size=3m');
  try {
    await small.start();
    const reference = `${registry.host}/app:v1`;
    const pull = () => small.images.pullImage({ image: { image: reference } });
    await assert.rejects(pull(), { code: 8 }); // RESOURCE_EXHAUSTED
    const { images } = await small.images.listImages({});
    assert.deepEqual(images, []);
    const { imageFilesystems } = await small.images.imageFsInfo({});
    assert.equal(imageFilesystems[0]?.inodesUsed?.value, 0n);
    mount('tmpfs', small.dataDir, 'tmpfs', remount, 'size=20m');
    await pull();
  } finally {
    await small.stop();
    unmount(small.dataDir, { detach: true });
    await small.dispose();
  }
});
