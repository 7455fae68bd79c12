import { join } from 'node:path';
import { Fault } from '../base/fault.ts';
import { type HostFiles, isNoAnswer } from '../base/host-files.ts';
import { answerMs, hostFiles } from './host-files.ts';

/** In a folder; of more, some answer for all. */
const mostNames = 1000;

/** Whether who opens a path would be answered: what holds it, the file, the files of the folder. What is not there answers. */
async function answers(path: string, files: HostFiles): Promise<boolean> {
  try {
    const facts = await files.stat(path);
    if (!facts) return true;
    await files.fileSystem(path);
    const inside = facts.kind === 'directory' ? ((await files.list(path, mostNames)) ?? []) : [];
    const opened = inside
      .filter(([, { kind }]) => kind === 'file' || kind === 'link')
      .map(([name]) => join(path, name));
    for (const file of facts.kind === 'file' ? [path] : opened) await files.readText(file, 1).catch(onlySilence);
    return true;
  } catch (error) {
    return !isNoAnswer(error);
  }
}

/** Whatever else is wrong is for who reads it to say. */
function onlySilence(error: unknown): void {
  if (isNoAnswer(error)) throw error;
}

/** Those of these paths that do not answer in time. */
export async function silentPaths(paths: readonly string[], ms: number): Promise<string[]> {
  const silent = await Promise.all(
    paths.map(async (path) => {
      using files = hostFiles(ms);
      return (await answers(path, files)) ? [] : [path];
    }),
  );
  return silent.flat();
}

/** Before any of these paths is touched by a process that somebody waits for. @throws Fault DeadlineExceeded that names one */
export async function mustAnswer(paths: readonly string[], ms = answerMs): Promise<void> {
  using files = hostFiles(ms);
  for (const path of paths) {
    if (await answers(path, files)) continue;
    const { problem, todo } = silence(path, ms);
    throw new Fault('DeadlineExceeded', `${path}: ${problem}: ${todo}`);
  }
}

/** What is said of a path that does not answer. */
export const silence = (path: string, ms = answerMs): { readonly problem: string; readonly todo: string } => ({
  problem: `what holds it does not answer in ${ms / 1000} s`,
  todo: `see which mount it is (findmnt --target ${path}), and whether its server is alive; umount --force --lazy lets go of it`,
});
