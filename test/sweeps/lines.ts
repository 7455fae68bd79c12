// Row 2 of the promises: the daemon is killed while containers write numbered lines, and their logs are rotated.
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { status as grpc } from '@grpc/grpc-js';
import type { TestDaemon } from '../harness/daemon.ts';
import { hostNetwork, TestPod, until, untilExited } from '../harness/pods.ts';
import { oneOf, randomFrom } from './random.ts';

export type LinesVolume = {
  readonly seed: number;
  /** Of all containers together, at least. */
  readonly lines: number;
  readonly kills: number;
  readonly reopens: number;
  /** At random during the reopenings, one in flight each time. */
  readonly killsWhileReopening: number;
};

export type LinesTotal = {
  lines: number;
  kills: number;
  reopens: number;
  lost: number;
  doubled: number;
  torn: number;
  /** Between two lines of one container, as the shim read them. */
  longestGapMs: number;
};

const writers = 4;
const batch = 200;
const record = /^(\S+) stdout F (\d+)$/;

/** A container that writes 1, 2, 3, ... and what of that was seen in its logs. */
class Writer {
  readonly pod: TestPod;
  readonly id: string;
  readonly #total: LinesTotal;
  #last = 0;
  #at = 0;
  #rotations = 0;

  constructor(pod: TestPod, id: string, total: LinesTotal) {
    this.pod = pod;
    this.id = id;
    this.#total = total;
  }

  get last(): number {
    return this.#last;
  }

  get log(): string {
    return join(this.pod.config.logDirectory!, 'c.log');
  }

  /** As kubelet rotates; the old file is whole once the log is open anew, and is looked at then. */
  async rotate(daemon: TestDaemon): Promise<void> {
    const old = `${this.log}.${this.#rotations++}`;
    renameSync(this.log, old);
    for (;;) {
      try {
        await daemon.runtime.reopenContainerLog({ containerId: this.id });
        break;
      } catch (error) {
        if (![grpc.UNAVAILABLE, grpc.CANCELLED].includes((error as { code: number }).code)) throw error;
        await until('the daemon', () => answers(daemon)); // it was killed
      }
    }
    this.check(old);
    rmSync(old);
  }

  /** Takes the lines of one file into account, which goes on where the last one ended. */
  check(path: string): void {
    const text = readFileSync(path, 'latin1');
    const lines = text.split('\n');
    if (lines.pop() !== '') this.#total.torn++;
    for (const line of lines) this.#take(line);
  }

  #take(line: string): void {
    const [, time = '', digits = ''] = record.exec(line) ?? [];
    if (digits === '') {
      this.#total.torn++;
      return;
    }
    const number = Number(digits);
    const at = Date.parse(time);
    this.#total.lines++;
    if (number > this.#last + 1) this.#total.lost += number - this.#last - 1;
    if (number <= this.#last) this.#total.doubled++;
    if (this.#at > 0) this.#total.longestGapMs = Math.max(this.#total.longestGapMs, at - this.#at);
    this.#last = Math.max(this.#last, number);
    this.#at = at;
  }
}

/** Between two daemons there is no channel, which is an error of the call itself. */
async function answers(daemon: TestDaemon): Promise<boolean> {
  try {
    await daemon.runtime.version({});
    return true;
  } catch {
    return false;
  }
}

/** Runs it, and says what was seen; `say` hears how far it is. */
export async function sweepLines(
  daemon: TestDaemon,
  image: string,
  volume: LinesVolume,
  say: (text: string) => void = () => {},
): Promise<LinesTotal> {
  const random = randomFrom(volume.seed);
  const total = { lines: 0, kills: 0, reopens: 0, lost: 0, doubled: 0, torn: 0, longestGapMs: 0 };
  const gate = join(daemon.dir, 'gate');
  mkdirSync(gate);
  // In the end each says which number would be next: what is missing at the end is missed too.
  const script = `i=1; while [ ! -e /gate/stop ]; do seq $i $((i+${batch - 1})); i=$((i+${batch})); usleep 20000; done; echo $i >/gate/$NAME`;
  const all = await Promise.all(
    Array.from({ length: writers }, async (_, index) => {
      const pod = await TestPod.run(daemon, `writer-${index}`, hostNetwork);
      const id = await pod.sh('c', image, script, {
        ...hostNetwork,
        envs: [{ key: 'NAME', value: Buffer.from(`${index}`) }],
        mounts: [{ containerPath: '/gate', hostPath: gate }],
      });
      return new Writer(pod, id, total);
    }),
  );
  const kill = async () => {
    await daemon.kill();
    await daemon.start();
    if (++total.kills % 10 === 0) say(`${total.kills} kills, ${total.reopens} reopened`);
  };
  while (total.kills < volume.kills) {
    await delay(random() * 300);
    await kill();
  }
  const killAt = new Set(
    Array.from({ length: volume.killsWhileReopening }, () => Math.floor(random() * volume.reopens)),
  );
  for (; total.reopens < volume.reopens; total.reopens++) {
    const rotation = oneOf(random, all).rotate(daemon);
    if (killAt.has(total.reopens)) await kill();
    await rotation;
    if (total.reopens % 100 === 0) say(`${total.kills} kills, ${total.reopens} reopened`);
  }
  const size = () => all.reduce((sum, { log }) => sum + statSync(log).size, 0);
  const enough = async () => total.lines + size() / 50 >= volume.lines;
  await until(`${volume.lines} lines`, enough, 3_600_000);
  writeFileSync(join(gate, 'stop'), '');
  for (const [index, writer] of all.entries()) {
    await untilExited(daemon, writer.id);
    const next = Number(readFileSync(join(gate, `${index}`), 'utf8'));
    writer.check(writer.log);
    total.lost += next - 1 - writer.last;
    await writer.pod.remove();
  }
  rmSync(gate, { recursive: true });
  return total;
}
