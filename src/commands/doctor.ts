import type { Settings } from '../base/settings.ts';
import { columns } from './amounts.ts';
import { examine, exitCodeOf, type Finding } from './doctor-checks.ts';
import { gatherNodeFacts } from './doctor-facts.ts';

/** `berth doctor [--json]`: whether this host is fit and Berth on it is well; its exit code is the worst that was found. */
export async function showHealth(settings: Settings, json: boolean): Promise<void> {
  const findings = examine(await gatherNodeFacts(settings));
  process.stdout.write(json ? `${JSON.stringify(findings, null, 2)}\n` : inLines(findings));
  process.exitCode = exitCodeOf(findings);
}

const inLines = (findings: readonly Finding[]): string =>
  columns(
    findings.map(({ check, grade, value, problem, todo }) => [
      grade,
      check,
      problem === '' ? value : `${value}: ${problem}. To do: ${todo}`,
    ]),
  );
