import { normalize } from 'node:path/posix';
import { usualPath } from '../base/command.ts';
import { failedPrecondition, invalidArgument } from '../base/fault.ts';
import { resolveCapabilities } from './capabilities.ts';
import { throughProgram } from './environment.ts';
import type { SpecInput } from './input.ts';
import { processLabel } from './selinux.ts';
import type { OciProcess } from './spec.ts';

/** execve(2) fails with E2BIG beyond MAX_ARG_STRLEN (32 pages) for any one string. */
const longestString = 131072;

/** The `process` of config.json. InvalidArgument for what execve(2) could not take, and for a directory that leaks the host. */
export function buildProcess(input: SpecInput): OciProcess {
  const { container, user, host, apparmorProfile } = input;
  const selinuxLabel = processLabel(input);
  const { env, bytes } = environment(input);
  const groups = [...new Set([...user.additionalGids, ...(input.injected?.additionalGids ?? [])])];
  return {
    terminal: container.tty,
    user: {
      uid: user.uid,
      gid: user.gid,
      ...(groups.length > 0 ? { additionalGids: groups } : {}),
    },
    args: throughProgram(commandLine(input), bytes),
    env,
    cwd: workingDirectory(container.workingDir || input.image.workingDir),
    capabilities: resolveCapabilities(container.security, host.capabilities, input.unasked?.capabilities),
    noNewPrivileges: container.security.noNewPrivs,
    oomScoreAdj: clampOomScore(container.resources.oomScoreAdj, host.oomScoreAdjMin),
    ...(input.rlimits && { rlimits: [...input.rlimits] }),
    ...(host.apparmor && apparmorProfile !== '' ? { apparmorProfile } : {}),
    ...(selinuxLabel !== '' ? { selinuxLabel } : {}),
  };
}

/**
 * Kubernetes' rule: a command replaces entrypoint and cmd; args alone replace cmd. An entrypoint of one empty word is none: so
 * an image takes away that of the image it was built on.
 */
function commandLine({ container, image }: SpecInput): string[] {
  const isNone = image.entrypoint.length === 1 && image.entrypoint[0] === '';
  const args =
    container.command.length > 0
      ? [...container.command, ...container.args]
      : [...(isNone ? [] : image.entrypoint), ...(container.args.length > 0 ? container.args : image.cmd)];
  if (args.length === 0 || args[0] === '') {
    throw failedPrecondition(
      `Image ${JSON.stringify(container.image.image)} has no command: set one in the container's configuration`,
    );
  }
  return args.map((arg, index) => passable(`Argument ${index}`, arg));
}

/**
 * Of equal names the last value counts, in the place of the first: PATH, the operator's, the image's, the request's, the devices',
 * HOME. `bytes`: the names of those that are no UTF-8.
 */
function environment({ container, image, pod, user, host, injected, unasked }: SpecInput) {
  const env = new Map([['PATH', usualPath]]);
  const bytes = new Set<string>();
  if (container.tty) env.set('TERM', 'xterm');
  for (const entry of [...(unasked?.env ?? []), ...image.env]) {
    const equals = entry.indexOf('=');
    // A name alone would mean "inherit from the host" to some runtimes; nothing is inherited here.
    if (equals > 0) env.set(entry.slice(0, equals), entry.slice(equals + 1));
  }
  env.set('HOSTNAME', pod.hostname || host.hostname);
  for (const { key, value, encoding } of container.envs) {
    if (key === '' || key.includes('=')) {
      throw invalidArgument(
        `Environment variable ${JSON.stringify(key.slice(0, 64))}: a name is not empty and has no =`,
      );
    }
    env.set(key, value);
    if (encoding) bytes.add(key);
    else bytes.delete(key);
  }
  for (const entry of injected?.env ?? []) {
    const name = entry.slice(0, entry.indexOf('='));
    env.set(name, entry.slice(name.length + 1));
    bytes.delete(name);
  }
  if (!env.has('HOME')) env.set('HOME', user.home);
  const entries = [...env].map(([name, value]) => {
    const how = bytes.has(name) ? ', which is not UTF-8, so that each byte beyond ASCII counts twice,' : '';
    return passable(`Environment variable ${JSON.stringify(name.slice(0, 64))}${how}`, `${name}=${value}`);
  });
  return { env: entries, bytes };
}

function workingDirectory(path: string): string {
  const absolute = passable('Working directory', path === '' ? '/' : path.startsWith('/') ? path : `/${path}`);
  const plain = normalize(absolute).replace(/(?<=.)\/$/, ''); // the text alone: `..` never meets a link
  if (leavesThroughProc(plain)) {
    throw invalidArgument(`Working directory ${JSON.stringify(path.slice(0, 200))} is refused: use a plain path`);
  }
  return plain;
}

/**
 * True for a clean path below /proc/<pid>: in fd, cwd or root it would be resolved through whatever descriptors the OCI
 * runtime holds, and open the host (CVE-2024-21626).
 */
export const leavesThroughProc = (path: string): boolean => /^\/proc\/(self|thread-self|\d+)\/./.test(path);

/** The text itself is not quoted: it may be a password. */
function passable(what: string, text: string): string {
  if (text.includes('\0')) {
    throw invalidArgument(`${what} holds a NUL character: remove it`);
  }
  const size = text.length * 3 < longestString ? 0 : Buffer.byteLength(text);
  if (size < longestString) return text;
  throw invalidArgument(`${what} has ${size} bytes: Linux takes 131071`);
}

/** Without CAP_SYS_RESOURCE nobody may go below the value that the daemon itself has (proc(5)). */
export const clampOomScore = (wanted: number, lowest: number) => Math.min(1000, Math.max(wanted, lowest));
