// A CNI plugin that hangs, fails, lies or floods: the call says so in time and in few words, DEL follows every ADD that was
// attempted, an address is held by living pods only, and nobody else notices.
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { Bystander } from '../harness/bystander.ts';
import { slowness } from '../harness/daemon.ts';
import { ownHost } from '../harness/own-host.ts';
import { podConfig, until } from '../harness/pods.ts';
import { suite } from '../harness/suite.ts';
import { outcomeOf } from './outcome.ts';

await ownHost();

const folder = mkdtempSync(join(tmpdir(), 'berth-cni-'));
after(() => rmSync(folder, { recursive: true }));
const orders = join(folder, 'orders');
const calls = join(folder, 'calls');
mkdirSync(orders);

const result = (ips: string, version = '1.0.0') => `{"cniVersion":"${version}","ips":[${ips}]}`;
const good = result('{"address":"10.1.2.3/24"}');
/** The last plugin of the list, which does what the file of the command's name says. */
writeFileSync(
  join(folder, 'moody'),
  `#!/bin/sh
cat >/dev/null
echo "$CNI_COMMAND $CNI_CONTAINERID" >>${calls}
[ -e ${orders}/$CNI_COMMAND ] && . ${orders}/$CNI_COMMAND
[ "$CNI_COMMAND" = ADD ] && echo '${good}'
exit 0
`,
);
chmodSync(join(folder, 'moody'), 0o755);

type Fault = { readonly script: string; readonly add: number | 'done'; readonly del: number | 'done' };
const internal = grpc.INTERNAL;
const late = grpc.DEADLINE_EXCEEDED;
/** What it does, and how ADD and DEL end with it. What DEL prints means nothing. */
const faults: Record<string, Fault> = {
  hangs: { script: 'exec sleep 1000', add: late, del: late },
  'prints its result and hangs': { script: `echo '${good}'; sleep 1000 & sleep 1000`, add: late, del: late },
  'ignores SIGTERM and hangs': { script: "trap '' TERM; while :; do sleep 1; done", add: late, del: late },
  'fails with a CNI error': { script: `echo '{"code":7,"msg":"no room"}'; exit 1`, add: internal, del: internal },
  'fails without a word': { script: 'exit 3', add: internal, del: internal },
  'is killed': { script: 'kill -9 $$', add: internal, del: internal },
  'prints garbage and fails': { script: 'head -c 9000 /dev/urandom; exit 1', add: internal, del: internal },
  'prints garbage': { script: 'head -c 9000 /dev/urandom; exit 0', add: internal, del: 'done' },
  'prints half a result': { script: `printf '{"cniVersion":"1.0.0","ips":['; exit 0`, add: internal, del: 'done' },
  'prints no object': { script: 'echo 7; exit 0', add: internal, del: 'done' },
  'prints nothing': { script: 'exit 0', add: 'done', del: 'done' }, // the result is that of the plugin before
  'prints a result of a version to come': {
    script: `echo '${result('', '9.0.0')}'; exit 0`,
    add: internal,
    del: 'done',
  },
  'gives no address': { script: `echo '${result('')}'; exit 0`, add: internal, del: 'done' },
  'gives what is no address': {
    script: `echo '${result('{"address":"10.1.2.3\\n1.2.3.4 registry"}')}'; exit 0`,
    add: internal,
    del: 'done',
  },
  'gives ten thousand addresses': {
    script: `printf '{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}'
seq 10000 | sed 's/.*/,{"address":"10.1.2.3\\/24"}/'; echo ']}'; exit 0`,
    add: internal,
    del: 'done',
  },
  'prints 10 MiB': { script: 'head -c 10485760 /dev/zero; exit 0', add: internal, del: 'done' },
};

const pluginSeconds = 2;
const patience = () => ({ deadline: Date.now() + 20_000 * slowness });
const settings = { timeouts: { cni_plugin: pluginSeconds } };

suite('a CNI plugin that is broken', { pluginDirs: [folder], settings }, (bench) => {
  let bystander: Bystander;
  before(async () => {
    bench.daemon.writeConflist([...bench.daemon.plugins(), { type: 'moody' }]);
    bystander = await Bystander.start(bench.daemon, bench.image.busybox);
  });

  const addresses = () => readdirSync(join(bench.daemon.ipamDir, bench.daemon.name)).filter((name) => /^\d/.test(name));
  const called = () => (existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : []);
  /** How `call` ends while the command does this. */
  const under = async (command: string, script: string, call: () => Promise<unknown>): Promise<number | 'done'> => {
    writeFileSync(join(orders, command), `${script}\n`);
    try {
      return await outcomeOf(call, /moody|CNI network/);
    } finally {
      rmSync(join(orders, command));
    }
  };

  for (const [name, { script, add, del }] of Object.entries(faults)) {
    test(`one that ${name}`, () =>
      bystander.watched(name, async () => {
        const { runtime } = bench.daemon;
        rmSync(calls, { force: true });
        const config = podConfig(bench.daemon, 'victim');
        const run = () => runtime.runPodSandbox({ config }, patience());
        let podSandboxId = '';
        const added = await under('ADD', script, async () => {
          ({ podSandboxId } = await run());
        });
        assert.equal(added, add, 'ADD');
        if (added === 'done') await runtime.removePodSandbox({ podSandboxId }, patience());
        const [attempt = ''] = called();
        assert.deepEqual(called(), [attempt, attempt.replace('ADD', 'DEL')], 'DEL follows');
        assert.deepEqual(addresses(), []);

        ({ podSandboxId } = await run()); // the same name, now that it is well
        const stop = () => runtime.stopPodSandbox({ podSandboxId }, patience());
        assert.equal(await under('DEL', script, stop), del, 'DEL');
        await stop();
        await runtime.removePodSandbox({ podSandboxId }, patience());
        await runtime.removePodSandbox({ podSandboxId }, patience());
        assert.deepEqual(addresses(), []);
      }));
  }

  test('one whose GC and STATUS hang: the node says so at once, and pods come up soon', () =>
    bystander.watched('GC and STATUS hang', async () => {
      const { daemon } = bench;
      const conflist = join(daemon.cniDir, '10-test.conflist');
      const list = JSON.parse(readFileSync(conflist, 'utf8'));
      const network = async () => {
        const { status } = await daemon.runtime.status({});
        return status!.conditions.find(({ type }) => type === 'NetworkReady')!;
      };
      writeFileSync(conflist, JSON.stringify({ ...list, cniVersion: '1.1.0', plugins: [{ type: 'moody' }] }));
      assert.equal((await network()).status, true);
      const asked = join(orders, 'asked');
      writeFileSync(join(orders, 'STATUS'), `echo $$ >>${asked}; exec sleep 1000\n`);
      try {
        await until('that it is told', async () => {
          const { status, message } = await network();
          return !status && /has not answered STATUS|did not finish/.test(message);
        });
      } finally {
        rmSync(join(orders, 'STATUS'));
        writeFileSync(conflist, JSON.stringify(list));
      }
      await until('that it is well again', async () => (await network()).status);
      const pids = readFileSync(asked, 'utf8').trim().split('\n');
      rmSync(asked);
      // Each until its own deadline, whatever the newest one said.
      await until('the end of all that were asked', async () => pids.every((pid) => !existsSync(`/proc/${pid}`)));
    }));
});
