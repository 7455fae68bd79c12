import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type CommandResult, errorText, usualPath } from '../../base/command.ts';
import { Fault, isErrno } from '../../base/fault.ts';
import { jsonOf } from '../../base/parse.ts';
import type { Settings } from '../../base/settings.ts';
import type { Shim } from '../../shim/index.ts';
import { readEnd } from '../../sys/read-file.ts';
import type { OciRuntime } from './handlers.ts';

/** Environment of OCI runtimes: their helpers (newuidmap, criu) are looked up in PATH. */
export const ociRuntimeEnv = [`PATH=${usualPath}`];

/** How a command of an OCI runtime ended, as the shim tells it. */
export type OciOutcome = Pick<CommandResult, 'code' | 'timedOut' | 'stdout' | 'stderr'>;

type Needs = { readonly settings: Settings };

/** How long one command may take, milliseconds. */
export const ociDeadlineMs = ({ settings }: Needs): number => settings.timeouts.ociRuntime * 1000;

/** Runs one command of an OCI runtime in a pod's shim; what came of it is the caller's to judge. */
export const runOci = (
  deps: Needs,
  shim: Shim,
  argv: readonly string[],
  deadlineMs = ociDeadlineMs(deps),
): Promise<OciOutcome> => shim.run({ argv, env: ociRuntimeEnv, cwd: '/', deadlineMs: Math.round(deadlineMs) });

/** What was to be done, in the words of the error (`Cannot start container 12ab`), and by whom. */
export type OciWork = { readonly doing: string; readonly runtime: OciRuntime; readonly logFile?: string };

/**
 * Why a command of an OCI runtime failed: DeadlineExceeded, ResourceExhausted where the disk was full, else Internal; with
 * the reason that it wrote to its JSON log, or printed.
 */
export async function ociFault({ doing, runtime, logFile }: OciWork, outcome: OciOutcome): Promise<Fault> {
  const { timedOut, code, stdout, stderr } = outcome;
  if (timedOut) return new Fault('DeadlineExceeded', `${doing}: ${runtime.path} did not finish in time and was killed`);
  const said = (logFile && (await lastErrors(logFile))) || errorText(Buffer.concat([stdout, stderr]));
  const reason = said || `exit code ${code}${logFile ? await noRoom(dirname(logFile)) : ''}`;
  const kind = /no space left on device|disk quota exceeded/i.test(reason) ? 'ResourceExhausted' : 'Internal';
  return new Fault(kind, `${doing}: ${runtime.name}: ${reason}`);
}

/** Where less is free, the words of an OCI runtime may have found no room either. */
const fewBytes = 64 * 1024;

/** That a disk is full, to be added to a reason; empty if it is not. */
async function noRoom(folder: string): Promise<string> {
  const { bsize, bavail, files, ffree } = await statfs(folder);
  const isFull = bavail * bsize < fewBytes || (files > 0 && ffree === 0);
  return isFull ? `, and no space left on device: ${folder}` : '';
}

/** The end of a log says why the program ended; what comes before it may be of any size. */
const mostLogBytes = 64 * 1024;

/** The errors at the end of an OCI runtime's JSON log; empty where there is none. */
async function lastErrors(logFile: string): Promise<string> {
  try {
    const lines = (await readEnd(logFile, mostLogBytes)).toString().trim().split('\n').slice(-8);
    const errors = lines.map(messageOfLine).filter((text) => text !== '');
    return errors.length > 0 ? errorText(errors.join('; ')) : '';
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  }
}

function messageOfLine(line: string): string {
  try {
    const { level, msg } = jsonOf(line) as { level?: unknown; msg?: unknown };
    return level === 'error' || level === 'fatal' || level === undefined ? String(msg ?? '') : '';
  } catch {
    return line;
  }
}
