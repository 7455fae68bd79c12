// Builds on the host what the machine lacks the time for, boots it once, and runs the tests that need it.
import { resolve } from 'node:path';
import { optionsOf } from '../../scripts/options.ts';
import { ensureSuite } from '../conformance/go.ts';
import { ensureProbe } from '../harness/oci-probe.ts';
import { ensureTestImages } from '../images/index.ts';
import { ensureServicePrograms } from '../kubernetes/index.ts';
import { refuseLinksOut, runInMachine, scriptHead } from './machine.ts';
import { ensurePackages } from './packages.ts';

const { values, positionals } = optionsOf('scripts/vm-tests --help', {
  allowPositionals: true,
  options: {
    all: { type: 'boolean', default: false },
    focus: { type: 'string', default: '' },
    shell: { type: 'string', default: '' },
  },
});
const root = resolve(import.meta.dirname, '../..');

/** What behaves differently there: AppArmor, cgroup v2, systemd's scopes and slices, kernel 6.1; and what needs systemd. */
const sample = { tests: ['containers-apparmor', 'containers-systemd', 'installed'], focus: 'AppArmor' };
const all = {
  tests:
    `containers-apparmor containers-systemd installed containers containers-images containers-mounts containers-userns
    kube-proxy mounts oci pods snapshots stats-events`.split(/\s+/),
  focus: 'AppArmor|Seccomp|UserNamespaces|OOM|stats|sysctls|NoNewPrivs|readonly mounts',
};
const named = positionals.length > 0 || values.focus !== '';
const { tests, focus } = named ? { tests: positionals, focus: values.focus } : values.all ? all : sample;

try {
  refuseLinksOut(root);
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
await ensureSuite();
const images = await ensureTestImages();
await ensureProbe();
if (tests.includes('installed')) await ensurePackages();
if (tests.includes('kube-proxy')) await ensureServicePrograms();
const runtimes = process.env.BERTH_TEST_RUNTIMES ?? (values.all ? 'crun,runc' : 'crun');
const files = tests.map((name) => `test/node/${name}.test.ts`).join(' ');
const script =
  values.shell ||
  `${scriptHead(images, { BERTH_TEST_RUNTIMES: runtimes, BERTH_TEST_SLOWNESS: '4' })}failed=0
${files === '' ? '' : `for file in ${files}; do node --test-force-exit --test-reporter=spec "$file" || failed=1; done`}
${focus === '' ? '' : `node scripts/conformance.ts --focus '${focus}' || failed=1`}
exit $failed
`;
process.exitCode = await runInMachine(script, {
  onLine: (line) => console.log(line),
  timeoutMs: (values.all ? 180 : 45) * 60_000,
});
