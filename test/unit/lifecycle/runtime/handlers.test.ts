import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { HostFiles } from '../../../../src/base/host-files.ts';
import { OciRuntime, OciRuntimes } from '../../../../src/lifecycle/runtime/handlers.ts';
import { ownFiles } from '../../../../src/sys/own-files.ts';

/** A handler whose program is this script. */
function handlerOf(dir: string, script: string): OciRuntime {
  const path = join(dir, 'program');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  const root = join(dir, 'root');
  mkdirSync(root);
  const plain = { systemdCgroup: false, privilegedWithoutHostDevices: false, cniConfDir: '' };
  return new OciRuntime({ name: 'x', path, args: [], root, ...plain }, ownFiles());
}

test('crun and runc make and start at once, others and whoever is told so by create and start', () => {
  const of = (path: string, create?: string) => {
    const plain = { systemdCgroup: false, privilegedWithoutHostDevices: false, cniConfDir: '' };
    return new OciRuntime({ name: 'x', path, args: [], root: '/r', ...plain }, ownFiles(), create);
  };
  const verb = (runtime: OciRuntime) =>
    runtime.make('id', '/b', '/p', '/l', false).find((word) => /^(run|create)$/.test(word));
  for (const path of ['/usr/bin/crun', '/opt/crun-wasm', '/usr/sbin/runc', '/opt/runc.new'])
    assert.equal(verb(of(path)), 'run');
  for (const path of ['/usr/bin/nvidia-container-runtime', '/opt/youki', '/opt/runchard'])
    assert.equal(verb(of(path)), 'create');
  assert.equal(verb(of('/usr/bin/crun', 'always')), 'create');
});

const folder = () => {
  const dir = mkdtempSync(join(tmpdir(), 'berth-handlers-'));
  return { dir, [Symbol.dispose]: () => rmSync(dir, { recursive: true }) };
};

test("a pod that is older than its handler's options has its containers made as the handler says now", async () => {
  using place = folder();
  const path = join(place.dir, 'crun');
  const moved = join(place.dir, 'crun-of-old');
  writeFileSync(path, '');
  const plain = { path, privilegedWithoutHostDevices: false, cniConfDir: '' };
  const settings = { handlers: { x: { ...plain, args: ['--new'], create: 'always' } }, defaultHandler: 'x' };
  const layout = { ociStateOf: () => place.dir };
  const runtimes = await OciRuntimes.open(settings as never, layout as never, ownFiles);
  const old = { ...plain, name: 'x', args: [], root: place.dir, systemdCgroup: false };
  for (const resolvedHandler of [old, { ...old, path: moved }])
    assert.equal((await runtimes.of({ resolvedHandler })).createsFirst, true);
});

test("a program on a dead file server is no other handler's matter", async () => {
  using place = folder();
  const dead = join(place.dir, 'dead');
  /** Asked in order, as one process is: who comes after what hangs waits as well. */
  const openFiles = (): HostFiles => {
    let before = Promise.resolve<unknown>(null);
    const stat = (path: string) => {
      const answer = before.then(() => (path === dead ? new Promise<null>(() => {}) : null));
      before = answer;
      return answer;
    };
    return { ...ownFiles(), stat };
  };
  const of = (path: string) => ({ path, args: [], privilegedWithoutHostDevices: false, cniConfDir: '' });
  const settings = { handlers: { a: of(dead), b: of('/there') }, defaultHandler: 'b' };
  const runtimes = await OciRuntimes.open(settings as never, { ociStateOf: () => place.dir } as never, openFiles);
  const gone = { ...of(dead), name: 'gone', root: place.dir, systemdCgroup: false };
  void runtimes.get('a').missing();
  void (await runtimes.of({ resolvedHandler: gone })).missing();
  assert.equal(await runtimes.get('b').missing(), 'does not exist');
});

test('a program that hangs is not waited for; what it says at last is known', { timeout: 60_000 }, async () => {
  using place = folder();
  const go = join(place.dir, 'go');
  const waits = `while ! [ -e ${go} ]; do sleep 0.05; done`;
  const handler = handlerOf(place.dir, `${waits}; [ $1 = features ] || echo crun version 1.8.1`);
  const answer = handler.features();
  assert.equal((await handler.featuresByNow()).version, '');
  writeFileSync(go, '');
  assert.equal((await answer).version, 'crun version 1.8.1');
  assert.equal((await handler.featuresByNow()).version, 'crun version 1.8.1');
});

test('what failed is asked again a minute later, which nobody waits for', { timeout: 60_000 }, async ({ mock }) => {
  using place = folder();
  const [asked, go] = [join(place.dir, 'asked'), join(place.dir, 'go')];
  const waits = `while ! [ -e ${go} ]; do sleep 0.05; done`;
  const first = `[ -e ${asked} ] || { echo >${asked}; exit 1; }`;
  const handler = handlerOf(place.dir, `[ $1 = --version ] || exit 1; ${first}; ${waits}; echo x 2.0`);
  mock.timers.enable({ apis: ['setTimeout'] });
  assert.equal((await handler.features()).version, '');
  mock.timers.tick(60_000);
  assert.equal((await handler.featuresByNow()).version, ''); // with a clock that stands still, a wait would have no end
  mock.timers.reset();
  writeFileSync(go, '');
  assert.equal((await handler.features()).version, 'x 2.0');
  assert.equal((await handler.featuresByNow()).version, 'x 2.0');
});
