import { dirname } from 'node:path';
import { usualPath } from '../base/command.ts';
import type { Settings } from '../base/settings.ts';
import { runHere } from '../sys/spawn.ts';
import { examine, type Finding } from './doctor-checks.ts';
import { gatherNodeFacts } from './doctor-facts.ts';

/** How long a file system may take to answer who looks at it. */
const answerMs = 5000;

/** What every check says of this node; of one with a path that hangs only that, since the checks would hang there too. */
export async function nodeFindings(settings: Settings): Promise<Finding[]> {
  const silent = await silentPaths(pathsOf(settings), answerMs);
  return silent.length > 0 ? silent.map(silentFinding) : examine(await gatherNodeFacts(settings));
}

/** The paths of the settings that the checks look at. */
function pathsOf({ dataDir, runDir, socket, cni, handlers }: Settings): string[] {
  const programs = Object.values(handlers).map(({ path }) => path);
  return [...new Set([dataDir, runDir, dirname(socket), cni.confDir, ...cni.binDirs, ...programs])];
}

/** Those that do not answer in time. What is not there answers. Exported for its test. */
export async function silentPaths(paths: readonly string[], ms: number): Promise<string[]> {
  const answers = await Promise.all(paths.map((path) => answersIn(path, ms)));
  return paths.filter((_, index) => !answers[index]);
}

/** A process of its own looks, as the kernel may never let go of one that waits for a file server. It ends with the wait. */
async function answersIn(path: string, deadlineMs: number): Promise<boolean> {
  const script = 'ls -f -- "$1" >/dev/null 2>&1; stat -f -- "$1" >/dev/null 2>&1';
  const argv = ['/bin/sh', '-c', script, 'sh', path];
  try {
    return !(await runHere({ argv, env: [`PATH=${usualPath}`], cwd: '/', deadlineMs })).timedOut;
  } catch {
    return true; // there is no shell: the checks say what else is missing
  }
}

const silentFinding = (path: string): Finding => ({
  check: 'paths',
  grade: 'unfit',
  value: path,
  problem: `what holds it does not answer in ${answerMs / 1000} s; nothing else was looked at`,
  todo: `see which mount it is (findmnt --target ${path}), and whether its server is alive; umount --force --lazy lets go of it`,
});

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
