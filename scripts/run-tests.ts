// Runs every check and every test, one part after the other, and adds up: the last line is "N passed, N failed".
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { countOf, optionsOf } from './options.ts';

const root = resolve(import.meta.dirname, '..');
const { values, positionals } = optionsOf('scripts/test --help', {
  allowPositionals: true,
  options: {
    slow: { type: 'boolean', default: false },
    name: { type: 'string', default: '' },
    concurrency: { type: 'string', default: '2' },
    record: { type: 'boolean', default: false },
  },
});
const concurrency = countOf('concurrency', values.concurrency);

type Count = { passed: number; failed: number };
type Print = (line: string) => void;
type Program = {
  readonly name: string;
  readonly argv: readonly string[];
  /** It says how many passed and failed; otherwise it is one that did. */
  readonly counts?: boolean;
  readonly env?: Readonly<Record<string, string>>;
};
/** Programs that run one after the other. What one prints comes as a whole when it has ended. */
type Lane = Program[];
/** Lanes that run at once, or as one if nothing is to. A program that two of them have is run by the first that comes to it. */
type Part = { readonly name: string; readonly lanes: readonly Lane[] };

const node = process.execPath;
/** Run as a program: under `node --test` an exit that is forced loses what the file's process had not told its parent yet. */
const nodeTest = (file: string, env: Program['env'] = {}): Program => ({
  name: file,
  argv: [
    ...[node, '--test-force-exit', '--test-reporter=spec'],
    ...(values.slow ? [] : ['--test-timeout=900000']), // what hangs is to say so
    ...(values.name === '' ? [] : [`--test-name-pattern=${values.name}`]),
    file,
  ],
  counts: true,
  env,
});

const durationsFile = join(root, 'test/durations.json');
/** Seconds that test files took by themselves (--record), so that the longest begin first. */
const durations: Record<string, number> = JSON.parse(readFileSync(durationsFile, 'utf8'));
const longestFirst = (files: readonly string[]): string[] =>
  files.toSorted((a, b) => (durations[b] ?? Infinity) - (durations[a] ?? Infinity));

/**
 * Most of their time nothing runs: they see deadlines through. One of them beside the others costs the others nothing. And those
 * that run kubelet, which is built before them.
 */
const waiting = [
  'ends',
  'hung-paths',
  'kube-proxy',
  'kubelet',
  'kubelet-agents',
  'kubelet-tracing',
  'oci-runtime',
  'stuck-processes',
  'swap',
  'swap-crio',
  'swap-newest',
];
const waits = (file: string): boolean => waiting.includes(basename(file, '.test.ts'));

/** All that `npm run ok` has not run; the fuzzers have their own part. */
const fuzzers = ['fuzz', 'moving-trees', 'shim-fuzz'].map((name) => `test/hostile/${name}.test.ts`);
/** What they need is built for many minutes. */
const slow = ['kube-proxy', 'swap-crio', 'swap-newest'].map((name) => `test/node/${name}.test.ts`);
const rooted = globSync('test/*/**/*.test.ts', { cwd: root }).filter(
  (file) => !file.startsWith('test/unit/') && !fuzzers.includes(file) && (values.slow || !slow.includes(file)),
);
type Before = { readonly first: Lane; readonly work: Lane; readonly waiting: Lane };
/**
 * Files, and before them others: those of `first` keep one lane busy from the beginning, the others come before files that work,
 * and before those that wait. Nobody is idle while there is work.
 */
function fileTests(
  name: string,
  files: readonly string[],
  before: Before = { first: [], work: [], waiting: [] },
): Part {
  const all = longestFirst(files).map((file) => nodeTest(file));
  const work = [...before.work, ...all.filter(({ name }) => !waits(name))];
  const waiting = [...before.waiting, ...all.filter(({ name }) => waits(name))];
  return {
    name,
    lanes: [[...before.first, ...work, ...waiting], ...Array<Lane>(concurrency - 1).fill(work), [...waiting, ...work]],
  };
}

const seed = 1 + (Date.now() % 1_000_000);
const critest = (runtime: string, options: readonly string[]): Program => ({
  name: `critest with ${runtime} ${options.join(' ')}`,
  argv: [node, 'scripts/conformance.ts', '--runtime', runtime, ...options],
  counts: true,
});
/** Each of fuzz.test.ts's targets and of the two other files; hours of them are run by hand. */
const fuzzing = { BERTH_FUZZ_SECONDS: '8' };
/** It must run; no test is about a time. */
const bench = (what: string): Program => ({ name: `bench ${what}`, argv: ['scripts/bench', what, '--short'] });
/** Programs that take long, or two processors at times: not at the end, where they would run alone. */
const beforeFiles: Lane = [
  ...fuzzers.map((file) => nodeTest(file, fuzzing)),
  // In random order and two at once; the driver prints the seed, which gives the same order again.
  ...(['crun', 'runc'] as const).map((runtime) => critest(runtime, ['--seed', `${seed}`, '--shards', '2'])),
  critest('crun', ['--websocket', '--focus', 'Streaming']),
  ...['pods', 'pull', 'flat'].map(bench),
];
/** On a new machine kubelet is built for minutes, which no test's deadline is for. */
const beforeWaiting: Lane = [{ name: 'kubelet', argv: [node, 'scripts/test-kubelet.ts'] }, bench('kubelet')];
/** The longest of all, and one emulated processor: what else there is runs beside it. */
const machine: Program = {
  name: 'cgroup v2, systemd and AppArmor',
  argv: ['scripts/vm-tests', ...(values.slow ? ['--all'] : [])],
  counts: true,
};
const everything: Part[] = [
  {
    name: 'what needs no root, and what the others need',
    lanes: [
      [{ name: 'npm run ok', argv: ['npm', 'run', '-s', 'ok'], counts: true }],
      [
        { name: 'the test images', argv: [node, 'scripts/test-images.ts'] }, // once, not by the first files at once
        { name: 'the builds with sanitizers', argv: ['make', '-s', '-C', 'native', 'asan', 'addon-asan'] },
      ],
    ],
  },
  fileTests('what needs root, and the machine', rooted, {
    first: [machine],
    work: beforeFiles,
    waiting: beforeWaiting,
  }),
];

