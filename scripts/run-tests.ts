// Runs every check and every test, one part after the other, and adds up: the last line is "N passed, N failed".
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

const root = resolve(import.meta.dirname, '..');
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { slow: { type: 'boolean', default: false } },
});

type Count = { passed: number; failed: number };
type Part = {
  readonly name: string;
  readonly argv: readonly string[];
  readonly counts?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  /** What runs meanwhile; its lines come when both are done. */
  readonly beside?: Part;
};

const node = process.execPath;
const nodeTest = (name: string, files: readonly string[]): Part => ({
  name,
  // One file at a time: with BERTH_ALONE the leak check compares the whole host, and some tests watch deadlines.
  argv: [node, '--test', '--test-concurrency=1', '--test-force-exit', '--test-reporter=spec', ...files],
  counts: true,
});

const rooted = [
  'test/node/**/*.test.ts',
  'test/hostile/**/*.test.ts',
  'test/crash/**/*.test.ts',
  'test/degraded/**/*.test.ts',
  'test/security/**/*.test.ts',
  'test/degraded/**/*.test.ts',
  'test/sweeps/**/*.test.ts',
]
  .flatMap((glob) => globSync(glob, { cwd: root }))
  .sort();
const seed = 1 + (Date.now() % 1_000_000);
const critest = (runtime: string, options: readonly string[]): Part => ({
  name: `critest with ${runtime} ${options.join(' ')}`,
  argv: [node, 'scripts/conformance.ts', '--runtime', runtime, ...options],
  counts: true,
});
const fuzzSeconds = 10 * 60;
const fuzzTargets = 9;
const fuzzing: Part = {
  ...nodeTest('fuzzers', [
    'test/hostile/fuzz.test.ts',
    'test/hostile/moving-trees.test.ts',
    'test/hostile/shim-fuzz.test.ts',
  ]),
  env: { BERTH_FUZZ_SECONDS: `${Math.ceil(fuzzSeconds / fuzzTargets)}` },
};
const everything: Part[] = [
  { name: 'npm run ok', argv: ['npm', 'run', '-s', 'ok'], counts: true },
  nodeTest('node tests', rooted),
  // In random order and two at once; the driver prints the seed, which gives the same order again.
  ...(['crun', 'runc'] as const).map((runtime) => critest(runtime, ['--seed', `${seed}`, '--shards', '2'])),
  critest('crun', ['--websocket', '--focus', 'Streaming']),
  // It emulates one processor, which would take one from tests that watch deadlines: with it run only those that do not.
  {
    name: 'cgroup v2, systemd and AppArmor',
    argv: ['scripts/vm-tests', ...(values.slow ? ['--all'] : [])],
    counts: true,
    beside: fuzzing,
  },
  // They must run; no test is about a time.
  ...['pods', 'pull', 'flat'].map((what) => ({ name: `bench ${what}`, argv: ['scripts/bench', what, '--short'] })),
];

/** The lines in which node:test and the conformance driver say how many passed and failed. */
const tallies = [/^(?:ℹ|#) (pass|fail) (\d+)$/, /^(?:\w+: )?(\d+) passed, (\d+) failed/] as const;

async function run(part: Part): Promise<Count> {
  if (!part.beside) return runOne(part, console.log);
  const lines: string[] = [];
  const [count, other] = await Promise.all([
    runOne(part, console.log),
    runOne(part.beside, (line) => lines.push(line)),
  ]);
  for (const line of lines) console.log(line);
  return { passed: count.passed + other.passed, failed: count.failed + other.failed };
}

async function runOne({ name, argv, counts, env }: Part, print: (line: string) => void): Promise<Count> {
  const begin = performance.now();
  print(`\n== ${name}`);
  const [file = '', ...args] = argv;
  const child = spawn(file, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, BERTH_SLOW: values.slow ? '1' : '', ...env },
  });
  const count: Count = { passed: 0, failed: 0 };
  createInterface({ input: child.stdout }).on('line', (line) => {
    print(line);
    if (counts) tally(line, count);
  });
  const [code] = await once(child, 'close');
  if (!counts) count[code === 0 ? 'passed' : 'failed']++;
  else if (code !== 0 && count.failed === 0) count.failed++; // it died without a word
  print(`== ${name}: exit ${code}, ${((performance.now() - begin) / 1000).toFixed(0)} s`);
  return count;
}

function tally(line: string, count: Count): void {
  const [, kind, number] = tallies[0].exec(line) ?? [];
  if (kind) count[kind === 'pass' ? 'passed' : 'failed'] += Number(number);
  const [, passed, failed] = tallies[1].exec(line) ?? [];
  if (passed) {
    count.passed += Number(passed);
    count.failed += Number(failed);
  }
}

const total: Count = { passed: 0, failed: 0 };
for (const part of positionals.length > 0 ? [nodeTest('chosen files', positionals)] : everything) {
  const { passed, failed } = await run(part);
  total.passed += passed;
  total.failed += failed;
}
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
