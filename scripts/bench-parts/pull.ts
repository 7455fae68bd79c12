// Cold pulls: Berth and its peers in turn, from one registry on loopback.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { endProcess } from '../../src/sys/end-process.ts';
import { cacheFolder } from '../../test/images/paths.ts';
import { ensureContainerd, ensureCrio } from '../../test/peers/index.ts';
import { countOf, oneOf, optionsOf } from '../options.ts';
import { type Contestant, processorMs, startBerth, startBuild, startCrioPeer, startPeer } from './contestant.ts';
import { type Places, startPlaces } from './places.ts';
import { type PullCase, pullCases } from './pull-cases.ts';
import { pushPullImages } from './pull-images.ts';
import { scratchDisk } from './scratch-disk.ts';
import { heading, printTable, type Row } from './table.ts';

const { values } = optionsOf('scripts/bench --help', {
  options: {
    short: { type: 'boolean', default: false },
    json: { type: 'string', default: '' },
    peer: { type: 'string', default: '' },
    build: { type: 'string', default: '' },
    containerd: { type: 'string', default: '' },
    crio: { type: 'string', default: '' },
    newest: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '' },
    only: { type: 'string', default: '' },
  },
});
const rounds = countOf('rounds', values.rounds || (values.short ? '1' : '5'));
const quickToMake = ['small-files', 'many-layers'];
if (values.only) oneOf('only', values.only, Object.keys(pullCases));
const cases = Object.entries(pullCases)
  .filter(([name]) => (values.only ? name === values.only : !values.short || quickToMake.includes(name)))
  .map(([, each]) => each);

/** Milliseconds of pulls of what is not there; what one contestant left to write must not slow the next. */
async function coldPull({ images }: Contestant, { before, tags }: PullCase, repository: string): Promise<number> {
  const named = (some: readonly string[]) => some.map((tag) => ({ image: { image: `${repository}:${tag}` } }));
  const remove = async () => {
    for (const image of named([...before, ...tags])) await images.removeImage(image);
  };
  await remove();
  for (const image of named(before)) await images.pullImage(image);
  execFileSync('/usr/bin/sync');
  const begin = performance.now();
  await Promise.all(named(tags).map((image) => images.pullImage(image)));
  const ms = performance.now() - begin;
  await remove();
  return ms;
}

/** The most that the process had in memory since it was last asked, bytes (proc(5), clear_refs). */
function peakMemory(pid: number): number {
  const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
  return peak;
}

async function rowsOf(contestants: readonly Contestant[], places: Places, each: PullCase): Promise<Row[]> {
  const repository = `${places[each.from]}/bench/${each.repository}`;
  const empty = () => contestants.map((): number[] => []);
  const [times, processor, peaks] = [empty(), empty(), empty()];
  for (let round = 0; round < rounds; round++) {
    for (const [index, who] of contestants.entries()) {
      const pid = who.daemon();
      peakMemory(pid);
      const before = processorMs(pid);
      times[index]!.push(await coldPull(who, each, repository));
      processor[index]!.push(processorMs(pid) - before);
      peaks[index]!.push(peakMemory(pid) / 1e6);
    }
  }
  const { what, target } = each;
  return [
    { what: `pull, ${what}`, unit: 'ms', figures: times, target },
    { what: `processor of the daemon, ${what}, removal too`, unit: 'ms', figures: processor, target: '' },
    { what: `peak of daemon and workers, ${what}`, unit: 'MB', figures: peaks, target: '<= 120 MB' },
  ];
}

/** Folders with the peers' programs. */
async function programs(): Promise<{ containerd: string; crio: string }> {
  const { containerd, crio, newest } = values;
  return newest ? { containerd: await ensureContainerd(), crio: await ensureCrio() } : { containerd, crio };
}

async function main(): Promise<void> {
  const folders = await programs();
  using disk = scratchDisk();
  process.env.TMPDIR = disk.path; // where the contestants get their directories
  await using places = await startPlaces(cacheFolder('bench', 'pull-images'));
  await pushPullImages(places.here, new Set(cases.map(({ repository }) => repository)));
  await using stack = new AsyncDisposableStack();
  const contestants = [stack.use(await startBerth())];
  const { build, peer } = values;
  const { containerd } = folders;
  contestants.push(stack.use(await (build ? startBuild(build) : startPeer({ peer, containerd }, places.here))));
  if (folders.crio) contestants.push(stack.use(await startCrioPeer(folders.crio, Object.values(places))));
  const rows: Row[] = [];
  for (const each of cases) rows.push(...(await rowsOf(contestants, places, each)));
  console.log(`${heading(rounds, `load ${loadavg()[0]!.toFixed(1)} at the end`)}\n`);
  const columns = contestants.map(({ name }) => name);
  printTable(columns, rows);
  if (values.json) writeFileSync(values.json, JSON.stringify({ columns, rows }, null, 2));
}

await main();
endProcess(0);