/** What programs that failed said of it, once more at the end, where a reader of a long run looks first. */
const failures: string[] = [];
const worthSaying = (lines: readonly string[]): readonly string[] => {
  const begin = lines.lastIndexOf('✖ failing tests:'); // node:test says all of them again, after the others
  return begin < 0 ? lines.slice(-40) : lines.slice(begin);
};

/** The lines in which node:test and the conformance driver say how many passed and failed. */
const tallies = [/^(?:ℹ|#) (pass|fail) (\d+)$/, /^(?:\w+: )?(\d+) passed, (\d+) failed/] as const;

const secondsSince = (begin: number): number => (performance.now() - begin) / 1000;

async function runPart({ name, lanes }: Part, total: Count): Promise<void> {
  const begin = performance.now();
  const begun = new Set<Program>();
  const all = new Set(lanes.flat());
  let sum = 0;
  const run = async (lane: Lane) => {
    for (const program of lane) {
      if (begun.has(program)) continue;
      begun.add(program);
      const seconds = await runProgram(program, total, all.size === 1);
      if (program.name in durations || values.record) durations[program.name] = Math.round(seconds);
      sum += seconds;
    }
  };
  await Promise.all((concurrency > 1 ? lanes : [lanes.flat()]).map(run));
  if (all.size === 1) return;
  console.log(
    `\n== ${name}: ${secondsSince(begin).toFixed(0)} s, ${sum.toFixed(0)} s one by one\n` +
      `   so far ${total.passed} passed, ${total.failed} failed`,
  );
}

/** Returns the seconds that it took. */
async function runProgram({ name, argv, counts, env }: Program, total: Count, live: boolean): Promise<number> {
  const begin = performance.now();
  const lines: string[] = [];
  const print: Print = (line) => {
    lines.push(line);
    if (live) console.log(line);
  };
  print(`\n== ${name}`);
  const [file = '', ...args] = argv;
  const child = spawn(file, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      NODE_COMPILE_CACHE: join(root, '.cache/compiled'),
      ...process.env,
      BERTH_SLOW: values.slow ? '1' : '',
      ...env,
    },
  });
  const count: Count = { passed: 0, failed: 0 };
  let told = false;
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      print(line);
      if (counts && stream === child.stdout) told = tally(line, count) || told;
    });
  }
  const [code] = await once(child, 'close');
  if (!counts) count[code === 0 ? 'passed' : 'failed']++;
  else if ((code !== 0 || !told) && count.failed === 0) count.failed++; // it died without a word
  const seconds = secondsSince(begin);
  print(`== ${name}: exit ${code}, ${count.passed} passed, ${count.failed} failed, ${seconds.toFixed(0)} s`);
  if (!live) console.log(lines.join('\n'));
  if (count.failed > 0) failures.push(`\n== ${name} failed`, ...worthSaying(lines));
  total.passed += count.passed;
  total.failed += count.failed;
  return seconds;
}

/** Whether the line is one of those. */
function tally(line: string, count: Count): boolean {
  const [, kind, number] = tallies[0].exec(line) ?? [];
  if (kind) count[kind === 'pass' ? 'passed' : 'failed'] += Number(number);
  const [, passed, failed] = tallies[1].exec(line) ?? [];
  if (passed) {
    count.passed += Number(passed);
    count.failed += Number(failed);
  }
  return Boolean(kind || passed);
}

/** The files that were named, or all of them. */
const chosen = positionals.map((file) => relative(root, resolve(file)));
const files = chosen.length > 0 ? chosen : rooted;
const named = chosen.length > 0 || values.name !== '' || values.record;

const total: Count = { passed: 0, failed: 0 };
for (const part of named ? [fileTests(`${files.length} test files`, files)] : everything) await runPart(part, total);
if (values.record) writeFileSync(durationsFile, `${JSON.stringify(durations, Object.keys(durations).sort(), 2)}\n`);
if (failures.length > 0 && !named) console.log(failures.join('\n'));
console.log(`\n${total.passed} passed, ${total.failed} failed`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
