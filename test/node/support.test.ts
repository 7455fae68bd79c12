// The support archive: what is in it, and what never is.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { TestDaemon } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { TestPod } from '../harness/pods.ts';
import { endTestRegistry, pullTestImages } from '../harness/suite.ts';

await ownHost();

const main = resolve(import.meta.dirname, '../../src/main.ts');
/** Stands wherever a user may write a secret. */
const secret = 'hunter2hunter2';
let daemon: TestDaemon;
let id: string;
before(async () => {
  daemon = new TestDaemon({
    settings: { containers: { env: [`NODE_TOKEN=${secret}`] }, metrics: { address: '127.0.0.1:9103' } },
  });
  await daemon.start();
  const { busybox } = await pullTestImages(daemon);
  const labelled = {
    labels: { app: secret },
    annotations: { 'kubectl.kubernetes.io/last-applied-configuration': secret },
  };
  const pod = await TestPod.run(daemon, 'secretive', labelled);
  id = await pod.create('c', busybox, {
    command: ['/bin/sh', '-c', `sleep 1000; : ${secret}`],
    args: [secret],
    envs: [{ key: 'PASSWORD', value: Buffer.from(secret) }],
    ...labelled,
  });
  await assert.rejects(
    daemon.images.pullImage({ image: { image: 'localhost:1/none' }, auth: { username: secret, password: secret } }),
  );
});
after(async () => {
  await daemon.dispose();
  await endTestRegistry();
});

const bundle = (file: string): string =>
  execFileSync(process.execPath, [main, 'bundle', file, '--config', daemon.configFile], {
    encoding: 'utf8',
    stdio: 'pipe',
  });
const textsOf = (file: string): string => execFileSync('/usr/bin/tar', ['-xzOf', file], { encoding: 'utf8' });

test('it has the node and its pods, and nobody else may read it', () => {
  const file = join(daemon.dir, 'one.tar.gz');
  assert.match(bundle(file), /look through it/);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const names = execFileSync('/usr/bin/tar', ['-tzf', file], { encoding: 'utf8' }).trim().split('\n');
  for (const name of [
    'version.txt',
    'config.toml',
    'doctor.json',
    'pods.json',
    'containers.json',
    'under-way.json',
    'metrics.txt',
  ]) {
    assert.ok(
      names.some((each) => each.endsWith(`/${name}`)),
      name,
    );
  }
  const texts = textsOf(file);
  for (const known of [
    id,
    'secretive',
    'berth_calls_total',
    'NODE_TOKEN',
    'last-applied-configuration',
    'RuntimeReady',
  ]) {
    assert.ok(texts.includes(known), known);
  }
  assert.ok(!texts.includes(secret));
  assert.throws(() => bundle(file), /one\.tar\.gz exists/);
});

test('without a daemon it says so and has the rest', async () => {
  await daemon.stop();
  const file = join(daemon.dir, 'two.tar.gz');
  bundle(file);
  assert.match(textsOf(file), /could not be found out: .*(ENOENT|No connection|connect)/s);
  await daemon.start();
});
