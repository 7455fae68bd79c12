import { release } from 'node:os';
import { dirname } from 'node:path';
import { errorText } from '../../base/command.ts';
import { messageOf } from '../../base/fault.ts';
import { log } from '../../base/log.ts';
import { jsonOf } from '../../base/parse.ts';
import { runHere } from '../../sys/spawn.ts';

/** What pods and containers of a handler can ask for. */
export type HandlerFeatures = {
  /** The first line of `--version`, or empty: it could not be asked. */
  readonly version: string;
  readonly recursiveReadOnly: boolean;
  readonly userNamespaces: boolean;
};

/** Of a program that does not say what it can do. */
export const noFeatures: HandlerFeatures = { version: '', recursiveReadOnly: false, userNamespaces: false };

/** mount_setattr(2), which makes whole trees read-only, came with Linux 5.12. */
const recursiveSince = [5, 12] as const;
/** Overlays of layers with mapped owners came with Linux 5.19. */
const mappedLayersSince = [5, 19] as const;
/** Runtimes before `features` (runc 1.1, crun 1.8.2), by what is known of them. */
const known = [
  { name: 'crun', recursiveSince: [1, 4], userSince: [1, 0] },
  { name: 'runc', recursiveSince: [1, 1], userSince: [1, 0] },
] as const;
const deadlineMs = 10_000;
const longestVersion = 200;

type Version = readonly [major: number, minor: number];
const atLeast = ([a, b]: Version, [major, minor]: Version) => a > major || (a === major && b >= minor);

/** `crun version 1.8.1` as name and number; null for other words. */
function parseVersion(text: string): { name: string; version: Version } | null {
  const [, name, major, minor] = /^(\w+) version v?(\d+)\.(\d+)/.exec(text) ?? [];
  return name === undefined ? null : { name, version: [Number(major), Number(minor)] };
}

/**
 * The features of an OCI runtime from its `--version` and, where it has them, its `features` (OCI runtime-spec,
 * features.md; null without). Owners of layers and volumes are mapped by Berth itself, so that any runtime that joins a
 * user namespace will do.
 */
export function featuresOf(versionText: string, features: unknown, kernel: Version): HandlerFeatures {
  const version = versionText.slice(0, longestVersion).split('\n', 1)[0]!.trim();
  const said = features === null ? knownFeatures(version) : saidFeatures(features);
  return {
    version,
    recursiveReadOnly: said.recursiveReadOnly && atLeast(kernel, recursiveSince),
    userNamespaces: said.userNamespaces && atLeast(kernel, mappedLayersSince),
  };
}

function knownFeatures(text: string): Omit<HandlerFeatures, 'version'> {
  const own = parseVersion(text);
  const entry = known.find(({ name }) => name === own?.name);
  if (!own || !entry) return { recursiveReadOnly: false, userNamespaces: false };
  return {
    recursiveReadOnly: atLeast(own.version, entry.recursiveSince),
    userNamespaces: atLeast(own.version, entry.userSince),
  };
}

function saidFeatures(features: unknown): Omit<HandlerFeatures, 'version'> {
  const { mountOptions, linux } = features as { mountOptions?: unknown; linux?: { namespaces?: unknown } };
  const lists = (list: unknown, name: string) => Array.isArray(list) && list.includes(name);
  return { recursiveReadOnly: lists(mountOptions, 'rro'), userNamespaces: lists(linux?.namespaces, 'user') };
}

/**
 * Asks the program whose state directory is `root`. crun makes its own default for that whatever it is asked: it is told
 * that this lies beside `root`, and would else be /run/crun. One that does not answer has no features, no version, and a
 * line in the log.
 */
export async function probeFeatures(path: string, root: string): Promise<HandlerFeatures> {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  try {
    const [version, features] = await Promise.all([ask(path, root, '--version'), ask(path, root, 'features')]);
    if (version.code !== 0) throw new Error(errorText(version.stderr) || `exit code ${version.code}`);
    return featuresOf(version.stdout.toString(), features.code === 0 ? objectOf(features.stdout) : null, [
      major,
      minor,
    ]);
  } catch (error) {
    return notAsked(path, messageOf(error));
  }
}

/** One that cannot be asked: no features, no version, and a line in the log. */
export function notAsked(path: string, reason: string): HandlerFeatures {
  log.warn({ ociRuntime: path, reason }, 'An OCI runtime does not say what it can do');
  return noFeatures;
}

const ask = (path: string, root: string, word: string) =>
  runHere({ argv: [path, word], env: [`XDG_RUNTIME_DIR=${dirname(root)}`], cwd: '/', deadlineMs });

function objectOf(output: Buffer): unknown {
  try {
    const value: unknown = jsonOf(output.toString());
    return typeof value === 'object' ? value : null;
  } catch {
    return null; // the word means something else to it
  }
}
