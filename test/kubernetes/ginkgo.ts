// ginkgo, which runs specs of a suite of Kubernetes' in several processes at once.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { parseReport, type Spec } from '../conformance/report.ts';
import { ensureSuiteProgram } from './index.ts';

export type SpecChoice = {
  /** For all that the suite writes; it stays. */
  readonly folder: string;
  readonly focus: readonly string[];
  readonly skip: readonly string[];
  /** Processes that run specs at once. */
  readonly processes: number;
};

export type Suite = {
  readonly name: 'e2e.test' | 'e2e_node.test';
  readonly flags: readonly string[];
  /** What the suite finds beside itself: by name, a program's path. */
  readonly programs: Readonly<Record<string, string>>;
};

/**
 * Runs the suite on this host, which is one of a test's own (own-host.ts). A spec that another keeps from running, and one
 * that finds the host without what it is about, is skipped.
 */
export async function runSuite(suite: Suite, { folder, focus, skip, processes }: SpecChoice): Promise<Spec[]> {
  const bin = join(folder, 'bin');
  mkdirSync(bin, { recursive: true });
  const path = join(bin, suite.name); // ginkgo goes by the name
  symlinkSync(await ensureSuiteProgram(suite.name), path);
  for (const [name, target] of Object.entries(suite.programs)) symlinkSync(target, join(bin, name));
  const ginkgo = await ensureSuiteProgram('ginkgo');
  const args = [
    `--nodes=${processes}`,
    '--no-color',
    '--timeout=5h',
    '--flake-attempts=1',
    ...focus.map((text) => `--focus=${text}`),
    ...skip.map((text) => `--skip=${text}`),
    `--output-dir=${folder}`,
    '--json-report=report.json',
    path,
    '--',
    `--report-dir=${folder}`,
    '--prepull-images=false',
    ...suite.flags,
  ];
  const log = openSync(join(folder, 'suite.log'), 'w');
  const child = spawn(ginkgo, args, {
    cwd: folder,
    stdio: ['ignore', log, log],
    env: { PATH: `${bin}:/usr/sbin:/usr/bin:/sbin:/bin`, HOME: folder, TMPDIR: folder },
  });
  await once(child, 'close');
  closeSync(log);
  const report = join(folder, 'report.json');
  if (!existsSync(report)) throw new Error(`The suite left no report: see ${folder}`);
  return parseReport(readFileSync(report, 'utf8'));
}
