import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestDaemon } from './daemon.ts';

/** Hosts with the one tree of cgroup v2 have its file names. */
export const cgroupV2 = existsSync('/sys/fs/cgroup/cgroup.controllers');

/** A container's cgroup file, found through the kernel: its v1 name below a controller, its v2 name. */
export async function cgroupPath(
  daemon: TestDaemon,
  id: string,
  v1: `${string}/${string}`,
  v2: string,
): Promise<string> {
  const { info } = await daemon.runtime.containerStatus({ containerId: id, verbose: true });
  const lines = readFileSync(`/proc/${JSON.parse(info.info!).pid}/cgroup`, 'utf8').split('\n');
  const [controller = '', name = ''] = cgroupV2 ? ['', v2] : v1.split('/');
  const line = lines.find((each) => each.split(':')[1]?.split(',').includes(controller)) ?? '';
  const folder = line.split(':').slice(2).join(':');
  return join('/sys/fs/cgroup', controller, folder, name);
}

/** What it holds. */
export const cgroupFile = async (...of: Parameters<typeof cgroupPath>): Promise<string> =>
  readFileSync(await cgroupPath(...of), 'utf8').trim();

/** What cgroup v2 makes of v1's CPU shares, 2 to 262144: a weight of 1 to 10000 (runc and crun, linearly). */
export const weightOf = (shares: number): number => 1 + Math.floor(((shares - 2) * 9999) / 262_142);
