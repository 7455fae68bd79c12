// ADD and DEL of a pod's networks: what each plugin is told, and what is on record before it is. The plugins are files that
// may be executed, and are not: what would run them answers for them.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { Command, CommandResult, RunCommand } from '../../../src/base/command.ts';
import { defaults } from '../../../src/base/settings.ts';
import { cniResultOf } from '../../../src/cri/cni-result.ts';
import { Network } from '../../../src/network/index.ts';
import { KeptNetns } from '../../../src/network/kept-netns.ts';
import type { CachedAttachment } from '../../../src/network/result-cache.ts';
import { attachment, podId } from './support.ts';

let dir = '';
const at = (...parts: string[]) => join(dir, ...parts);
type Called = { readonly what: string; readonly stdin: Record<string, unknown>; readonly env: readonly string[] };
let called: Called[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'berth-attach-'));
  for (const name of ['bin', 'conf']) mkdirSync(at(name));
  for (const type of ['a', 'b', 'c']) {
    writeFileSync(at('bin', type), '');
    chmodSync(at('bin', type), 0o755);
  }
  called = [];
});
afterEach(() => rmSync(dir, { recursive: true }));

const configure = (name: string, plugins: object[], cniVersion = '1.0.0') =>
  writeFileSync(at('conf', `${name}.conflist`), JSON.stringify({ cniVersion, name, plugins }));
const network = (maxNetworks = 1) =>
  new Network(
    {
      cni: { ...defaults.cni, confDir: at('conf'), binDirs: [at('bin')], cacheDir: at('cache'), maxNetworks },
      dataDir: '/data',
      timeouts: defaults.timeouts,
    },
    at('kept'),
  );
const cached = (): CachedAttachment[] => {
  try {
    return readdirSync(at('cache/results')).map((name) => JSON.parse(readFileSync(at('cache/results', name), 'utf8')));
  } catch {
    return [];
  }
};
const ended = (stdout: unknown, changes: Partial<CommandResult> = {}): CommandResult => ({
  code: 0,
  signal: 0,
  stdout: Buffer.from(typeof stdout === 'string' ? stdout : JSON.stringify(stdout)),
  stderr: Buffer.alloc(0),
  truncated: false,
  timedOut: false,
  ...changes,
});
const address = (ip: string) => ({ cniVersion: '1.0.0', ips: [{ address: ip }] });
const one = address('10.1.2.3/24');

/** Answers for the plugins, by what is called: `ADD a`. */
function answering(answers: Record<string, CommandResult | Error> = {}): RunCommand {
  return async ({ argv, env, stdin }: Command) => {
    const command = env.find((entry) => entry.startsWith('CNI_COMMAND='))!.slice('CNI_COMMAND='.length);
    const what = `${command} ${argv[0]!.slice(at('bin/').length)}`;
    called.push({ what, env, stdin: JSON.parse(Buffer.from(stdin!).toString()) });
    const answer = answers[what] ?? ended(command === 'ADD' ? one : '');
    if (answer instanceof Error) throw answer;
    return answer;
  };
}
const words = () => called.map(({ what }) => what);

