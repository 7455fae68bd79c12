import { isFault, messageOf } from '../base/fault.ts';
import type { Settings } from '../base/settings.ts';
import { visible } from '../base/text.ts';
import { checkRegistry, type RegistryAnswer } from '../image/index.ts';
import { columns } from './amounts.ts';
import { exitCodeOf, type Finding } from './doctor-checks.ts';
import { configurationFinding, nodeFindings, notRootFinding } from './doctor-reach.ts';
import { hostFiles } from './host-files.ts';
import { tell } from './tell.ts';

type Options = { readonly json: boolean; readonly registry: string | undefined };

/** `berth doctor`: whether this host is fit and Berth on it is well; its exit code is the worst that was found. */
export async function showHealth(load: () => Promise<Settings>, { json, registry }: Options): Promise<void> {
  const findings = await findingsOf(load, registry);
  tell(json ? visible(`${JSON.stringify(findings, null, 2)}\n`, 'lines') : inLines(findings));
  process.exitCode = exitCodeOf(findings);
}

async function findingsOf(load: () => Promise<Settings>, registry: string | undefined): Promise<Finding[]> {
  if (process.geteuid?.() !== 0) return [notRootFinding];
  let settings: Settings;
  try {
    settings = await load();
  } catch (error) {
    if (!isFault(error, 'InvalidArgument', 'DeadlineExceeded')) throw error;
    return [configurationFinding(messageOf(error))];
  }
  const answers =
    registry === undefined ? [] : await checkRegistry(registry, { ...settings.images, hostFiles: () => hostFiles() });
  return [...(await nodeFindings(settings)), ...answers.map(registryFinding)];
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
