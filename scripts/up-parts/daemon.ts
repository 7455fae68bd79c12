// The daemon that scripts/up starts, and how it is found again without a pid that could be another's.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import * as cri from '../../src/api/runtime/v1/cri.ts';
import { nodeEnvironment, nodeFlags } from '../../src/commands/node-flags.ts';
import { connectTo, type Rpc } from '../../src/commands/rpc.ts';
import { logFile } from './traces.ts';

type Client = Rpc<cri.RuntimeServiceClient>;

export class Daemon {
  readonly #socket: string;
  readonly #argv: readonly string[];

  /** `main`: the bundled program. `options`: those of its command line. */
  constructor(main: string, options: readonly string[], socket: string) {
    this.#argv = [main, 'serve', ...options];
    this.#socket = socket;
  }

  /** Resolves when it serves; it goes on when this process ends. */
  async start(): Promise<Client> {
    const log = openSync(logFile, 'a', 0o600);
    const child = spawn(process.execPath, [...nodeFlags, ...this.#argv], {
      env: { ...process.env, ...nodeEnvironment },
      detached: true,
      stdio: ['ignore', log, log],
      cwd: '/',
    });
    closeSync(log);
    const ended = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`berth serve ended (${code ?? signal}): see ${logFile}`);
    });
    ended.catch(() => {}); // after this function nobody waits for it
    const client = await Promise.race([this.#untilServing(), ended]);
    child.unref();
    return client;
  }

  /** A client of the daemon that runs already. */
  async client(): Promise<Client> {
    const ended = (async () => {
      while (this.pid()) await delay(100);
      throw new Error(`berth serve ended: see ${logFile}`);
    })();
    ended.catch(() => {});
    return Promise.race([this.#untilServing(), ended]);
  }

  async end(): Promise<void> {
    const pid = this.pid();
    if (pid) process.kill(pid, 'SIGTERM');
    for (let tries = 1000; this.pid(); tries--) {
      if (tries === 0) throw new Error(`berth serve (pid ${pid}) does not end`);
      await delay(10);
    }
  }

  /** Also of one that was started by a scripts/up that was ended before it could write anything down. */
  pid(): number | undefined {
    const wanted = `\0${this.#argv.join('\0')}\0`;
    const here = readlinkSync('/proc/self/ns/mnt');
    return readdirSync('/proc')
      .map(Number)
      .find((pid) => {
        try {
          const cmdline = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
          return cmdline.endsWith(wanted) && readlinkSync(`/proc/${pid}/ns/mnt`) === here;
        } catch {
          return false; // no process, or one that ended while we looked
        }
      });
  }

  /** The socket may also be one that a daemon left which was killed: nobody answers there. */
  async #untilServing(): Promise<Client> {
    while (!(await this.#answers())) await delay(10);
    const client = connectTo(cri.RuntimeServiceClient, cri, this.#socket);
    await client.version({});
    return client;
  }

  #answers(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const probe = connect(this.#socket, () => resolve(true)).on('error', () => resolve(false));
    return promise.finally(() => probe.destroy());
  }
}
