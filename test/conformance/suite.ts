import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hostName } from '../harness/own-host.ts';
import { cacheFolder } from '../images/paths.ts';
import { type Expectation, parseReport, type Spec } from './report.ts';

export type SuiteOptions = {
  /** Path of the socket, without a scheme. */
  readonly socket: string;
  /** RuntimeClass handler that the suite asks for; empty: the default. */
  readonly handler: string;
  /** Regular expressions on the full names of specs. */
  readonly focus: readonly string[];
  readonly skip: readonly Expectation[];
  /** Streams over WebSocket instead of SPDY. */
  readonly websocket: boolean;
  readonly benchmark: boolean;
  readonly verbose: boolean;
  /** Above 0: the specs run in the random order that this number stands for. */
  readonly seed: number;
};

const deadlineMs = 45 * 60_000;
const literally = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

const ofImages = (name: string): boolean => /image/i.test(name);

/** Runs the specs in so many processes at once, each with its share of them. */
export async function runShards(suite: string, options: SuiteOptions, shards: number): Promise<Spec[]> {
  if (shards === 1) return runSuite(suite, options);
  const planned = await runSuite(suite, options, ['--ginkgo.dry-run']);
  const names = planned.filter(({ state }) => state === 'passed').map(({ name }) => name);
  // Those about images remove what others of them mount, which is refused: they run one after the other.
  const ordered = [...names.filter(ofImages), ...names.filter((name) => !ofImages(name))];
  const shardOf = (name: string, at: number) => (ofImages(name) ? 0 : at % shards);
  const shares = Array.from({ length: shards }, (_, shard) =>
    ordered.filter((name, at) => shardOf(name, at) === shard),
  );
  const runs = shares.map((share) =>
    runSuite(suite, { ...options, focus: share.map((name) => ` ${literally(name)}$`) }),
  );
  // What a process leaves to another is in its report as skipped: what happened to a spec anywhere else counts.
  const specs = (await Promise.all(runs))
    .flat()
    .sort((a, b) => Number(a.state !== 'skipped') - Number(b.state !== 'skipped'));
  return [...new Map(specs.map((spec) => [spec.name, spec])).values()];
}

let serial = 0;

/** Runs the compiled suite to its end and reads its report. Throws if it left none. */
export async function runSuite(suite: string, options: SuiteOptions, more: readonly string[] = []): Promise<Spec[]> {
  const folder = cacheFolder('conformance');
  const report = join(folder, `report-${hostName}-${serial++}.json`);
  const args = [
    `--runtime-endpoint=unix://${options.socket}`,
    `--image-endpoint=unix://${options.socket}`,
    '--config=/nonexistent',
    ...(options.handler === '' ? [] : [`--runtime-handler=${options.handler}`]),
    ...(options.websocket ? ['exec', 'attach', 'portforward'].map((call) => `--websocket-${call}`) : []),
    ...(options.benchmark ? benchmarkFlags(folder) : []),
    ...options.focus.map((text) => `--ginkgo.focus=${text}`),
    ...options.skip.map(({ name }) => `--ginkgo.skip=${literally(name)}`),
    ...(options.seed > 0 ? ['--ginkgo.randomize-all', `--ginkgo.seed=${options.seed}`] : []),
    ...more,
    '--ginkgo.no-color',
    '--ginkgo.timeout=40m',
    `--ginkgo.json-report=${report}`,
    '--test.timeout=0',
  ];
  const child = spawn(suite, args, {
    cwd: folder,
    stdio: ['ignore', options.verbose ? 'inherit' : 'ignore', options.verbose ? 'inherit' : 'ignore'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' },
    timeout: deadlineMs,
  });
  const [code, signal] = await once(child, 'close');
  if (!existsSync(report)) throw new Error(`The suite left no report (${code ?? signal}): run again with --verbose`);
  const specs = parseReport(readFileSync(report, 'utf8'));
  rmSync(report);
  return specs;
}

const image = 'docker.io/library/busybox';

/** The suite's benchmarks run only as often as they are told to; what they measure is left in the cache's benchmark folder. */
function benchmarkFlags(folder: string): string[] {
  const settings = {
    containersNumber: 20,
    containersNumberParallel: 1,
    containerBenchmarkTimeoutSeconds: 300,
    podsNumber: 20,
    podsNumberParallel: 1,
    podBenchmarkTimeoutSeconds: 300,
    imagesNumber: 5,
    imagesNumberParallel: 1,
    imageBenchmarkTimeoutSeconds: 300,
    imagePullingBenchmarkImage: `${image}:1`,
    imageListingBenchmarkImages: ['1', '1-glibc', '1-musl'].map((tag) => `${image}:${tag}`),
    podContainerStartBenchmarkTimeoutSeconds: 300,
  };
  const output = join(folder, 'benchmark');
  mkdirSync(output, { recursive: true });
  const file = join(output, 'settings.yaml'); // JSON is YAML
  writeFileSync(file, JSON.stringify(settings));
  return ['--benchmark', `--benchmarking-params-file=${file}`, `--benchmarking-output-dir=${output}`];
}
