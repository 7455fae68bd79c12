// Boots the machine and runs Kubernetes' suite of a node there: on Berth's package, with the systemd cgroup driver. What that
// takes is made on the host.
import { copyFileSync, mkdtempSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { askedOf } from '../../scripts/suite-parts/asked.ts';
import { nodeSuite, nodeSuitePrograms } from '../../scripts/suite-parts/node.ts';
import { startSuiteRegistry } from '../../scripts/suite-parts/runtime.ts';
import { ensureTestImages } from '../images/index.ts';
import { cacheFolder } from '../images/paths.ts';
import { program } from '../images/run.ts';
import { chosenMinor } from '../kubernetes/release.ts';
import { refuseLinksOut, runInMachine, scriptHead } from './machine.ts';
import { ensurePackage } from './packages.ts';

const root = resolve(import.meta.dirname, '../..');
const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

/** A folder in the checkout with containerd, which the machine has not. */
function containerdPrograms(from: string): string {
  const folder = cacheFolder('peers', 'machine');
  for (const name of ['containerd', 'containerd-shim-runc-v2']) {
    copyFileSync(from === '' ? program(name, 'containerd') : join(from, name), join(folder, name));
  }
  return relative(root, folder);
}

async function main(): Promise<number> {
  const asked = askedOf({ ...nodeSuite, name: 'vm-tests --node-suite' });
  if (!asked) return 0;
  const { runtime, containerd, focus, skip, processes, out } = asked;
  try {
    refuseLinksOut(root);
  } catch (error) {
    console.error((error as Error).message);
    return 1;
  }
  await nodeSuitePrograms();
  await (runtime === 'containerd' ? undefined : ensurePackage());
  await (await startSuiteRegistry())[Symbol.asyncDispose](); // what it was given stays in its folder
  const verdicts = join(mkdtempSync(join(cacheFolder('node-suite'), 'machine-')), 'verdicts.txt');
  const args = [
    ...[
      '--kubernetes',
      chosenMinor(),
      '--runtime',
      runtime,
      '--processes',
      `${processes}`,
      '--out',
      relative(root, verdicts),
    ],
    ...(runtime === 'containerd' ? ['--containerd', containerdPrograms(containerd)] : []),
    ...focus.flatMap((text) => ['--focus', text]),
    ...skip.flatMap((text) => ['--skip', text]),
  ];
  const script = `${scriptHead(await ensureTestImages())}exec node scripts/node-suite.ts ${args.map(quoted).join(' ')}\n`;
  const code = await runInMachine(script, {
    onLine: (line) => console.log(line),
    timeoutMs: 6 * 3600_000,
    clock: 'instructions',
  });
  if (out !== '') copyFileSync(verdicts, out);
  return code;
}

process.exitCode = await main();
