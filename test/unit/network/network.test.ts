import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { NoAnswer } from '../../../src/base/host-files.ts';
import type { PodConfig } from '../../../src/model/config.ts';
import { bandwidthsOf, capabilityArgs, parseQuantity, runtimeConfig } from '../../../src/network/capabilities.ts';
import { parseNetworkList } from '../../../src/network/conflist.ts';
import { ConflistDirectory } from '../../../src/network/conflist-directory.ts';
import { findPlugin } from '../../../src/network/plugin.ts';
import { ownFiles } from '../../../src/sys/own-files.ts';

describe('parseNetworkList', () => {
  const refused: [name: string, source: string, message: RegExp][] = [
    ['no JSON', '{', /JSON/],
    ['an array', '[]', /not a JSON object/],
    ['no name', '{"plugins":[{"type":"a"}]}', /name undefined/],
    ['a name with a path', '{"name":"../x","plugins":[{"type":"a"}]}', /name "\.\.\/x"/],
    ['no plugins', '{"name":"x","plugins":[]}', /plugins is missing or empty/],
    ['a type with a path', '{"name":"x","plugins":[{"type":"../sh"}]}', /without a path/],
    ['a type of ..', '{"name":"x","plugins":[{"type":".."}]}', /without a path/],
    ['a plugin that is null', '{"name":"x","plugins":[null]}', /without a path/],
    ['versions that are no list', '{"name":"x","cniVersions":"1.0.0","plugins":[{"type":"a"}]}', /cniVersions "1\.0\./],
    ['a version that is none', '{"name":"x","cniVersions":["1"],"plugins":[{"type":"a"}]}', /cniVersions \["1"\]/],
    ['no plugins anywhere', '{"name":"x","loadOnlyInlinedPlugins":"True"}', /plugins is missing or empty/],
    ['a switch that is none', '{"name":"x","disableGC":1,"plugins":[{"type":"a"}]}', /disableGC 1 is not true or/],
  ];
  for (const [name, source, message] of refused) {
    test(`${name} is refused`, () => assert.throws(() => parseNetworkList(source), message));
  }

  test('a single plugin counts as a list of one', () => {
    const list = parseNetworkList('{"name":"x","cniVersion":"0.4.0","type":"ptp","mtu":9}');
    assert.deepEqual([list.name, list.cniVersion, list.plugins[0]?.type], ['x', '0.4.0', 'ptp']);
    assert.deepEqual(parseNetworkList(list.source).plugins, list.plugins);
  });

  const versions: [cniVersion: string | undefined, cniVersions: string[] | undefined, taken: string][] = [
    [undefined, undefined, '0.1.0'],
    ['0.3.1', undefined, '0.3.1'],
    [undefined, ['0.3.1', '1.1.0', '0.4.0'], '1.1.0'],
    ['0.4.0', ['0.3.1'], '0.4.0'],
    ['0.4.0', ['1.0.0', '1.2.0', '2.0.0'], '1.0.0'],
    ['1.2.0', ['9.0.0'], '1.2.0'],
    [undefined, [], '0.1.0'],
  ];
  for (const [cniVersion, cniVersions, taken] of versions) {
    test(`of ${cniVersion} and ${cniVersions} it is ${taken}`, () => {
      const source = JSON.stringify({ name: 'x', cniVersion, cniVersions, plugins: [{ type: 'a' }] });
      assert.equal(parseNetworkList(source).cniVersion, taken);
    });
  }
});

describe('ConflistDirectory', () => {
  let dir = '';
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'berth-cni-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));
  const put = (file: string, name: string) =>
    writeFileSync(join(dir, file), JSON.stringify({ name, plugins: [{ type: 'a' }] }));

  test('lists come in file-name order; the bad ones are told; changes are seen at once', async () => {
    const directory = new ConflistDirectory(dir);
    assert.match((await directory.look()).problems.join(), /no network configuration in/);
    put('20-b.conflist', 'b');
    put('10-a.conf', 'a');
    put('readme.txt', 'ignored');
    writeFileSync(join(dir, '05-bad.json'), '{');
    const found = await directory.look();
    assert.deepEqual(
      found.lists.map(({ name }) => name),
      ['a', 'b'],
    );
    assert.match(found.problems.join(), /^05-bad\.json: /);
    put('10-a.conf', 'changed');
    assert.deepEqual(
      (await directory.look()).lists.map(({ name }) => name),
      ['changed', 'b'],
    );
    rmSync(join(dir, '10-a.conf'));
    assert.deepEqual(
      (await directory.look()).lists.map(({ name }) => name),
      ['b'],
    );
  });

  test('plugins in files of their own come after those of the list, unless it takes no others', async () => {
    const directory = new ConflistDirectory(dir);
    const typesOf = async () => (await directory.look()).lists.map(({ plugins }) => plugins.map(({ type }) => type));
    const list = (more: object) => writeFileSync(join(dir, '10-a.conflist'), JSON.stringify({ name: 'net', ...more }));
    list({ plugins: [{ type: 'a' }] });
    assert.deepEqual(await typesOf(), [['a']]);
    mkdirSync(join(dir, 'net'));
    for (const type of ['c', 'b']) writeFileSync(join(dir, 'net', `${type}.conf`), `{"type":"${type}"}`);
    writeFileSync(join(dir, 'net', 'd.json'), '{"type":"d"}');
    assert.deepEqual(await typesOf(), [['a', 'b', 'c']]);
    const [found] = (await directory.look()).lists;
    const kept = parseNetworkList(found!.source);
    assert.deepEqual([kept.plugins, kept.openToMore], [found!.plugins, false]);
    writeFileSync(join(dir, 'net', 'b.conf'), '{"type":"changed"}');
    list({});
    assert.deepEqual(await typesOf(), [['changed', 'c']]);
    list({ plugins: [{ type: 'a' }], loadOnlyInlinedPlugins: true });
    assert.deepEqual(await typesOf(), [['a']]);
  });

  test('a plugin in a file of its own that is none is told, and so is a list that has none at all', async () => {
    const directory = new ConflistDirectory(dir);
    writeFileSync(join(dir, '10-a.conflist'), '{"name":"net"}');
    assert.match((await directory.look()).problems.join(), /^10-a\.conflist: plugins is missing, .*folder net$/);
    mkdirSync(join(dir, 'net'));
    writeFileSync(join(dir, 'net', 'b.conf'), '{"type":"../b"}');
    assert.match((await directory.look()).problems.join(), /^10-a\.conflist: net\/b\.conf: plugin type "\.\.\/b" must/);
  });

  test('what does not answer any more is no file that is wrong: no other network takes its place, nor another plugin', async () => {
    put('10-a.conflist', 'a');
    put('20-b.conflist', 'b');
    // As Berth says it once it sends no more processes after those that hang there.
    const gone = () => Promise.reject(new NoAnswer('ResourceExhausted', 'four processes are stuck'));
    const real = ownFiles();
    const readText = (path: string, most: number) =>
      path.endsWith('10-a.conflist') ? gone() : real.readText(path, most);
    await assert.rejects(new ConflistDirectory(dir, { ...real, readText }).look(), /four processes are stuck/);
    const stat = (path: string) => (path.startsWith('/hangs/') ? gone() : real.stat(path));
    const programs = { binDirs: ['/hangs', '/bin'], files: { ...real, stat } };
    await assert.rejects(findPlugin('true', programs), /four processes are stuck/);
    assert.equal(await findPlugin('true', { ...programs, binDirs: ['/no/such', '/bin'] }), '/bin/true');
  });

  test('a directory that does not exist is a problem, not an error', async () => {
    const { lists, problems } = await new ConflistDirectory(join(dir, 'later')).look();
    assert.deepEqual(lists, []);
    assert.match(problems.join(), /later does not exist/);
  });
});

describe('capabilities', () => {
  const quantities = {
    '10M': 10e6,
    '1Gi': 2 ** 30,
    '1.5k': 1500,
    '7': 7,
    '': null,
    '-1M': null,
    '1Q': null,
    '1e3': 1000,
    '5E-1': 0.5,
    '2E': 2e18,
    '.5Gi': 2 ** 29,
    '1eM': null,
    '10Mbit': null,
  };
  for (const [text, expected] of Object.entries(quantities)) {
    test(`bandwidth ${JSON.stringify(text)}`, () => assert.equal(parseQuantity(text), expected));
  }

  test('a bandwidth is from 1k to 1P, of which whole bits are taken', () => {
    const [ingress, egress] = ['kubernetes.io/ingress-bandwidth', 'kubernetes.io/egress-bandwidth'];
    assert.deepEqual(bandwidthsOf({ [ingress]: '1e6', [egress]: '1.0005k' }), { ingress: 1e6, egress: 1000 });
    assert.deepEqual(bandwidthsOf({ other: 'x' }), {});
    for (const wrong of ['', '10Mbit', '999', '1.1P', '2E', '-1M']) {
      const refused = { kind: 'InvalidArgument', message: /egress-bandwidth = ".*" is no bandwidth/ };
      assert.throws(() => bandwidthsOf({ [egress]: wrong }), refused, wrong);
    }
  });

  test('a plugin gets what it declares, and only mappings with a host port', () => {
    const config = {
      portMappings: [
        { protocol: 'tcp', containerPort: 80, hostPort: 8080, hostIp: '' },
        { protocol: 'udp', containerPort: 53, hostPort: 0, hostIp: '' },
      ],
      dns: null,
      annotations: { 'kubernetes.io/ingress-bandwidth': '1M' },
    } as unknown as PodConfig;
    const args = capabilityArgs(config, '/kubepods/x');
    assert.deepEqual(runtimeConfig({ type: 'portmap', capabilities: { portMappings: true, dns: true } }, args), {
      portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp', hostIP: '' }],
    });
    assert.deepEqual(runtimeConfig({ type: 'bandwidth', capabilities: { bandwidth: true, cgroupPath: true } }, args), {
      bandwidth: { ingressRate: 1e6, ingressBurst: 2 ** 31 - 1 },
      cgroupPath: '/kubepods/x',
    });
    assert.equal(runtimeConfig({ type: 'bridge' }, args), undefined);
  });
});
