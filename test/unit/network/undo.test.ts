// Attachments whose plugins are gone, or whose records nobody can read: with real programs, as the daemon calls them.
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { NoAnswer } from '../../../src/base/host-files.ts';
import { defaults } from '../../../src/base/settings.ts';
import type { PodId } from '../../../src/model/ids.ts';
import { Network } from '../../../src/network/index.ts';
import { ownFiles } from '../../../src/sys/own-files.ts';
import { runHere } from '../../../src/sys/spawn.ts';
import { attachment, podId } from './support.ts';

const cacheName = `net-${podId}-eth0`;

let dir = '';
const at = (...parts: string[]) => join(dir, ...parts);
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'berth-undo-'));
  for (const name of ['bin', 'conf', 'cache/results']) mkdirSync(at(name), { recursive: true });
  for (const type of ['a', 'b', 'c']) install(type);
  configure([{ type: 'a' }, { type: 'b' }, { type: 'c' }]);
});
afterEach(() => rmSync(dir, { recursive: true }));

/** A plugin that notes its calls, does `more`, and gives an address at ADD. */
function install(type: string, more = ''): void {
  const note = `cat >/dev/null\necho $CNI_COMMAND ${type} >>${at('calls')}`;
  const answer = `[ $CNI_COMMAND != ADD ] || echo '{"ips":[{"address":"10.1.2.3/24"}]}'`;
  writeFileSync(at('bin', type), `#!/bin/sh\n${note}\n${more}\n${answer}\n`);
  chmodSync(at('bin', type), 0o755);
}
const uninstall = (type: string) => rmSync(at('bin', type), { recursive: true });

function configure(plugins: object[], name = 'net'): void {
  writeFileSync(at('conf/10.conflist'), JSON.stringify({ cniVersion: '1.0.0', name, plugins }));
}

/** What was called since the last look. */
function calls(): string[] {
  const lines = existsSync(at('calls')) ? readFileSync(at('calls'), 'utf8').trim().split('\n') : [];
  rmSync(at('calls'), { force: true });
  return lines;
}

const cached = () => readdirSync(at('cache/results'));
const network = (dataDir = '/data', readers?: ConstructorParameters<typeof Network>[2]) =>
  new Network(
    {
      cni: { ...defaults.cni, confDir: at('conf'), binDirs: [at('empty'), at('bin')], cacheDir: at('cache') },
      dataDir,
      timeouts: defaults.timeouts,
    },
    '/kept',
    readers,
  );

async function untilUndone(): Promise<void> {
  for (let tries = 1000; cached().length > 0; tries--) {
    assert.ok(tries > 0, `still there: ${cached()}`);
    await delay(10);
  }
}

describe('a plugin that was never installed', () => {
  const absent: Record<string, () => void> = {
    'no file': () => {},
    'a directory': () => mkdirSync(at('bin/b')),
    'a file that may not be executed': () => writeFileSync(at('bin/b'), ''),
    'a link to nothing': () => symlinkSync(at('nothing'), at('bin/b')),
    'a loop of links': () => symlinkSync(at('bin/b'), at('bin/b')),
  };
  for (const [name, make] of Object.entries(absent)) {
    test(`${name}: told, nothing attempted, nothing owed`, async () => {
      uninstall('b');
      make();
      const net = network();
      const why = `CNI plugin "b" is in none of ${at('empty')}, ${at('bin')}: install it`;
      assert.equal(await net.problem(), why);
      await assert.rejects(net.up(runHere, attachment), {
        kind: 'FailedPrecondition',
        message: `The pod network is not ready: ${why}`,
      });
      await net.down(runHere, podId);
      assert.deepEqual([calls(), cached()], [[], []]);
    });
  }

  test('one that went away before ADD came to it owes nothing', async () => {
    install('a', `[ $CNI_COMMAND != ADD ] || rm ${at('bin/b')}`);
    const net = network();
    await assert.rejects(net.up(runHere, attachment), /"b" is in none of/);
    await net.down(runHere, podId);
    assert.deepEqual(calls(), ['ADD a', 'DEL c', 'DEL a']);
    assert.deepEqual(cached(), []);
  });

  test('nor does one after a plugin whose ADD failed', async () => {
    install('b', `[ $CNI_COMMAND != ADD ] || { rm ${at('bin/c')}; exit 1; }`);
    const net = network();
    await assert.rejects(net.up(runHere, attachment), /CNI plugin b ADD failed/);
    await net.down(runHere, podId);
    assert.deepEqual(calls(), ['ADD a', 'ADD b', 'DEL b', 'DEL a']);
    assert.deepEqual(cached(), []);
  });

  test('the second network counts too', async () => {
    configure([{ type: 'a' }]);
    writeFileSync(at('conf/20.conflist'), JSON.stringify({ name: 'more', plugins: [{ type: 'gone' }] }));
    assert.equal(await network().problem(), null, 'pods join one network');
    const cni = { ...defaults.cni, confDir: at('conf'), binDirs: [at('bin')], cacheDir: at('cache'), maxNetworks: 2 };
    const two = new Network({ cni, dataDir: '/data', timeouts: defaults.timeouts }, '/kept');
    assert.match((await two.problem()) ?? '', /"gone" is in none of/);
  });
});

