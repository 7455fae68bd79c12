import { loadAddon } from './addon.ts';

type KeeperAddon = {
  spawnKeeper(program: string, argument: string, logFd: number): Promise<[pid: number, socketFd: number]>;
  reap(pid: number): void;
};

const addon = loadAddon<KeeperAddon>();

/**
 * Starts a program that outlives this one: a session of its own, no environment, `/` of ours as its directory, standard
 * error to `logFd`, and a socket as its descriptor 3 whose other end is returned. Rejects with the errno of socketpair or exec.
 */
export async function spawnKeeper(
  program: string,
  argument: string,
  logFd: number,
): Promise<{ pid: number; socketFd: number }> {
  const [pid, socketFd] = await addon.spawnKeeper(program, argument, logFd);
  return { pid, socketFd };
}

/** Takes the exit status of a keeper that has ended, so that no zombie stays; one that is not our child is left alone. */
export const reapKeeper = (pid: number): void => addon.reap(pid);
