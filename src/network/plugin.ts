import { join } from 'node:path';
import { errorText, type RunCommand, usualPath } from '../base/command.ts';
import { Fault } from '../base/fault.ts';
import { type HostFiles, isNoAnswer } from '../base/host-files.ts';
import { isObject } from '../base/json.ts';
import { jsonOf } from '../base/parse.ts';
import type { PluginConfig } from './conflist.ts';

export type CniCommand = 'ADD' | 'DEL' | 'GC' | 'STATUS';

/** The parameters of one plugin call (CNI spec, section 2); all but the command are empty for GC and STATUS. */
export type CniCall = {
  readonly command: CniCommand;
  readonly containerId: string;
  readonly netns: string;
  readonly ifName: string;
  readonly args: readonly (readonly [string, string])[];
};

const maxResult = 4 << 20;
/** The program of a plugin is not installed, so it was not called. */
export class MissingPlugin extends Fault {
  readonly type: string;

  constructor(type: string, binDirs: readonly string[]) {
    super('FailedPrecondition', `CNI plugin ${JSON.stringify(type)} is in none of ${binDirs.join(', ')}: install it`);
    this.type = type;
  }
}

/** Where plugins are, and by whom that is read. */
export type Programs = { readonly binDirs: readonly string[]; readonly files: HostFiles };

/** The first executable file of this name, or null. @throws Fault DeadlineExceeded if a directory does not answer */
export async function findPlugin(type: string, { binDirs, files }: Programs): Promise<string | null> {
  for (const folder of binDirs) {
    const path = join(folder, type);
    try {
      const facts = await files.stat(path);
      if (facts?.kind === 'file' && (facts.mode & 0o111) !== 0) return path;
    } catch (error) {
      if (isNoAnswer(error)) throw error;
      // the next folder may have it
    }
  }
  return null;
}

/**
 * Runs one plugin; returns the result that it printed for ADD, or null when it printed nothing.
 * @throws MissingPlugin before anything ran; Fault.
 */
export async function callPlugin(
  run: RunCommand,
  programs: Programs,
  deadlineMs: number,
  call: CniCall,
  plugin: PluginConfig,
  stdin: object,
): Promise<unknown> {
  const name = `CNI plugin ${plugin.type} ${call.command}`;
  const { binDirs } = programs;
  const path = await findPlugin(plugin.type, programs);
  if (!path) throw new MissingPlugin(plugin.type, binDirs);
  const result = await run({
    argv: [path],
    env: [
      `PATH=${usualPath}`, // the standard plugins look iptables and ip up; nothing else of our environment concerns them
      `CNI_COMMAND=${call.command}`,
      `CNI_CONTAINERID=${call.containerId}`,
      `CNI_NETNS=${call.netns}`,
      `CNI_IFNAME=${call.ifName}`,
      `CNI_ARGS=${call.args.map(([key, value]) => `${key}=${value}`).join(';')}`,
      `CNI_PATH=${binDirs.join(':')}`,
    ],
    cwd: '/',
    stdin: Buffer.from(JSON.stringify(stdin)),
    deadlineMs,
    maxOutput: maxResult,
  });
  if (result.timedOut) throw new Fault('DeadlineExceeded', `${name} did not finish within ${deadlineMs / 1000} s`);
  if (result.code !== 0)
    throw new Fault('Internal', `${name} failed: ${reasonOf(result.stdout, result.stderr, result.code)}`);
  if (call.command !== 'ADD') return null; // what others print means nothing
  if (result.truncated) throw new Fault('Internal', `${name} printed more than ${maxResult} bytes`);
  const text = result.stdout.toString().trim();
  return text === '' ? null : resultOf(text, name);
}

/** The versions whose results are read here (CNI spec, section 5). */
const resultVersions = new Set(['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']);

function resultOf(text: string, name: string): unknown {
  let result: { readonly cniVersion?: unknown } | null;
  try {
    result = jsonOf(text) as typeof result;
  } catch {
    throw new Fault('Internal', `${name} printed no JSON: ${errorText(text)}`);
  }
  const version = result?.cniVersion;
  if (version === undefined || resultVersions.has(String(version))) return withAddresses(result);
  const known = [...resultVersions].join(', ');
  throw new Fault(
    'Internal',
    `${name} printed a result of CNI version ${errorText(JSON.stringify(version))}, not of ${known}`,
  );
}

/** Before 0.3.0 there was one address of each family, `ip4` and `ip6`, with its routes: told as later versions do. */
function withAddresses(result: unknown): unknown {
  if (!isObject(result) || result.ips !== undefined) return result;
  const old = [result.ip4, result.ip6].filter(isObject);
  if (old.length === 0) return result;
  const ips = old.map(({ ip, gateway }) => ({ address: ip, ...(gateway === undefined ? {} : { gateway }) }));
  const routes = old.flatMap((family) => (Array.isArray(family.routes) ? family.routes : []));
  return { ...result, ips, routes };
}

/** CNI spec, section 5: an error is JSON on standard output with code, msg and details. */
function reasonOf(stdout: Buffer, stderr: Buffer, code: number): string {
  try {
    const { msg, details } = jsonOf(stdout.toString()) as { msg?: unknown; details?: unknown };
    if (typeof msg === 'string' && msg !== '') return errorText(details ? `${msg}: ${details}` : msg);
  } catch {
    // not the format that the spec asks for: show what there is
  }
  return errorText(stderr.length > 0 ? stderr : stdout) || `exit code ${code}`;
}