describe('a plugin that went away after ADD', () => {
  async function attachedWithout(type: string): Promise<Network> {
    const net = network();
    await net.up(runHere, attachment);
    uninstall(type);
    calls();
    await net.down(runHere, podId);
    return net;
  }

  test('the others get their DEL, the attachment is kept, and undone when the plugin is back', async () => {
    const net = await attachedWithout('b');
    assert.deepEqual([calls(), cached()], [['DEL c', 'DEL a'], [cacheName]]);
    await net.down(runHere, podId); // StopPodSandbox again
    assert.deepEqual([calls(), cached()], [['DEL c', 'DEL a'], [cacheName]]);
    assert.match((await net.problem()) ?? '', /"b" is in none of/);
    assert.deepEqual(calls(), [], 'a look costs no call');
    install('b');
    assert.equal(await net.problem(), null);
    await untilUndone();
    assert.deepEqual(calls(), ['DEL c', 'DEL b', 'DEL a']);
  });

  test('the next RunPodSandbox looks, too', async () => {
    const net = await attachedWithout('a');
    calls();
    install('a');
    const other = { ...attachment, podId: 'cd'.repeat(32) as PodId };
    await net.up(runHere, other);
    await net.down(runHere, other.podId);
    await untilUndone();
  });

  test('the next daemon takes it up; one of another data directory does not', async () => {
    await attachedWithout('c');
    install('c');
    calls();
    await network('/other').settle([]);
    await network().settle([podId]); // its pod is there: that is the pod's own teardown
    await delay(100);
    assert.deepEqual([calls(), cached()], [[], [cacheName]]);
    await network().settle([]);
    await untilUndone();
    assert.deepEqual(calls(), ['DEL c', 'DEL b', 'DEL a']);
  });

  test('a plugin that is back but fails is left alone for a while', async () => {
    const net = await attachedWithout('b');
    install('b', 'exit 1');
    calls();
    for (let polls = 20; polls > 0; polls--) {
      await net.problem();
      await delay(10);
    }
    assert.deepEqual([calls(), cached()], [['DEL c', 'DEL b', 'DEL a'], [cacheName]]);
  });

  test('a plugin that is there and fails is an error as ever', async () => {
    const net = network();
    await net.up(runHere, attachment);
    install('b', 'exit 9');
    calls();
    await assert.rejects(net.down(runHere, podId), /CNI plugin b DEL failed: exit code 9/);
    assert.deepEqual([calls(), cached()], [['DEL c', 'DEL b', 'DEL a'], [cacheName]]);
    install('b');
    await net.down(runHere, podId);
    assert.deepEqual(cached(), []);
  });
});

describe('an IPAM plugin that is not installed', () => {
  const failing = (message: string) =>
    `[ $CNI_COMMAND != DEL ] || { echo '{"msg":${JSON.stringify(message)}}'; exit 1; }`;

  test('counts as its plugin, when that says so', async () => {
    configure([{ type: 'a', ipam: { type: 'ip' } }]);
    install('a', failing('failed to find plugin "ip" in path [/bin]'));
    const net = network();
    assert.equal(await net.problem(), null, "what the name means is the plugin's matter");
    await net.up(runHere, attachment);
    await net.down(runHere, podId);
    assert.deepEqual(cached(), [cacheName]);
    install('ip');
    install('a');
    await net.problem();
    await untilUndone();
  });

  test('is no excuse for another failure, nor is one that is there', async () => {
    configure([{ type: 'a', ipam: { type: 'service' } }]);
    install('a', failing('the service is down'));
    const net = network();
    await net.up(runHere, attachment);
    await assert.rejects(net.down(runHere, podId), /the service is down/);
    install('service');
    install('a', failing('failed to find plugin "service" in path [/bin]'));
    await assert.rejects(net.down(runHere, podId), /failed to find plugin/);
  });
});

