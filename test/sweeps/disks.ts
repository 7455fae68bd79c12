// Row 7 of the promises: the disk fails (EIO, or full) at the n-th call that writes, or fills up at the n-th page, in each stage of
// the work: what is asked for says so and leaves nothing, what is there can be stopped and removed meanwhile, and once the
// disk is well the same call works.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { status as grpc } from '@grpc/grpc-js';
import { FailingDisk, type Order } from '../faults/failing-disk.ts';
import { Bystander } from '../harness/bystander.ts';
import { TestDaemon } from '../harness/daemon.ts';
import { assertNoLeak, type Footprint, footprint } from '../harness/leak-check.ts';
import { hostNetwork, parseLog, TestPod, until, untilExited } from '../harness/pods.ts';
import { SmallDisk } from '../harness/small-disk.ts';
import { pullTestImages } from '../harness/suite.ts';
import { randomFrom } from './random.ts';

export type DisksVolume = {
  readonly seed: number;
  /** Of each stage and kind of fault, evenly over the calls or pages of the stage. */
  readonly offsets: number;
};

export type DisksTotal = {
  trials: number;
  /** Trials in which something was refused because of the fault. */
  refused: number;
  /** By stage and kind of fault: of how many calls or pages. */
  stages: Record<string, number>;
  faults: string[];
};

type Kind = Pick<Order, 'error' | 'mode'>;
const kinds: readonly Kind[] = [
  { error: 'EIO', mode: 'once' },
  { error: 'EIO', mode: 'from then on' },
  { error: 'ENOSPC', mode: 'from then on' },
];

/** A part of the work, done by itself. */
type Stage = {
  /** Where it writes. */
  readonly below: (daemon: TestDaemon) => readonly string[];
  /** The disk there, and about how many pages of it this takes. */
  readonly disk: 'data' | 'run' | 'log';
  readonly pages: number;
  readonly prepare?: () => Promise<unknown>;
  /** What is asked. It may throw what a client is told; another error is a fault of Berth's. */
  readonly ask: () => Promise<unknown>;
  /** What must be true while it was refused. */
  readonly after?: () => void;
};

/** Refusals that are the disk's: in their code and in their words. */
const words = /EIO|ENOSPC|i\/o error|Input\/output error|[Nn]o space left/;
const lines = 4000;
const page = 4096;

export class SickDisks implements AsyncDisposable {
  readonly daemon: TestDaemon;
  readonly #failing: FailingDisk;
  readonly #disks: Record<'data' | 'run' | 'log', SmallDisk>;
  #image!: Awaited<ReturnType<typeof pullTestImages>>;
  #bystander!: Bystander;
  #serial = 0;
  readonly total: DisksTotal = { trials: 0, refused: 0, stages: {}, faults: [] };

