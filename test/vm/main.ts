// Builds on the host what the machine lacks the time for, boots it once, and runs the tests that need it.
import { relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureSuite } from '../conformance/go.ts';
import { ensureTestImages } from '../images/index.ts';
import { runInMachine } from './machine.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { all: { type: 'boolean', default: false }, shell: { type: 'string', default: '' } },
});
const root = resolve(import.meta.dirname, '../..');

/** What behaves differently there: AppArmor, cgroup v2, systemd's scopes and slices, kernel 6.1. */
const sample = ['containers-apparmor', 'containers-systemd', 'mounts', 'snapshots'];
const all = [...sample, 'containers', 'containers-userns', 'containers-mounts', 'pods', 'stats-events', 'oci'];
const names = positionals.length > 0 ? positionals : values.all ? all : sample;
const tests = names.map((name) => `test/node/${name}.test.ts`).join(' ');
const focus = values.all ? 'AppArmor|Seccomp|OOM|UserNamespaces|readonly mounts' : 'AppArmor';

await ensureSuite();
await ensureTestImages();
const node = relative(root, process.execPath);
const script =
  values.shell ||
  `export PATH="$PWD/${node.slice(0, node.lastIndexOf('/'))}:$PATH" BERTH_TEST_CGROUP_DRIVER=systemd BERTH_TEST_RUNTIMES=${values.all ? 'crun,runc' : 'crun'}
uname -r
failed=0
node --test --test-concurrency=1 --test-force-exit --test-reporter=spec ${tests} || failed=1
${positionals.length > 0 ? '' : `node scripts/conformance.ts --focus '${focus}' || failed=1`}
exit $failed
`;
process.exitCode = await runInMachine(script, { onLine: (line) => console.log(line), timeoutMs: 45 * 60_000 });
