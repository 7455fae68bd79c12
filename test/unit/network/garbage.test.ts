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
function makeNetwork(name: string, more: object = {}): void {
  const list = { cniVersion: '1.1.0', name, plugins: [{ type: name }], ...more };
  writeFileSync(at('conf', `${name}.conflist`), JSON.stringify(list));
  const answer = `[ $CNI_COMMAND != ADD ] || echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.3/24"}]}'`;
  writeFileSync(at('bin', name), `#!/bin/sh\ncat >${at('told', name)}-$CNI_COMMAND-$CNI_IFNAME\n${answer}\n`);
  chmodSync(at('bin', name), 0o755);
}

function makeFolders(): Network {
  for (const name of ['bin', 'conf', 'told', 'cache/results']) {
    rmSync(at(name), { recursive: true, force: true });
    mkdirSync(at(name), { recursive: true });
  }
  const cni = { ...defaults.cni, confDir: at('conf'), binDirs: [at('bin')], cacheDir: at('cache'), maxNetworks: 2 };
  return new Network({ cni, dataDir: '/data', timeouts: defaults.timeouts }, '/kept');
}

test('every attachment of a pod that lives is said to be valid to its network', async () => {
  const network = makeFolders();
  for (const name of ['first', 'second']) makeNetwork(name);
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

test('a network that is shared with others is not asked to collect', async () => {
  const network = makeFolders();
  makeNetwork('alone', { cniVersion: '0.3.1', cniVersions: ['0.4.0', '1.1.0'] });
  makeNetwork('shared', { disableGC: true });
  await network.collectGarbage(() => [podId]);
  assert.deepEqual(readdirSync(at('told')), ['alone-GC-']);
});

test('what a plugin leaves running when it has collected holds up no new pod', { timeout: 60_000 }, async () => {
  const network = makeFolders();
  makeNetwork('daemon');
  const begun = at('told', 'pid');
  const program = readFileSync(at('bin', 'daemon'), 'utf8');
  writeFileSync(at('bin', 'daemon'), `${program}[ $CNI_COMMAND != GC ] || { setsid sleep 600 & echo $! >${begun}; }\n`);
  const collected = network.collectGarbage(() => [podId]);
  const { ips } = await network.up(runHere, attachment);
  await collected;
  process.kill(Number(readFileSync(begun, 'utf8')), 'SIGKILL');
  assert.deepEqual(ips, ['10.1.2.3']);
});
