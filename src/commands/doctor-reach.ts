import type { Settings } from '../base/settings.ts';
import { examine, type Finding, type Grade } from './doctor-checks.ts';
import { gatherNodeFacts } from './doctor-facts.ts';
import { answerMs } from './host-files.ts';
import { silence, silentPaths } from './reach.ts';

/** What every check says of this node; of one with a path that hangs only that, since the checks would hang there too. */
export async function nodeFindings(settings: Settings): Promise<Finding[]> {
  const [silent, others] = await Promise.all(
    [pathsOf(settings), othersOf(settings)].map((paths) => silentPaths(paths, answerMs)),
  );
  const warnings = others!.map((path) => silentFinding(path, 'warning', 'what asks for it fails'));
  if (silent!.length === 0) return [...examine(await gatherNodeFacts(settings)), ...warnings];
  return [...silent!.map((path) => silentFinding(path, 'unfit', 'nothing else was looked at')), ...warnings];
}

/** The paths of the settings that the checks look at. */
function pathsOf({ dataDir, runDir, socket, cni, handlers }: Settings): string[] {
  const programs = Object.values(handlers).map(({ path }) => path);
  return [...new Set([dataDir, runDir, socket, cni.confDir, ...cni.binDirs, ...programs])];
}

/** Those that pulls and pods ask for, some of them. */
function othersOf({ images, cni, cdi }: Settings): string[] {
  const all = [
    ...images.certsDir.split(':'),
    images.registriesConf,
    images.authFile,
    cni.confTemplate,
    ...cdi.specDirs,
  ];
  return all.filter((path) => path !== '');
}

function silentFinding(path: string, grade: Grade, consequence: string): Finding {
  const { problem, todo } = silence(path);
  return { check: 'paths', grade, value: path, problem: `${problem}; ${consequence}`, todo };
}

/** A configuration that cannot be read is what is wrong with the node. */
export const configurationFinding = (problem: string): Finding => ({
  check: 'configuration',
  grade: 'unfit',
  value: 'it cannot be read; nothing else was looked at',
  problem,
  todo: 'mend it; berth config prints what the files say then, each setting with what it may be',
});

/** Much of a node is root's to see. */
export const notRootFinding: Finding = {
  check: 'who asks',
  grade: 'unfit',
  value: 'not root; nothing was looked at',
  problem: "what Berth has on a host is root's",
  todo: 'run it as root, with sudo',
};
