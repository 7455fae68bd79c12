// Requests for a shim that is fuzzed: valid ones, ones with fields at their bounds, and damaged ones.
import { join } from 'node:path';
import type { FieldKind, Message, MessageName } from '../../proto/shim.ts';
import { maxToShim, messages } from '../../proto/shim.ts';
import { encode } from '../../src/shim/codec.ts';
import { samples } from '../unit/shim/samples.ts';
import { damaged, pick, type Random } from './fuzz-support.ts';

const env = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'];
const keys = ['c1', 'c2', 'c3', 'c4', 'c5', 'c6'];
const requestNames = samples.map(({ name }) => name).filter((name) => messages[name].number < 64);
/** Not any text: what is run, and what is unmounted and removed (which a read-only disk refuses). */
const kept = ['argv', 'netnsPath'];
/** Ends the shim: only where the round says that it may. */
const ending = 'shutdown';

/** What stands for an OCI runtime: `$1` is the pid file, `$2` the console socket or empty, `$3` is rights (rights.c). */
const runtimes = [
  'true & echo $! > $1',
  'exec perl -e \'my $p = fork; if (!$p) { exec "/bin/sh", "-c", "echo out; echo err >&2; exit 3" } open(my $f, ">", $ARGV[0]); print $f $p;\' $1',
  '(sleep 0.05; echo out; echo err >&2; exit 3) & echo $! > $1',
  '(sleep 0.02; kill -9 $$; exec sh -c "kill -SEGV \\$\\$") & echo $! > $1',
  '(head -c 300000 /dev/zero; yes | head -c 200000 >&2; sleep 0.1) & echo $! > $1',
  '(yes | head -n 100000; printf "no newline") & echo $! > $1',
  'cat & echo $! > $1',
  'cat /dev/tty & echo $! > $1',
  '(for i in 1 2 3 4 5 6; do (sleep 0.2 &) ; done; exit 0) & echo $! > $1',
  '(setsid sleep 0.3 & setsid sh -c "sleep 0.2; echo late" & sleep 0.1) & echo $! > $1',
  '(trap "" TERM; while :; do sleep 0.05; echo tick; done) & echo $! > $1',
  'exec >&- 2>&-; sleep 0.2 & echo $! > $1',
  'sh -c "sleep 0.2 & echo \\$! > $1; sleep 0.1" & while ! [ -s $1 ]; do :; done',
  'echo bad >&2; exit 1',
  'head -c 200000 /dev/zero; exit 7',
  'kill -9 $$',
  'sleep 30',
  'true',
  'echo xyz > $1',
  'echo 1 > $1',
  'echo 0 > $1',
  'echo 99999999999999999999 > $1',
  'echo 4194303 > $1',
  'echo $PPID > $1',
  'echo $$ > $1',
  'for other in /run/*/*.pid; do cat "$other" > $1; done',
  'set -- $1 /proc/[0-9]*/comm; file=$1; shift; for comm; do grep -q pause "$comm" && basename $(dirname $comm) > $file; done',
  'mkfifo $1',
  'mkdir $1; sleep 0.01; rmdir $1',
  'ln -s /etc/passwd $1',
  'head -c 100000 /dev/zero > $1',
  'rm -f "$2"; sleep 0.1 & echo $! > $1',
  '[ -z "$2" ] || "$3" $2 1 terminal; (sleep 0.1; echo on a terminal; sleep 0.05) & echo $! > $1',
  '[ -z "$2" ] || "$3" $2 1 terminal; cat & echo $! > $1',
  '[ -z "$2" ] || "$3" $2 1; sleep 0.1 & echo $! > $1',
  '[ -z "$2" ] || "$3" $2 9 terminal; sleep 0.1 & echo $! > $1',
  '[ -z "$2" ] || { "$3" $2 2 terminal; "$3" $2 1 terminal; "$3" $2 253; }; sleep 0.1 & echo $! > $1',
];
const commands = [
  'true',
  'cat',
  'exit 9',
  'head -c 3000000 /dev/zero; echo err >&2',
  'sleep 0.1 & echo left',
  'kill -9 $$',
  'sleep 30',
  'for i in 1 2 3 4 5; do (setsid sleep 0.4 &); done',
];

type Fields = Record<string, unknown>;

export class Frames {
  readonly #dir: string;
  readonly #rights: string;
  readonly #random: Random;
  readonly #names: readonly MessageName[];
  #serial = 0;
  /** How many there were. */
  made = 0;

