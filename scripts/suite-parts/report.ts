import { writeFileSync } from 'node:fs';
import type { Spec } from '../../test/conformance/report.ts';
import { release } from '../../test/kubernetes/release.ts';

export type ReportOptions = {
  /** Where the logs are. */
  readonly folder: string;
  /** A file for the verdicts, or nothing. */
  readonly out: string;
  readonly title: string;
};

/** Prints what failed and how many passed; gives the exit code. */
export function report(specs: readonly Spec[], { folder, out, title }: ReportOptions): number {
  const ran = specs.filter(({ state }) => state === 'passed' || state === 'failed');
  const failed = ran.filter(({ state }) => state === 'failed');
  const lines = ran.map(({ state, name }) => `${state} ${name}`).sort();
  if (out !== '') writeFileSync(out, `${lines.join('\n')}\n`);
  for (const { name, message } of failed)
    console.log(`✖ ${name}\n    ${message.split('\n').slice(0, 6).join('\n    ')}`);
  console.log(`${folder} has the logs`);
  console.log(
    `Kubernetes ${release().version}, ${title}: ${ran.length - failed.length} passed, ${failed.length} failed`,
  );
  return ran.length > 0 && failed.length === 0 ? 0 : 1;
}
