import { spawn } from 'node:child_process';
import { dirname } from 'node:path';
import { isErrno } from '../base/fault.ts';
import type { Settings } from '../base/settings.ts';
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

/**
 * A process of its own looks, as the kernel may never let go of one that waits for a file server. It is left behind then, and
 * ends with the wait.
 */
function answersIn(path: string, ms: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const script = 'ls -f -- "$1"; stat -f -- "$1"';
  const child = spawn('/bin/sh', ['-c', script, 'sh', path], {
    stdio: 'ignore',
    detached: true, // so that the kill is for what the shell started too
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  const late = setTimeout(() => {
    resolve(false);
    kill(child.pid);
    child.unref();
  }, ms);
  const over = () => {
    clearTimeout(late);
    resolve(true);
  };
  child.once('exit', over);
  child.once('error', over); // there is no shell: the checks say what else is missing
  return promise;
}

function kill(group: number | undefined): void {
  try {
    if (group !== undefined) process.kill(-group, 'SIGKILL');
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error; // it ended just now
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
