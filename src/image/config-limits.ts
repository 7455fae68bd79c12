import { invalidArgument } from '../base/fault.ts';
import { longestPath } from '../base/limits.ts';
import type { ImageConfig } from '../model/image.ts';
import { highestId, plainId } from '../model/users.ts';

type Bounds = {
  /** As an image's config calls it. */
  readonly field: string;
  readonly values: (config: ImageConfig) => readonly string[];
  readonly mostBytes: number;
  readonly mostValues?: number;
  readonly mostTotal?: number;
};

/**
 * Arguments and environment. The longest string that execve(2) passes on is MAX_ARG_STRLEN (32 pages), less its NUL; it takes
 * 2 MiB of both together.
 */
const passedToExec = { mostBytes: 32 * 4096 - 1, mostValues: 10_000, mostTotal: 2 ** 20 } as const;

const mostLabels = 10_000;

/** @throws Fault InvalidArgument, before anything is made of labels of which there are a million. */
export function checkLabelCount(labels: object): void {
  expectAtMost('Labels', Object.keys(labels).length, mostLabels);
}

/**
 * No image that works anywhere comes near any of these. Labels are generous: build tools keep whole documents in them, some
 * of hundreds of kilobytes. Each VOLUME is a directory that is filled and mounted when a container is made.
 */
const bounds: readonly Bounds[] = [
  { field: 'os', values: ({ os }) => [os], mostBytes: 128 },
  { field: 'architecture', values: ({ architecture }) => [architecture], mostBytes: 128 },
  { field: 'variant', values: ({ variant }) => [variant], mostBytes: 128 },
  // LOGIN_NAME_MAX is 256 with its NUL; a user and a group.
  { field: 'User', values: ({ user }) => [user], mostBytes: 511 },
  { field: 'WorkingDir', values: ({ workingDir }) => [workingDir], mostBytes: longestPath },
  { field: 'StopSignal', values: ({ stopSignal }) => [stopSignal], mostBytes: 64 },
  { field: 'Env', values: ({ env }) => env, ...passedToExec },
  { field: 'Entrypoint', values: ({ entrypoint }) => entrypoint, ...passedToExec },
  { field: 'Cmd', values: ({ cmd }) => cmd, ...passedToExec },
  { field: 'Volumes', values: ({ volumes }) => volumes, mostBytes: longestPath, mostValues: 1000 },
  {
    field: 'Labels',
    values: ({ labels }) => Object.entries(labels).map(([name, value]) => `${name}=${value}`),
    mostBytes: 4 * 2 ** 20,
    mostValues: mostLabels,
    mostTotal: 4 * 2 ** 20,
  },
];

/**
 * Refuses an image's config that is too large to be any image's, or whose user or group is a number that Linux has not.
 * @throws Fault InvalidArgument that names the field, the value and the limit.
 */
export function checkConfig(config: ImageConfig): void {
  for (const each of bounds) checkBounds(config, each);
  for (const part of config.user.split(':')) {
    if (!/^[+-]?\d+$/.test(part) || plainId(part) !== null) continue;
    throw invalidArgument(`The image's config has the User ${shown(config.user)}: ids are 0 to ${highestId}`);
  }
}

function checkBounds(config: ImageConfig, { field, values, mostBytes, mostValues, mostTotal }: Bounds): void {
  const all = values(config);
  if (mostValues !== undefined) expectAtMost(field, all.length, mostValues);
  let total = 0;
  for (const value of all) {
    const bytes = Buffer.byteLength(value);
    total += bytes;
    if (bytes > mostBytes) {
      throw invalidArgument(
        `The image's config has the ${field} ${shown(value)} of ${bytes} bytes: at most ${mostBytes} are taken`,
      );
    }
  }
  if (mostTotal !== undefined && total > mostTotal) {
    throw invalidArgument(`The image's config has ${total} bytes of ${field}: at most ${mostTotal} are taken`);
  }
}

function expectAtMost(field: string, count: number, most: number): void {
  if (count > most) throw invalidArgument(`The image's config has ${count} ${field}: at most ${most} are taken`);
}

const shown = (text: string): string =>
  JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}...` : text).replace(/[^\x20-\x7e]/g, '?');