describe('ADD', () => {
  test("takes the addresses of the pod's own interface, and all where none is at it", async () => {
    configure('net', [{ type: 'a' }]);
    const interfaces = [{ name: 'veth1' }, { name: 'eth0', sandbox: '/n' }, { name: 'card1', sandbox: '/n' }];
    const up = async (...at: (number | undefined)[]) => {
      const ips = at.map((index, last) => ({ address: `10.0.0.${last}/24`, interface: index }));
      const answer = ended({ cniVersion: '1.0.0', interfaces, ips });
      return (await network().up(answering({ 'ADD a': answer }), attachment)).ips;
    };
    assert.deepEqual(await up(2, 1, undefined), ['10.0.0.1', '10.0.0.2']);
    assert.deepEqual(await up(2, 0), ['10.0.0.0', '10.0.0.1']);
    assert.deepEqual(await up(7, 1), ['10.0.0.1']);
  });

  test('reads the addresses that plugins gave before CNI 0.3.0', async () => {
    writeFileSync(at('conf', '10-old.conf'), JSON.stringify({ cniVersion: '0.2.0', name: 'old', type: 'a' }));
    const ip4 = { ip: '10.1.2.3/24', gateway: '10.1.2.1', routes: [{ dst: '0.0.0.0/0' }] };
    const answer = { cniVersion: '0.2.0', ip4, ip6: { ip: 'fd00::3/64' } };
    const up = await network().up(answering({ 'ADD a': ended(answer) }), attachment);
    assert.deepEqual(up.ips, ['10.1.2.3', 'fd00::3']);
    assert.deepEqual(cniResultOf(up.result), {
      Interfaces: {
        eth0: {
          IPConfigs: [
            { IP: '10.1.2.3', Gateway: '10.1.2.1' },
            { IP: 'fd00::3', Gateway: '' },
          ],
          ...{ Mac: '', Sandbox: '' },
        },
      },
      DNS: [{}],
      Routes: [{ dst: '0.0.0.0/0' }],
    });
  });

  test('calls plugins in files of their own after those of the list, also at DEL when these files are gone', async () => {
    configure('net', [{ type: 'a' }]);
    mkdirSync(at('conf/net'));
    for (const type of ['c', 'b']) writeFileSync(at('conf/net', `${type}.conf`), JSON.stringify({ type }));
    const own = network();
    await own.up(answering(), attachment);
    rmSync(at('conf/net'), { recursive: true });
    await own.down(answering(), podId);
    assert.deepEqual(words(), ['ADD a', 'ADD b', 'ADD c', 'DEL c', 'DEL b', 'DEL a']);
  });

  test('each plugin gets the result of the one before it, and the pod the last one', async () => {
    configure('net', [{ type: 'a', mtu: 9000 }, { type: 'b' }, { type: 'c' }]);
    const [first, last] = [address('10.0.0.1/8'), address('10.9.9.9/8')];
    const run = answering({ 'ADD a': ended(first), 'ADD b': ended(''), 'ADD c': ended(last) });
    const { ips, result } = await network().up(run, attachment);
    assert.deepEqual([ips, result], [['10.9.9.9'], last]);
    assert.deepEqual(
      called.map(({ stdin }) => stdin.prevResult),
      [undefined, first, first],
      'one that says nothing leaves it as it is',
    );
    assert.deepEqual(called[0]!.stdin, { type: 'a', mtu: 9000, name: 'net', cniVersion: '1.0.0' });
    const told = called[0]!.env.filter((entry) => /^CNI_(CONTAINERID|NETNS|IFNAME|ARGS)=/.test(entry));
    assert.deepEqual(told, [
      `CNI_CONTAINERID=${podId}`,
      'CNI_NETNS=/nowhere',
      'CNI_IFNAME=eth0',
      `CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=${podId};K8S_POD_UID=u`,
    ]);
  });

  test('is on record before the first plugin runs, and its result after the last', async () => {
    configure('net', [{ type: 'a' }]);
    const before: CachedAttachment[][] = [];
    const run = answering();
    await network().up(async (command) => {
      before.push(cached());
      return run(command);
    }, attachment);
    assert.deepEqual([before[0]!.length, before[0]![0]!.result], [1, undefined]);
    assert.deepEqual([cached()[0]!.result, cached()[0]!.berth], [one, { owner: '/data' }]);
  });

  test('joins as many networks as there are to join, each by an interface of its own', async () => {
    for (const name of ['1', '2', '3']) configure(`net${name}`, [{ type: 'abc'[Number(name) - 1]! }]);
    const run = answering({ 'ADD a': ended(address('10.0.0.1/8')), 'ADD b': ended(address('fd00::2/64')) });
    const { ips } = await network(2).up(run, attachment);
    assert.deepEqual(
      [ips, words()],
      [
        ['10.0.0.1', 'fd00::2'],
        ['ADD a', 'ADD b'],
      ],
    );
    assert.ok(called[1]!.env.includes('CNI_IFNAME=eth1'));
    called = [];
    await network(2).down(run, podId);
    assert.deepEqual([words(), cached()], [['DEL b', 'DEL a'], []], 'the last one goes first');
  });

  const failures: Record<string, { answer: CommandResult | Error; message: RegExp; kind?: string }> = {
    'says why, in the words of the specification': {
      answer: ended({ code: 11, msg: 'no room', details: 'all is taken' }, { code: 1 }),
      message: /^CNI plugin b ADD failed: no room: all is taken$/,
    },
    'says why, in words of its own': {
      answer: ended('', { code: 2, stderr: Buffer.from('panic:\x07 oops') }),
      message: /^CNI plugin b ADD failed: panic: {2}oops$/,
    },
    'says nothing': { answer: ended('', { code: 9 }), message: /failed: exit code 9$/ },
    'does not come to an end': {
      answer: ended('', { timedOut: true }),
      message: /b ADD did not finish within 90 s/,
      kind: 'DeadlineExceeded',
    },
    'says too much': { answer: ended(one, { truncated: true }), message: /printed more than 4194304 bytes/ },
    'says no JSON': { answer: ended('hello'), message: /printed no JSON: hello/ },
    'says a result of before': {
      answer: ended({ cniVersion: '2.0.0' }),
      message: /printed a result of CNI version "2.0.0", not of/,
    },
    'loses its shim': { answer: new Error('the shim was lost'), message: /the shim was lost/, kind: '' },
  };
  for (const [name, { answer, message, kind = 'Internal' }] of Object.entries(failures)) {
    test(`a plugin that ${name}: the attempt stays on record, and DEL reaches every plugin`, async () => {
      configure('net', [{ type: 'a' }, { type: 'b' }, { type: 'c' }]);
      const net = network();
      const failed = net.up(answering({ 'ADD b': answer }), attachment);
      await assert.rejects(failed, kind === '' ? { message } : { kind, message });
      const [entry] = cached();
      assert.deepEqual([entry?.result, entry?.berth?.called], [undefined, 2]);
      called = [];
      await net.down(answering(), podId);
      assert.deepEqual([words(), cached()], [['DEL c', 'DEL b', 'DEL a'], []]);
    });
  }

  const addresses: Record<string, { result: unknown; message: RegExp }> = {
    'no address': { result: { ips: [] }, message: /CNI network net gave the pod no IP address/ },
    'no list of addresses': { result: { ips: 'x' }, message: /no IP address/ },
    null: { result: 'null', message: /no IP address/ },
    'what is no address': { result: address('10.1.2.300/24'), message: /"10.1.2.300", which is no IP address/ },
    'an address that is none at all': { result: { ips: [null] }, message: /"", which is no IP address/ },
    '257 addresses': {
      result: { ips: Array(257).fill({ address: '10.0.0.1/8' }) },
      message: /257 addresses: at most 256/,
    },
  };
  for (const [name, { result, message }] of Object.entries(addresses)) {
    test(`a network that gives ${name} is an error, and is undone`, async () => {
      configure('net', [{ type: 'a' }]);
      const net = network();
      await assert.rejects(net.up(answering({ 'ADD a': ended(result) }), attachment), { kind: 'Internal', message });
      await net.down(answering(), podId);
      assert.deepEqual([words(), cached()], [['ADD a', 'DEL a'], []]);
    });
  }

  test('256 addresses are taken', async () => {
    configure('net', [{ type: 'a' }]);
    const many = ended({ ips: Array(256).fill({ address: '10.0.0.1/8' }) });
    assert.equal((await network().up(answering({ 'ADD a': many }), attachment)).ips.length, 256);
  });

  test('without a network to join is refused, and nothing is on record', async () => {
    await assert.rejects(network().up(answering(), attachment), {
      kind: 'FailedPrecondition',
      message: /no network conf/,
    });
    assert.deepEqual([words(), cached()], [[], []]);
  });

  test("a handler's own networks are joined in place of everybody's", async () => {
    configure('net', [{ type: 'a' }]);
    mkdirSync(at('own'));
    writeFileSync(at('own/x.conflist'), JSON.stringify({ name: 'own', cniVersion: '1.0.0', plugins: [{ type: 'b' }] }));
    const net = network();
    await net.up(answering(), { ...attachment, confDir: at('own') });
    await net.down(answering(), podId);
    assert.deepEqual(words(), ['ADD b', 'DEL b'], 'undone as it was done, wherever that is written');
  });
});

