// What plugins are told of the attachments that are alive: they undo every other one (CNI spec, section 2, GC).
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { defaults } from '../../../src/base/settings.ts';
import { Network } from '../../../src/network/index.ts';
import { runHere } from '../../../src/sys/spawn.ts';
import { attachment, podId } from './support.ts';

const dir = mkdtempSync(join(tmpdir(), 'berth-garbage-'));
after(() => rmSync(dir, { recursive: true }));
const at = (...parts: string[]) => join(dir, ...parts);

/** A network whose one plugin keeps what it was told. */
function makeNetwork(name: string): void {
  const list = { cniVersion: '1.1.0', name, plugins: [{ type: name }] };
  writeFileSync(at('conf', `${name}.conflist`), JSON.stringify(list));
  const answer = `[ $CNI_COMMAND != ADD ] || echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.3/24"}]}'`;
  writeFileSync(at('bin', name), `#!/bin/sh\ncat >${at('told', name)}-$CNI_COMMAND-$CNI_IFNAME\n${answer}\n`);
  chmodSync(at('bin', name), 0o755);
}

test('every attachment of a pod that lives is said to be valid to its network', async () => {
  for (const name of ['bin', 'conf', 'told', 'cache/results']) mkdirSync(at(name), { recursive: true });
  for (const name of ['first', 'second']) makeNetwork(name);
  const cni = { ...defaults.cni, confDir: at('conf'), binDirs: [at('bin')], cacheDir: at('cache'), maxNetworks: 2 };
  const network = new Network({ cni, dataDir: '/data', timeouts: defaults.timeouts }, '/kept');
  await network.up(runHere, attachment);
  const added = readdirSync(at('told')).flatMap((name) => (/^(\w+)-ADD-(\w+)$/.exec(name) ?? []).slice(1));
  assert.deepEqual(added.sort(), ['eth0', 'eth1', 'first', 'second']);
  await network.collectGarbage(() => [podId]);
  for (const [name, ifname] of Object.entries({ first: 'eth0', second: 'eth1' })) {
    const [file = ''] = readdirSync(at('told')).filter((each) => each.startsWith(`${name}-GC-`));
    const valid: object[] = JSON.parse(readFileSync(at('told', file), 'utf8'))['cni.dev/valid-attachments'];
    const found = valid.some((each) => JSON.stringify(each) === JSON.stringify({ containerID: podId, ifname }));
    assert.ok(found, `${ifname} of ${name} is not in ${JSON.stringify(valid)}`);
  }
});
