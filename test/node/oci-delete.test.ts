// What is dead is deleted by one call without --force: runc 1.5 sleeps 100 ms in every forced one.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { ownHost } from '../harness/own-host.ts';
import { TestPod, until, untilExited } from '../harness/pods.ts';
import { ociRuntimes, suite } from '../harness/suite.ts';
import { program } from '../images/run.ts';

await ownHost();

const folder = mkdtempSync(join(tmpdir(), 'berth-oci-delete-'));
const calls = join(folder, 'calls');
const stubborn = join(folder, 'stubborn');

/** The real one, which tells what it was called with; while `stubborn` exists it deletes nothing without --force. */
function wrapper(name: string): string {
  const path = join(folder, name);
  const script = `#!/bin/sh
case "$*" in
*' delete --force '*) echo force >>${calls} ;;
*' delete '*) echo plain >>${calls}; [ ! -e ${stubborn} ] || exit 1 ;;
esac
exec ${program(name, name)} "$@"
`;
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  return path;
}

const deletes = (): string[] => (existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : []);

describe('deletion of OCI runtime state', () => {
  after(() => rmSync(folder, { recursive: true }));
  for (const handler of ociRuntimes) {
    const settings = { handlers: { [handler]: { path: wrapper(handler) } } };
    suite(handler, { handler, settings }, (bench) => {
      const kept = (id: string) => existsSync(join(bench.daemon.runDir, 'oci', handler, id));

      test(`${handler}: one delete, without force, however a container ends`, async () => {
        const pod = await TestPod.run(bench.daemon, 'deleted');
        const ends: Record<string, (id: string) => Promise<unknown>> = {
          'exit 0': (id) => untilExited(bench.daemon, id),
          'sleep 1000': (containerId) => bench.daemon.runtime.stopContainer({ containerId, timeout: 0n }),
          'sleep 1001': (containerId) => bench.daemon.runtime.removeContainer({ containerId }),
        };
        for (const [script, end] of Object.entries(ends)) {
          rmSync(calls, { force: true });
          const id = await pod.sh(script.replace(' ', '-'), bench.image.busybox, script);
          await end(id);
          await until('the release', async () => !kept(id));
          assert.deepEqual(deletes(), ['plain'], script);
        }
        await pod.remove();
      });

      test(`${handler}: what it does not take for dead is deleted with force`, async () => {
        const pod = await TestPod.run(bench.daemon, 'stubborn');
        rmSync(calls, { force: true });
        writeFileSync(stubborn, '');
        try {
          const id = await pod.sh('c', bench.image.busybox, 'sleep 1000');
          await bench.daemon.runtime.removeContainer({ containerId: id });
          assert.deepEqual([deletes(), kept(id)], [['plain', 'force'], false]);
        } finally {
          rmSync(stubborn);
        }
        await pod.remove();
      });
    });
  }
});