describe('DEL', () => {
  const twoPlugins = [{ type: 'a' }, { type: 'b' }];

  test('is told the result of ADD, by every plugin although one fails, and is tried again', async () => {
    configure('net', twoPlugins);
    const net = network();
    await net.up(answering(), attachment);
    called = [];
    const failing = answering({ 'DEL b': ended('', { code: 1 }) });
    await assert.rejects(net.down(failing, podId), /Cannot take down the pod network: net: CNI plugin b DEL failed/);
    assert.deepEqual([words(), cached().length], [['DEL b', 'DEL a'], 1]);
    assert.deepEqual(
      called.map(({ stdin, env }) => [stdin.prevResult, env.includes('CNI_NETNS=')]),
      [
        [one, true],
        [one, true],
      ],
      'there is no such namespace any more',
    );
    await net.down(answering(), podId);
    assert.deepEqual(cached(), []);
    called = [];
    await net.down(answering(), podId);
    assert.deepEqual(words(), [], 'there is nothing to undo any more');
  });

  test('of one network that fails does not keep the others from theirs', async () => {
    configure('net1', [{ type: 'a' }]);
    configure('net2', [{ type: 'b' }]);
    const net = network(2);
    await net.up(answering(), attachment);
    called = [];
    await assert.rejects(net.down(answering({ 'DEL b': ended('', { code: 1 }) }), podId), /net2: CNI plugin b/);
    assert.deepEqual([words(), cached().map(({ networkName }) => networkName)], [['DEL b', 'DEL a'], ['net2']]);
  });

  test('is what it was at ADD, whatever the configuration says now', async () => {
    configure('net', [{ type: 'a', bridge: 'old' }]);
    const net = network();
    await net.up(answering(), attachment);
    configure('net', [{ type: 'b', bridge: 'new' }]);
    called = [];
    await net.down(answering(), podId);
    assert.deepEqual([words(), called[0]!.stdin.bridge], [['DEL a'], 'old']);
  });
});

test('pods wait for the garbage collection under way, whatever becomes of it', async () => {
  configure('net', [{ type: 'a' }], '1.1.0');
  const net = network();
  const collected = net.collectGarbage(() => []).catch(() => {}); // an empty file is no program
  await net.up(answering(), attachment);
  assert.deepEqual(words(), ['ADD a']);
  await collected;
});

describe('a namespace that is kept', () => {
  const entry = { networkName: 'net', containerId: podId, ifName: 'eth0' } as unknown as CachedAttachment;

  for (const netns of ['', '/nowhere', '/proc/self/status', 'a\0b']) {
    test(`${JSON.stringify(netns)} is none: there is nothing to keep`, () => {
      mkdirSync(at('kept'));
      const kept = new KeptNetns(at('kept'));
      const owed = { ...entry, netns };
      assert.equal(KeptNetns.pathOf(owed), '');
      assert.equal(kept.keep(owed), owed);
      kept.release(owed);
      kept.release(owed);
      assert.deepEqual(readdirSync(at('kept')), []);
    });
  }

  test('is found where something is mounted', () => {
    assert.equal(KeptNetns.pathOf({ ...entry, netns: '/proc' }), '/proc');
  });
});