  /** `mayEnd`: requests to shut down are among them. */
  constructor(options: { dir: string; rights: string; random: Random; mayEnd: boolean }) {
    this.#dir = options.dir;
    this.#rights = options.rights;
    this.#random = options.random;
    this.#names = requestNames.filter((name) => options.mayEnd || name !== ending);
  }

  /** Bytes of one request, or of what is none. */
  next(): Buffer {
    const random = this.#random;
    this.made++;
    if (random(5) > 0) return this.#encoded(pick(random, this.#names), random(4) === 0);
    switch (random(8)) {
      case 0: {
        const type = random(70_000) & 0xffff;
        if (type === messages[ending].number) return Buffer.alloc(0);
        return sealed(Buffer.concat([this.#header(type), Buffer.alloc(random(300), random(256))]));
      }
      case 1: // a length that lies
        return lengthOf(
          this.#golden(),
          pick(random, [0, 5, 6, 7, 0xff, maxToShim, maxToShim + 1, 0x7fffffff, 0xffffffff]),
        );
      case 2: // cut, so that the next frame is read as the end of this one
        return this.#golden().subarray(0, 4 + random(40));
      case 3: {
        const golden = this.#golden();
        return sealed(golden.subarray(0, 10 + random(golden.length)));
      }
      case 4: // a list of strings that says it is longer
        return lengthOf(this.#golden(), 6 + random(200));
      default: {
        const frame = damaged(random(2) ? this.#golden() : this.#encoded(pick(random, this.#names), true), random, 3);
        return frame.length >= 10 && random(4) > 0 ? sealed(this.#harmless(frame)) : frame;
      }
    }
  }

  #request(): number {
    return pick(this.#random, [0, 1, 2, 0xffffffff, this.#serial++]);
  }

  #header(type: number): Buffer {
    const header = Buffer.alloc(10);
    header.writeUInt16LE(type, 4);
    header.writeUInt32LE(this.#request(), 6);
    return header;
  }

  #golden(): Buffer {
    const sample = pick(
      this.#random,
      samples.filter(({ name }) => name !== ending),
    );
    return encode(sample.name, sample.request, sample.fields);
  }

  /** Damage may have made it an order to end. */
  #harmless(frame: Buffer): Buffer {
    if (frame.readUInt16LE(4) === messages[ending].number && !this.#names.includes(ending)) frame.writeUInt16LE(9, 4);
    return frame;
  }

  #encoded(name: MessageName, atBounds: boolean): Buffer {
    const valid: Fields = this.#valid(name);
    if (atBounds)
      for (const [field, kind] of Object.entries(messages[name].fields))
        if (this.#random(3) === 0 && !kept.includes(field)) valid[field] = this.#bound(kind);
    return encode(name, this.#request(), valid as Message<MessageName>);
  }

  #bound(kind: FieldKind): unknown {
    const random = this.#random;
    const text = () =>
      pick(random, [
        '',
        '/',
        '.',
        '..',
        'relative',
        this.#dir,
        `${this.#dir}/none/x`,
        '/dev/null',
        '/etc/passwd',
        '/proc/self/fd/0',
        'x'.repeat(pick(random, [107, 255, 256, 4095, 4096, 70_000])),
        '\u{1f600}\n\t%s%n',
        'c1',
        'pause',
        `${this.#dir}/fifo`,
      ]);
    switch (kind) {
      case 'u32':
        return pick(random, [0, 1, 2, 9, 19, 64, 65, 255, 65_536, 0x7fffffff, 0x80000000, 0xffffffff]);
      case 'i32':
        return pick(random, [0, 1, -1, 1000, 1001, -1000, 0x7fffffff, -0x80000000]);
      case 'bool':
        return random(2) === 1;
      case 'bytes':
        return Buffer.alloc(pick(random, [0, 1, 65_536, 1_000_000]), 'b');
      case 'strings':
        if (random(2)) return Array.from({ length: pick(random, [0, 1, 3, 20]) }, text);
        return new Array<string>(pick(random, [1, 1000, 70_000])).fill(pick(random, ['', 'a=b', '/']));
      default:
        return text();
    }
  }

  #path(extension: string): string {
    return join(this.#dir, `${pick(this.#random, keys)}.${extension}`);
  }

  /** Sometimes the file of another, sometimes one of its own. */
  #pidFile(): string {
    return join(this.#dir, `${this.#random(8) ? this.#serial++ : 'shared'}.pid`);
  }

  #runtime(tty: boolean): { argv: string[]; env: string[]; cwd: string; pidFile: string; tty: boolean } {
    const pidFile = this.#pidFile();
    const argv = ['/bin/sh', '-c', pick(this.#random, runtimes), 'sh', pidFile, tty ? '{console}' : '', this.#rights];
    const other = pick(this.#random, [
      ['/bin/true'],
      ['/no/such'],
      ['relative'],
      [''],
      [],
      ['/etc/passwd'],
      [this.#dir],
    ]);
    return { argv: this.#random(12) ? argv : other, env, cwd: this.#dir, pidFile, tty };
  }

  #log(): Fields {
    const logPath = pick(this.#random, ['', this.#path('log'), `${this.#dir}/fifo`]);
    const below = pick(this.#random, [logPath.slice(this.#dir.length), '../x.log', '', 'none/x.log', 'fifo']);
    return this.#random(2)
      ? { logPath, logFolder: '', logName: '' }
      : { logPath, logFolder: this.#dir, logName: below };
  }

  #deadline = (): number => pick(this.#random, [0, 1, 20, 100, 100, 1000, 1000, 1000, 30_000, 0xffffffff]);

  #valid(name: MessageName): Fields {
    const random = this.#random;
    const flag = () => random(2) === 1;
    const key = pick(random, keys);
    const [deadlineMs, drainMs, startDeadlineMs] = [this.#deadline(), this.#deadline(), this.#deadline()];
    const maxOutput = pick(random, [0, 1, 1000, 1_000_000, 0xffffffff]);
    const users = random(4) === 0 ? '0 100000 65536\n' : '';
    switch (name) {
      case 'hello':
        return { version: 1 };
      case 'sandbox':
        return {
          network: flag(),
          pid: flag(),
          ipc: flag(),
          uts: flag(),
          hostname: 'web-0',
          netnsPath: this.#path('netns'),
          sysctls: random(6) ? [] : ['kernel.msgmax=1'],
          cgroupTasks: random(6) ? [] : [this.#path('tasks')],
          adjustOom: flag(),
          oomScoreAdj: pick(random, [0, 500, -998, 2000]),
          uidMap: users,
          gidMap: users,
          cgroupFolder: random(9) ? '' : this.#dir,
        }; // prettier-ignore
      case 'run':
        return {
          argv: ['/bin/sh', '-c', pick(random, commands)],
          env,
          cwd: this.#dir,
          stdin: Buffer.from('input'),
          deadlineMs,
          drainMs,
          maxOutput,
        };
      case 'start':
        return {
          key,
          ...this.#runtime(flag()),
          deadlineMs,
          drainMs,
          stdin: flag(),
          ...this.#log(),
          logDeadlineMs: pick(random, [0, 1, 1000, 0xffffffff]),
          oomFile: pick(random, ['', '', this.#path('events')]),
          exitFile: pick(random, ['', this.#path('exit'), `${this.#dir}/none/exit`]),
        };
      case 'exec':
        return { ...this.#runtime(false), startDeadlineMs, deadlineMs, drainMs, maxOutput };
      case 'openExec':
        return { ...this.#runtime(flag()), startDeadlineMs, stdin: flag(), stdout: flag(), stderr: flag() };
      case 'signal':
        return { key, signo: pick(random, [1, 9, 9, 15, 17, 18, 19, 64]), all: flag() };
      case 'cancel':
        return { request: this.#request() };
      case 'shutdown':
        return { force: flag() };
      case 'attach':
        return { key, stdin: flag(), stdout: flag(), stderr: flag(), once: flag() };
      case 'hold':
        return { key: random(2) ? key : '' };
      case 'sysctls':
        return {
          settings: pick(random, [[], ['net.ipv4.conf.lo.forwarding=1'], ['net/none=1', 'net.ipv4..=', '=', '']]),
        };
      case 'reopenLog':
        return { key, deadlineMs };
      case 'forget':
        return { key };
      default:
        return {};
    }
  }
}

/** The frame with a length that says this. */
function lengthOf(frame: Buffer, length: number): Buffer {
  const result = Buffer.from(frame);
  result.writeUInt32LE(length >>> 0, 0);
  return result;
}

/** The frame with its true length. */
const sealed = (frame: Buffer): Buffer => lengthOf(frame, frame.length - 4);

/** Whether the shim found an order to end in these bytes of a connection, as far as it read them. */
export function saysEnd(bytes: Buffer): boolean {
  for (let at = 0; at + 10 <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < 6 || length > maxToShim) return false;
    if (at + 4 + length <= bytes.length && bytes.readUInt16LE(at + 4) === messages[ending].number) return true;
    at += 4 + length;
  }
  return false;
}
