import { usualPath } from '../base/command.ts';
import { Fault } from '../base/fault.ts';
import { runHere } from '../sys/spawn.ts';

/** How long a file system may take to answer who looks at it, and a daemon that starts, at boot maybe. */
export const answerMs = 5000;
export const bootAnswerMs = 20_000;

/**
 * Looks at paths as whoever opens them would: what holds each, the file, the files of the folder. A process of its own does it,
 * as the kernel may never let go of one that waits for a file server; it ends with the wait. What is not there answers.
 */
const look = `for path; do
  echo
  stat -f -- "$path" >/dev/null 2>&1
  for file in "$path" "$path"/*; do [ ! -f "$file" ] || true <"$file"; done 2>/dev/null
done`;

/** The first of these paths that does not answer in time; undefined if all do. */
async function silentPath(paths: readonly string[], deadlineMs: number): Promise<string | undefined> {
  const argv = ['/bin/sh', '-c', look, 'sh', ...paths];
  try {
    const { timedOut, stdout } = await runHere({ argv, env: [`PATH=${usualPath}`], cwd: '/', deadlineMs });
    return timedOut ? paths[Math.max(stdout.length, 1) - 1] : undefined;
  } catch {
    return undefined; // there is no shell: whoever looks says what else is missing
  }
}

/** All of them that do not answer in time. */
export async function silentPaths(paths: readonly string[], ms: number): Promise<string[]> {
  const silent = await Promise.all(paths.map((path) => silentPath([path], ms)));
  return silent.filter((path) => path !== undefined);
}

/** Before any of these paths is touched by a process that somebody waits for. @throws Fault DeadlineExceeded that names one */
export async function mustAnswer(paths: readonly string[], ms = answerMs): Promise<void> {
  const silent = await silentPath(paths, ms);
  if (silent === undefined) return;
  const { problem, todo } = silence(silent, ms);
  throw new Fault('DeadlineExceeded', `${silent}: ${problem}: ${todo}`);
}

/** What is said of a path that does not answer. */
export const silence = (path: string, ms = answerMs): { readonly problem: string; readonly todo: string } => ({
  problem: `what holds it does not answer in ${ms / 1000} s`,
  todo: `see which mount it is (findmnt --target ${path}), and whether its server is alive; umount --force --lazy lets go of it`,
});
