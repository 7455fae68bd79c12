// Thousands of pods, one life after the other: what the daemon and the host keep of them.
import { endProcess } from '../../src/sys/end-process.ts';
import { TestDaemon } from '../../test/harness/daemon.ts';
import { assertNoLeak, footprint } from '../../test/harness/leak-check.ts';
import { grown, Inspector, inspectable, lifecycles, type Size } from '../../test/harness/lifecycles.ts';
import { continueOnOwnHost } from '../../test/harness/own-host.ts';
import { endTestRegistry, pullTestImages } from '../../test/harness/suite.ts';
import { countOf, optionsOf } from '../options.ts';
import { bundle, pss } from './contestant.ts';
import { printLines } from './table.ts';

await continueOnOwnHost();

const { values } = optionsOf('scripts/bench --help', { options: { pods: { type: 'string', default: '2000' } } });
const total = countOf('pods', values.pods, 10);

const daemon = new TestDaemon({ main: bundle(), env: inspectable });

async function main(): Promise<void> {
  await using end = new AsyncDisposableStack(); // keeps the first error where the clean-up fails too
  end.defer(endTestRegistry);
  end.defer(() => daemon.dispose());
  await daemon.start();
  const image = (await pullTestImages(daemon)).busybox;
  using inspector = await Inspector.open(daemon);
  await lifecycles(daemon, image, 8); // what is made once: the bridge, chains, the first connection
  const clean = footprint(daemon);
  const lines: string[][] = [];
  const sizes: Size[] = [];
  for (let done = 8, part = 1; part <= 10; part++) {
    const next = Math.round((total * part) / 10);
    const begin = performance.now();
    await lifecycles(daemon, image, next - done, done);
    const rate = ((next - done) / (performance.now() - begin)) * 1000;
    const size = await inspector.size();
    sizes.push(size);
    const { heapMB, rssMB, threads, open } = size;
    const figures = [heapMB, rssMB, pss([daemon.pid]) / 1e6].map((megabytes) => megabytes.toFixed(1));
    const handles = [...open.values()].reduce((sum, count) => sum + count, 0);
    lines.push([`${next}`, ...figures, `${threads}`, `${handles}`, rate.toFixed(1)]);
    done = next;
  }
  printLines(['pods lived', 'heap, MB', 'RSS, MB', 'PSS, MB', 'threads', 'files and handles', 'lives, /s'], lines);
  const more = grown(sizes[0]!, sizes.at(-1)!);
  console.log(`\nopen now and not after ${Math.round(total / 10)}: ${more.join(', ') || 'nothing'}`);
  assertNoLeak(clean, footprint(daemon));
  console.log('files, mounts, namespaces, links, rules, cgroups, processes: as before');
}

try {
  await main();
} catch (error) {
  console.error(error instanceof SuppressedError ? [error.suppressed, error.error] : error);
  endProcess(1);
}
endProcess(0);
