// Programs in the place of the shim that are none: what started them ends them.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { startShim } from '../../../src/shim/index.ts';
import { processesNamed } from '../../harness/hung.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-start-'));
const native = process.env.BERTH_NATIVE;
after(() => {
  if (native === undefined) delete process.env.BERTH_NATIVE;
  else process.env.BERTH_NATIVE = native;
  rmSync(folder, { recursive: true });
});

const cases = [
  {
    name: 'that speaks another language',
    text: "printf '%01000d' 7 >&3; exec sleep 1311",
    said: /did not come up: .*malformed/,
  },
  {
    name: 'that says why, and hangs up',
    text: 'echo no such luck >&2; exec 3>&-; exec sleep 1311',
    said: /did not come up: no such luck$/,
  },
  { name: 'that ends', text: 'echo no such luck >&2; exit 1', said: /did not come up: no such luck$/ },
];
for (const { name, text, said } of cases) {
  test(`one ${name} is told, and nothing of it goes on`, { timeout: 20_000 }, async () => {
    const podDir = mkdtempSync(join(folder, 'pod-'));
    process.env.BERTH_NATIVE = join(podDir, 'native');
    mkdirSync(process.env.BERTH_NATIVE);
    const program = join(process.env.BERTH_NATIVE, 'berth-shim');
    writeFileSync(program, `#!/bin/sh\n${text}\n`);
    chmodSync(program, 0o755);
    const told: string[] = [];
    const handlers = { onExit: () => told.push('exit'), onLost: () => told.push('lost') };
    await assert.rejects(startShim(podDir, handlers), { kind: 'Unavailable', message: said });
    assert.deepEqual(told, [], 'its caller knows');
    const left = ['berth-shim', 'sleep', 'sh'].flatMap((each) => processesNamed(each, process.pid));
    assert.deepEqual(left, []);
  });
}
