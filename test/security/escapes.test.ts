// An operator is told that a way out of the containers of this node is published.
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { until } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';

await ownHost();

const folder = mkdtempSync(join(tmpdir(), 'berth-versions-'));
after(() => rmSync(folder, { recursive: true }));

/** A program that says no more than its version. */
function saying(version: string): { path: string } {
  const path = join(folder, version.replaceAll(' ', '-'));
  writeFileSync(path, `#!/bin/sh\n[ "$1" = --version ] && echo '${version}'\n`);
  chmodSync(path, 0o755);
  return { path };
}
const handlers = {
  old: saying('runc version 1.1.5+ds1'),
  mended: saying('runc version 1.3.3'),
  strange: saying('something else'),
};

suite('published escapes of the OCI runtimes', { network: false, settings: { handlers } }, (bench) => {
  test('the log says so at the start, and Status if asked for all', async () => {
    const warned = () => bench.daemon.logged.filter(({ msg }) => String(msg).startsWith('Container escapes'));
    await until('the warning', async () => warned().some(({ ociRuntime }) => ociRuntime === handlers.old.path));
    const [{ published }] = warned().filter(({ ociRuntime }) => ociRuntime === handlers.old.path) as [
      { published: string[] },
    ];
    assert.match(published.join(), /CVE-2024-21626: .*; mended in 1\.1\.12/);
    const { info } = await bench.daemon.runtime.status({ verbose: true });
    const told = JSON.parse(info.publishedEscapes!);
    assert.deepEqual(told.old, published);
    assert.deepEqual([told.mended, told.strange], [[], []]);
    assert.ok(warned().every(({ ociRuntime }) => ociRuntime !== handlers.mended.path));
  });
});
