import type { Settings } from '../base/settings.ts';
import { visible } from '../base/text.ts';
import { checkRegistry, type RegistryAnswer } from '../image/index.ts';
import { columns } from './amounts.ts';
import { examine, exitCodeOf, type Finding } from './doctor-checks.ts';
import { gatherNodeFacts } from './doctor-facts.ts';
import { tell } from './tell.ts';

type Options = { readonly json: boolean; readonly registry: string | undefined };

/** `berth doctor`: whether this host is fit and Berth on it is well; its exit code is the worst that was found. */
export async function showHealth(settings: Settings, { json, registry }: Options): Promise<void> {
  const answers = registry === undefined ? [] : await checkRegistry(registry, settings.images);
  const findings = [...examine(await gatherNodeFacts(settings)), ...answers.map(registryFinding)];
  tell(json ? visible(`${JSON.stringify(findings, null, 2)}\n`, 'lines') : inLines(findings));
  process.exitCode = exitCodeOf(findings);
}

function registryFinding({ base, problem, withLogin }: RegistryAnswer): Finding {
  const value = `${base}, asked ${withLogin ? 'with the credentials of images.auth_file' : 'without credentials'}`;
  if (problem === null) return { check: 'registry', grade: 'well', value, problem: '', todo: '' };
  const todo = 'berth explain HOST/NAME says who is asked, by which file, and what each is shown';
  return { check: 'registry', grade: 'warning', value, problem, todo };
}

const inLines = (findings: readonly Finding[]): string =>
  columns(
    findings.map(({ check, grade, value, problem, todo }) => [
      grade,
      check,
      problem === '' ? value : `${value}: ${problem}. To do: ${todo}`,
    ]),
  );
