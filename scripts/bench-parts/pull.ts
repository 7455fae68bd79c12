// Cold pulls of four kinds of image: Berth and its peer in turn, from one registry on loopback.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { endProcess } from '../../src/sys/end-process.ts';
import { startRegistry } from '../../test/images/index.ts';
import { cacheFolder } from '../../test/images/paths.ts';
import { countOf, oneOf, optionsOf } from '../options.ts';
import { type Contestant, startBerth, startPeer } from './contestant.ts';
import { pullImages, pushPullImages } from './pull-images.ts';
import { scratchDisk } from './scratch-disk.ts';
import { heading, printTable, type Row } from './table.ts';

const { values } = optionsOf('scripts/bench --help', {
  options: {
    short: { type: 'boolean', default: false },
    json: { type: 'string', default: '' },
    peer: { type: 'string', default: '' },
    containerd: { type: 'string', default: '' },
    rounds: { type: 'string', default: '' },
    only: { type: 'string', default: '' },
  },
});
const rounds = countOf('rounds', values.rounds || (values.short ? '1' : '5'));
const quickToMake = ['small-files', 'many-layers'];
if (values.only) oneOf('only', values.only, Object.keys(pullImages));
const names = Object.keys(pullImages).filter((name) =>
  values.only ? name === values.only : !values.short || quickToMake.includes(name),
);
const targets: Readonly<Record<string, string>> = {
  'large-files': '<= 0.6 x peer',
  'small-files': '<= 0.5 x peer',
  'one-layer': '<= 0.6 x peer',
  'many-layers': '<= 0.5 x peer',
};

/** Milliseconds of a pull of what is not there; what one contestant left to write must not slow the next. */
async function coldPull({ images }: Contestant, reference: string): Promise<number> {
  const image = { image: reference };
  await images.removeImage({ image });
  execFileSync('/usr/bin/sync');
  const begin = performance.now();
  await images.pullImage({ image });
  const ms = performance.now() - begin;
  await images.removeImage({ image });
  return ms;
}

/** The most that the process had in memory since it was last asked, bytes (proc(5), clear_refs). */
function peakMemory(pid: number): number {
  const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
  return peak;
}

async function rowsOf(contestants: readonly Contestant[], host: string, name: string): Promise<Row[]> {
  const reference = `${host}/bench/${name}:v1`;
  const times: number[][] = contestants.map(() => []);
  const peaks: number[][] = contestants.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [index, who] of contestants.entries()) {
      peakMemory(who.daemon());
      times[index]!.push(await coldPull(who, reference));
      peaks[index]!.push(peakMemory(who.daemon()) / 1e6);
    }
  }
  const what = pullImages[name]!.what;
  return [
    { what: `pull, ${what}`, unit: 'ms', figures: times, target: targets[name] ?? '' },
    { what: `peak of daemon and workers, ${what}`, unit: 'MB', figures: peaks, target: '<= 250 MB' },
  ];
}

async function main(): Promise<void> {
  using disk = scratchDisk();
  process.env.TMPDIR = disk.path; // where both contestants get their directories
  await using registry = await startRegistry(cacheFolder('bench', 'pull-images'));
  await pushPullImages(registry.address, names);
  await using berth = await startBerth();
  await using peer = await startPeer(values, registry);
  const contestants = [berth, peer];
  const rows: Row[] = [];
  for (const name of names) rows.push(...(await rowsOf(contestants, registry.address, name)));
  console.log(`${heading(rounds)}\n`);
  const columns = contestants.map(({ name }) => name);
  printTable(columns, rows);
  if (values.json) writeFileSync(values.json, JSON.stringify({ columns, rows }, null, 2));
}

await main();
endProcess(0);
