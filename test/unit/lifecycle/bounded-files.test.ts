// Files that others write: of whatever size and kind they are, nothing waits for them or holds them in memory.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { errorText } from '../../../src/base/command.ts';
import { endpointsFor } from '../../../src/image/hosts.ts';
import { injectDevices } from '../../../src/lifecycle/container/cdi-devices.ts';
import type { OciRuntime } from '../../../src/lifecycle/runtime/handlers.ts';
import { ociFault } from '../../../src/lifecycle/runtime/oci-command.ts';
import type { ContainerConfig } from '../../../src/model/config.ts';
import { ConflistDirectory } from '../../../src/network/conflist-directory.ts';
import { ResultCache } from '../../../src/network/result-cache.ts';
import { writeFromTemplate } from '../../../src/network/template.ts';
import { Looker } from '../../../src/shim/index.ts';
import { patienceMs } from '../../harness/look.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-bounded-'));
after(() => rmSync(folder, { recursive: true }));
const huge = 2 ** 33;
const container = { cdiDevices: ['vendor/class=a'], annotations: {} } as unknown as ContainerConfig;

/** Puts there what can neither be read to its end nor waited for. */
const kinds: Record<string, (path: string) => void> = {
  huge: (path) => {
    writeFileSync(path, '');
    truncateSync(path, huge);
  },
  pipe: (path) => execFileSync('mkfifo', [path]),
};

test("an OCI runtime's log of any size: its end, at most 4 KiB of it", async () => {
  const log = join(folder, 'runtime.log');
  const end = (text: string) => {
    kinds.huge!(log);
    writeFileSync(log, text, { flag: 'a' });
  };
  end('\n{"level":"info","msg":"no"}\n{"level":"error","msg":"the reason"}\n');
  const fault = async (logFile: string, printed: string) => {
    const outcome = { code: 1, timedOut: false, stdout: Buffer.from(printed), stderr: Buffer.alloc(0) };
    const runtime = { name: 'crun', path: '/bin/crun' } as OciRuntime;
    return (await ociFault({ doing: 'It failed', runtime, logFile }, outcome)).message;
  };
  assert.match(await fault(log, 'printed'), /^It failed: crun: .*the reason$/s);
  end(`\n{"level":"error","msg":"${'x'.repeat(50_000)}"}\n`);
  assert.equal(await fault(log, ''), `It failed: crun: ${'x'.repeat(4096)}`);
  assert.equal(await fault(join(folder, 'none'), 'printed'), 'It failed: crun: printed');
  assert.equal(await fault(join(folder, 'none'), ''), 'It failed: crun: exit code 1');
});

test('the text of a huge output is its end', () => {
  const output = Buffer.alloc(100 << 20, 'ö');
  assert.equal(errorText(output), 'ö'.repeat(2048));
  assert.ok(
    Buffer.byteLength(errorText(Buffer.alloc(100_000, 0xff))) <= 4096,
    'what is no text grows when it becomes one',
  );
  assert.equal(errorText(`a${'ö'.repeat(4096)}`), 'ö'.repeat(2048));
});

for (const [kind, make] of Object.entries(kinds)) {
  test(`${kind} in place of files of the configuration`, { timeout: 10_000 }, async () => {
    const place = join(folder, kind);
    const folders = ['cdi', 'cni', 'cache/results', 'certs/registry.example'].map((name) => join(place, name));
    for (const path of folders) mkdirSync(path, { recursive: true });
    make(join(place, 'cdi/a.json'));
    using looker = new Looker(patienceMs);
    await assert.rejects(
      injectDevices(looker, container, [join(place, 'cdi')], { uid: 0, gid: 0 }),
      /vendor\/class=a is in no specification/,
    );
    make(join(place, 'cni/a.conflist'));
    const { lists, problems } = await new ConflistDirectory(join(place, 'cni')).look();
    assert.deepEqual(lists, []);
    assert.match(problems.join(), /a\.conflist: .*(has more than|no regular file)/);
    const id = 'a'.repeat(64);
    make(join(place, `cache/results/net-${id}-eth0`));
    const [attachment] = await new ResultCache(join(place, 'cache'), 'owner').of(id);
    assert.equal(attachment?.config, '', 'what its name says is known, no more');
    make(join(place, 'template'));
    await assert.rejects(writeFromTemplate(join(place, 'template'), folder, ['10.0.0.0/24']), /cannot be used/);
    make(join(place, 'certs/registry.example/hosts.toml'));
    await assert.rejects(endpointsFor('registry.example', join(place, 'certs')), /has more than|no regular file/);
  });
}
