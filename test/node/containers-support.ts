import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { bindMount, mountTmpfs, unmount } from '../../src/sys/mounts.ts';
import { type ContainerConfig, type PodConfig, TestPod, untilExited } from '../harness/pods.ts';
import { setPropagation } from '../harness/propagation.ts';
import type { Bench } from '../harness/suite.ts';
import { makeImage } from '../images/image.ts';
import { type Entry, type Layer, makeLayer } from '../images/layer.ts';
import { writeLayout } from '../images/layout.ts';
import { busyboxLayer } from '../images/roots.ts';

let serial = 0;

export type Security = NonNullable<NonNullable<ContainerConfig['linux']>['securityContext']>;
export const secured = (securityContext: Security): ContainerConfig => ({ linux: { securityContext } });

/** The lines of a container's log. */
export const linesOf = (pod: TestPod, name: string): string[] => pod.log(name).map(({ text }) => text);

/** Runs a script in a new pod to its good end, and resolves to the lines that it printed. */
export async function outputOf(
  bench: Bench,
  script: string,
  container: ContainerConfig = {},
  pod: PodConfig = {},
): Promise<string[]> {
  const made = await TestPod.run(bench.daemon, `run-${serial++}`, pod);
  const lines = await outputIn(made, bench.image.busybox, script, container);
  await made.remove();
  return lines;
}

/** The same in a pod that is there. */
export async function outputIn(pod: TestPod, image: string, script: string, more: ContainerConfig): Promise<string[]> {
  const name = `c${serial++}`;
  const id = await pod.sh(name, image, script, more);
  const { exitCode } = await untilExited(pod.daemon, id);
  assert.equal(exitCode, 0, linesOf(pod, name).join('\n'));
  return linesOf(pod, name);
}

let busybox: Promise<Layer> | null = null; // it takes longer to pack than all the rest of an image

/** An image of busybox and these entries, loaded into the daemon; resolves to its reference. */
export async function loadImage(
  bench: Bench,
  name: string,
  entries: readonly Entry[],
  config: Parameters<typeof makeImage>[2] & { Volumes?: Record<string, object> } = {},
): Promise<string> {
  busybox ??= busyboxLayer();
  const image = makeImage([`${name}:1`], [await busybox, await makeLayer(entries)], {
    Env: ['PATH=/bin:/usr/bin:/sbin'],
    ...config,
  });
  const path = join(bench.daemon.dir, `${name}.tar`);
  await writeLayout(path, 'localhost', [image]);
  await bench.daemon.admin.loadImages({ path });
  return `localhost/${name}:1`;
}

/** A folder of the test that is a shared mount with a tmpfs below it. */
export function sharedFolder(bench: Bench) {
  const folder = join(bench.daemon.dir, `shared-${serial++}`);
  mkdirSync(join(folder, 'below'), { recursive: true });
  bindMount(folder, folder);
  setPropagation(folder, 'shared');
  mountTmpfs(join(folder, 'below'), { size: 65_536, mode: 0o777 });
  const release = () => {
    unmount(join(folder, 'late'));
    unmount(join(folder, 'below'));
    unmount(folder);
  };
  return { folder, [Symbol.dispose]: release };
}