  private constructor(daemon: TestDaemon, failing: FailingDisk) {
    this.daemon = daemon;
    this.#failing = failing;
    mkdirSync(join(daemon.logDir, 'small'));
    this.#disks = {
      data: new SmallDisk(daemon.dataDir, 'bytes'),
      run: new SmallDisk(daemon.runDir, 'bytes'),
      log: new SmallDisk(join(daemon.logDir, 'small'), 'bytes'),
    };
  }

  static async start(): Promise<SickDisks> {
    const failing = await FailingDisk.make();
    const sick = new SickDisks(new TestDaemon({ env: failing.env }), failing);
    await sick.daemon.start();
    sick.#image = await pullTestImages(sick.daemon);
    sick.#bystander = await Bystander.start(sick.daemon, sick.#image.busybox);
    return sick;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon.removePods();
    await this.daemon.stop();
    for (const disk of Object.values(this.#disks)) disk[Symbol.dispose]();
    await this.daemon.dispose();
    this.#failing[Symbol.dispose]();
  }

  get stages(): Record<string, Stage> {
    const { daemon } = this;
    const snapshots = join(daemon.dataDir, 'v1/snapshots');
    const image = this.#image;
    let before: string[] = [];
    const pull = {
      prepare: async () => {
        await daemon.images.removeImage({ image: { image: image.nginx } });
        before = readdirSync(snapshots).sort();
      },
      ask: () => daemon.images.pullImage({ image: { image: image.nginx } }),
      after: () => assert.deepEqual(readdirSync(snapshots).sort(), before, 'layers of a pull that failed'),
    };
    return {
      'document of an image': {
        below: () => [join(daemon.dataDir, 'v1/documents')],
        disk: 'data',
        pages: 20,
        ...pull,
      },
      'record of an image': { below: () => [join(daemon.dataDir, 'v1/images')], disk: 'data', pages: 20, ...pull },
      unpack: { below: () => [snapshots], disk: 'data', pages: 1500, ...pull },
      record: {
        below: () => ['pods', 'containers'].map((name) => join(daemon.dataDir, 'v1', name)),
        disk: 'data',
        pages: 20,
        ask: () => this.#life(join(daemon.logDir, 'life')),
      },
      bundle: {
        below: () => [join(daemon.runDir, 'pods')],
        disk: 'run',
        pages: 40,
        ask: () => this.#life(join(daemon.logDir, 'life')),
      },
      log: {
        below: () => [this.#disks.log.folder],
        disk: 'log',
        pages: 50,
        ask: () => this.#life(this.#disks.log.folder),
      },
    };
  }

  /** A pod and a container live, and are removed however far they came. Its lines are in its log, or counted. */
  async #life(logDirectory: string): Promise<void> {
    const { daemon } = this;
    const pod = await TestPod.run(daemon, `life-${this.#serial++}`, { ...hostNetwork, logDirectory });
    try {
      const id = await pod.sh('c', this.#image.busybox, `seq 1 ${lines}; exit 3`, hostNetwork);
      assert.equal((await untilExited(daemon, id)).exitCode, 3);
      const { info } = await daemon.runtime.containerStatus({ containerId: id, verbose: true });
      const loss = JSON.parse(info.info!).logLoss ?? { lines: 0 };
      const path = join(logDirectory, 'c.log');
      const kept = existsSync(path) ? parseLog(readFileSync(path, 'utf8')).map(({ text }) => Number(text)) : [];
      assert.equal(kept.length + loss.lines, lines, 'lines that are there or counted');
      assert.ok(
        kept.every((line, index) => index === 0 || line > kept[index - 1]!),
        'lines are in order and whole',
      );
    } finally {
      await pod.remove();
      rmSync(join(logDirectory, 'c.log'), { force: true });
    }
  }

  /** Everything of `volume`; `say` hears how far it is. */
  async sweep({ seed, offsets }: DisksVolume, say: (text: string) => void = () => {}): Promise<DisksTotal> {
    const random = randomFrom(seed);
    for (const [name, stage] of Object.entries(this.stages)) {
      const trials = () => this.#trials(name, stage, offsets, random);
      // What cannot write to run_dir cannot run commands: those of a bystander are refused too.
      if (stage.disk === 'run') await trials();
      else
        await this.#bystander.watched(`a disk that fails: ${name}`, trials).catch((error: unknown) => {
          this.total.faults.push(error instanceof Error ? error.message : String(error));
        });
      say(`${name}: ${this.total.trials} trials, ${this.total.refused} refused, ${this.total.faults.length} faults`);
    }
    return this.total;
  }

  async #trials(name: string, stage: Stage, offsets: number, random: () => number): Promise<void> {
    for (const kind of kinds) {
      const how = `${name}: ${kind.error} ${kind.mode}`;
      const calls = await this.#count(stage);
      this.total.stages[how] = calls;
      for (const at of spread(calls, offsets, random)) {
        const order = { below: stage.below(this.daemon), at, ...kind };
        await this.#trial(`${how}, call ${at} of ${calls}`, stage, () => this.#failing.fail(order));
      }
    }
    for (const spare of spread(stage.pages, offsets, random)) {
      const strike = () => this.#disks[stage.disk].fill((spare - 1) * page);
      await this.#trial(`${name}: full but for ${spare - 1} pages`, stage, strike);
    }
    this.total.stages[`${name}: full`] = stage.pages;
  }

  async #count(stage: Stage): Promise<number> {
    await stage.prepare?.();
    this.#failing.fail({ below: stage.below(this.daemon), at: 0, error: 'EIO', mode: 'once' });
    await stage.ask();
    return this.#failing.heal().seen;
  }

  #heal(): void {
    this.#failing.heal();
    for (const disk of Object.values(this.#disks)) disk.free();
  }

  /** Without what is done for the bystander. */
  #footprint(): Footprint {
    const kinds = Object.entries(footprint(this.daemon));
    // crun mounts itself for a moment.
    const others = (line: string) =>
      !line.includes(this.#bystander.podId) && !/ \/bin\/true$|^\/tmp\/crun\./.test(line);
    return Object.fromEntries(kinds.map(([kind, found]) => [kind, found.filter(others)]));
  }

  /** What a trial that failed left. */
  async #clear(): Promise<void> {
    const { items } = await this.daemon.runtime.listPodSandbox({});
    for (const { id, metadata } of items)
      if (/^(life|other)-/.test(metadata?.name ?? '')) await this.daemon.runtime.removePodSandbox({ podSandboxId: id });
  }

  async #trial(what: string, stage: Stage, strike: () => void): Promise<void> {
    const { daemon, total } = this;
    total.trials++;
    try {
      await stage.prepare?.();
      const clean = this.#footprint();
      const other = await TestPod.run(daemon, `other-${this.#serial++}`, hostNetwork);
      const containerId = await other.sh('c', this.#image.busybox, 'sleep 1000', hostNetwork);
      strike();
      const refusal = await refusalOf(stage.ask);
      if (refusal) {
        total.refused++;
        const { code, details } = refusal;
        if (code !== grpc.RESOURCE_EXHAUSTED || !words.test(details))
          total.faults.push(`${what}: ${grpc[code] ?? code}: ${details}`);
        else if (![daemon.dir, daemon.runDir, 'crun: '].some((name) => details.includes(name)))
          total.faults.push(`${what}: no path: ${details}`);
      }
      await daemon.runtime.stopContainer({ containerId, timeout: 0n });
      await daemon.runtime.stopPodSandbox({ podSandboxId: other.id });
      await other.remove();
      this.#heal();
      if (refusal) stage.after?.();
      const same = async () => {
        assertNoLeak(clean, this.#footprint());
        return true;
      };
      await until('the end of what retries', () => same().catch(() => false), 3000).catch(same);
      await stage.ask();
      assertNoLeak(clean, this.#footprint());
    } catch (error) {
      this.#heal();
      total.faults.push(`${what}: ${error instanceof Error ? error.message : error}`);
      await this.#clear();
    }
  }
}

/** Undefined: it was not refused. @throws what is no word of the daemon's */
async function refusalOf(ask: () => Promise<unknown>): Promise<{ code: number; details: string } | undefined> {
  try {
    await ask();
    return undefined;
  } catch (error) {
    const { code, details } = error as { code?: unknown; details?: unknown };
    if (typeof code === 'number' && typeof details === 'string') return { code, details };
    throw error;
  }
}

/** `count` of the numbers from 1 to `most`, one out of each part of equal length; all of them if there are no more. */
function spread(most: number, count: number, random: () => number): number[] {
  if (most <= count) return Array.from({ length: most }, (_, index) => index + 1);
  return Array.from({ length: count }, (_, part) => 1 + Math.floor(((part + random()) * most) / count));
}
