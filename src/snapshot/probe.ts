import { mkdirSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Fault, isErrno, messageOf } from '../base/fault.ts';
import { mountOf, mountTableAtOnce } from '../sys/mountinfo.ts';
import { mountOverlay, unmount } from '../sys/mounts.ts';

/**
 * Tries on a file system what images and containers do on it: an overlay in which a directory of a layer is replaced and a
 * file removed, which takes an upper directory of it, trusted.* attributes, whiteouts, and file types in directory listings.
 * `place` is made and removed; one that a crash left is removed first.
 * @throws Fault FailedPrecondition that says what the file system cannot do, and what to do.
 */
export function probeOverlay(place: string): void {
  clear(place);
  try {
    const problem = problemOf(place);
    if (problem) throw cannotCarry(place, problem);
  } catch (error) {
    if (!saysNothing(error)) throw error;
  } finally {
    clear(place);
  }
}

/** A full or read-only disk is no verdict on its file system: what runs goes on, and can be stopped and removed. */
const saysNothing = (error: unknown): boolean => isErrno(error, 'ENOSPC', 'EDQUOT', 'EROFS');

/** Null: it carries overlays. */
function problemOf(place: string): string | null {
  const [lower, upper, work, target] = ['lower', 'upper', 'work', 'merged'].map((name) => join(place, name)) as Four;
  for (const path of [place, lower, join(lower, 'replaced'), upper, work, target]) mkdirSync(path);
  writeFileSync(join(lower, 'replaced/old'), '');
  writeFileSync(join(lower, 'removed'), '');
  try {
    mountOverlay({ lowers: [lower], upper, work, target });
  } catch (error) {
    if (saysNothing(error)) throw error;
    return messageOf(error);
  }
  try {
    rmSync(join(target, 'replaced'), { recursive: true });
    mkdirSync(join(target, 'replaced'));
    rmSync(join(target, 'removed'));
  } catch (error) {
    if (saysNothing(error)) throw error;
    return `what a layer has cannot be removed above it (${messageOf(error)}): it lacks trusted.* attributes or whiteouts`;
  }
  const seen = [...readdirSync(target), ...readdirSync(join(target, 'replaced'))].join();
  return seen === 'replaced'
    ? null
    : `what was removed is still listed (${seen}): its listings lack file types, d_type`;
}

type Four = [string, string, string, string];

function cannotCarry(place: string, problem: string): Fault {
  const type = mountOf(realpathSync(place), mountTableAtOnce())?.type ?? 'unknown';
  return new Fault(
    'FailedPrecondition',
    `The file system of ${dirname(place)} (${type}) cannot carry overlayfs: ${problem}. Set data_dir to a directory on ext4, xfs or btrfs, or mount such a file system there`,
  );
}

function clear(place: string): void {
  unmount(join(place, 'merged'), { detach: true });
  rmSync(place, { recursive: true, force: true });
}