describe('a record that nobody can read', () => {
  const good = () => JSON.parse(readFileSync(at('cache/results', cacheName), 'utf8'));
  const damages: Record<string, () => string> = {
    'no JSON': () => '{',
    'an empty file': () => '',
    'another kind': () => JSON.stringify({ ...good(), kind: 'x' }),
    'an array': () => '[]',
    'a config that is no base64': () => JSON.stringify({ ...good(), config: '%%%' }),
    'a config that is no list': () => JSON.stringify({ ...good(), config: Buffer.from('{}').toString('base64') }),
    'fields of other types': () =>
      JSON.stringify({ ...good(), config: 1, netns: 2, cniArgs: 'x', capabilityArgs: null, result: 3, berth: 4 }),
    'names that lead elsewhere': () => JSON.stringify({ ...good(), config: '', ifName: '../../x', networkName: '..' }),
  };
  for (const [name, damage] of Object.entries(damages)) {
    test(`${name}: undone as the network is configured now`, async () => {
      const net = network();
      await net.up(runHere, attachment);
      writeFileSync(at('cache/results', cacheName), damage());
      calls();
      await net.down(runHere, podId);
      assert.deepEqual([calls(), cached()], [['DEL c', 'DEL b', 'DEL a'], []]);
    });

    test(`${name}: kept while the network is not configured, and undone when it is`, async () => {
      const net = network();
      await net.up(runHere, attachment);
      writeFileSync(at('cache/results', cacheName), damage());
      configure([{ type: 'a' }], 'another');
      await net.down(runHere, podId);
      assert.deepEqual(cached(), [cacheName]);
      configure([{ type: 'a' }]);
      calls();
      await network().settle([]); // after a restart: the file is marked as this daemon's
      await untilUndone();
      assert.deepEqual(calls(), ['DEL a']);
    });
  }

  test('what an interrupted write left goes with the attachment; what others have stays', async () => {
    const net = network();
    await net.up(runHere, attachment);
    const others = ['readme', `net-${'ef'.repeat(32)}-eth0`];
    for (const name of others) writeFileSync(at('cache/results', name), '{');
    writeFileSync(at('cache/results', `.${cacheName}.1.0.tmp`), '{');
    await net.down(runHere, podId);
    assert.deepEqual(cached().sort(), others.sort());
  });
});

describe('paths that do not answer', () => {
  test('where configurations are: an attachment is undone all the same', async () => {
    const own = ownFiles();
    let hangs = false;
    const never = new Promise<never>(() => {});
    const files = {
      ...own,
      list: (path: string, most: number) => (hangs ? never : own.list(path, most)),
      stat: (path: string) => (hangs ? never : own.stat(path)),
    };
    const net = network('/data', { files, programs: ownFiles(), hostFiles: ownFiles });
    await net.up(runHere, attachment);
    calls();
    hangs = true;
    void net.problem();
    await net.down(runHere, podId);
    assert.deepEqual([calls(), cached()], [['DEL c', 'DEL b', 'DEL a'], []]);
  });

  test('where one plugin is: the others are called, and the attachment is owed', async () => {
    configure([{ type: 'a' }, { type: 'b', ipam: { type: 'i' } }, { type: 'c' }]);
    const own = ownFiles();
    let hangs = false;
    const stat = (path: string) =>
      hangs && !/\/[ac]$/.test(path) ? Promise.reject(new NoAnswer('DeadlineExceeded', 'it hangs')) : own.stat(path);
    install('i');
    const net = network('/data', { files: { ...own, stat }, hostFiles: ownFiles });
    await net.up(runHere, attachment);
    calls();
    hangs = true;
    await assert.rejects(net.down(runHere, podId), /it hangs/);
    assert.deepEqual([calls(), cached()], [['DEL c', 'DEL a'], [cacheName]]);
  });
});
