import { openSync } from 'node:fs';
import type { HostFiles } from '../base/host-files.ts';
import { LastingFiles } from '../lifecycle/lasting-files.ts';

/** How long a file system may take to answer who looks at it, and a daemon that starts, at boot maybe. */
export const answerMs = 5000;
export const bootAnswerMs = 20_000;

let nowhere: number | undefined;

/** What a command reads of others'. Whoever waits for the end of what it says does not wait for what is left behind. */
export function hostFiles(ms = answerMs): HostFiles {
  nowhere ??= openSync('/dev/null', 'w');
  return new LastingFiles(() => ms, 'what a command reads', nowhere);
}
