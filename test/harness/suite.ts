import { after, afterEach, before, beforeEach, describe } from 'node:test';
import { type Registry, startTestRegistry } from '../images/index.ts';
import { type DaemonOptions, TestDaemon } from './daemon.ts';
import { printLog } from './failure-log.ts';
import { assertNoLeak, assertReaped, type Footprint, footprint } from './leak-check.ts';

export type Bench = {
  daemon: TestDaemon;
  /** References that the daemon has pulled from the test registry. */
  readonly image: { busybox: string; nginx: string };
};

let registry: Registry | null = null;

/** The images every suite uses, pulled by this daemon from a registry on loopback. */
export async function pullTestImages(daemon: TestDaemon): Promise<Bench['image']> {
  registry ??= await startTestRegistry();
  const image = {
    busybox: `${registry.address}/e2e-test-images/busybox:1.29-2`,
    nginx: `${registry.address}/e2e-test-images/nginx:1.14-2`,
  };
  for (const reference of Object.values(image)) await daemon.images.pullImage({ image: { image: reference } });
  return image;
}

export async function endTestRegistry(): Promise<void> {
  await registry?.[Symbol.asyncDispose]();
  registry = null;
}

/**
 * A suite with one daemon that has the test images, and the leak check around every test: a test ends with no pod more.
 */
export function suite(name: string, options: DaemonOptions, body: (bench: Bench) => void): void {
  describe(name, () => {
    const bench = { image: { busybox: '', nginx: '' } } as { -readonly [Key in keyof Bench]: Bench[Key] };
    let clean: Footprint;
    /** Pods of the suite's own, which stay from test to test. */
    let standing: Set<string>;
    const podIds = async () => (await bench.daemon.runtime.listPodSandbox({})).items.map(({ id }) => id);
    before(async () => {
      bench.daemon = new TestDaemon(options);
      await bench.daemon.start();
      bench.image = await pullTestImages(bench.daemon);
    });
    beforeEach(async () => {
      standing = new Set(await podIds());
      clean = footprint(bench.daemon);
    });
    afterEach(async (t) => {
      try {
        const made = (await podIds()).filter((id) => !standing.has(id));
        await Promise.all(made.map((podSandboxId) => bench.daemon.runtime.removePodSandbox({ podSandboxId })));
        assertNoLeak(clean, footprint(bench.daemon));
        await assertReaped(bench.daemon);
      } catch (error) {
        printLog(t.name); // a hook's failure is not seen by the hooks that follow
        throw error;
      }
    });
    after(async () => {
      try {
        await bench.daemon.dispose();
      } finally {
        await endTestRegistry();
      }
    });
    body(bench);
  });
}

/** Both OCI runtimes run every behaviour test, unless a slow machine asks for one. */
export const ociRuntimes = ['crun', 'runc'].filter((name) => (process.env.BERTH_TEST_RUNTIMES ?? name).includes(name));
