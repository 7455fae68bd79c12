import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/**
 * A host of its own in mount, network and pid namespaces, on which no container runtime ever ran: /run is empty, and
 * what runtimes and CNI plugins keep in /etc, /opt, /var/lib and /var/log is not there. Nothing that others do to the
 * host shows in it; only cgroups and the rest of the disk are shared. Its processes end with it.
 */
export class PrivateHost implements AsyncDisposable {
  readonly #init: ChildProcess;

  private constructor(init: ChildProcess) {
    this.#init = init;
  }

  static async make(): Promise<PrivateHost> {
    const script = join(import.meta.dirname, 'private-host.sh');
    const options = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const init = spawn('unshare', [...options, 'bash', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    const host = new PrivateHost(init);
    const ended = once(init, 'exit').then(([code]) => {
      throw new Error(`The private host could not be made: ${code}`);
    });
    ended.catch(() => {});
    await Promise.race([once(createInterface({ input: init.stdout }), 'line'), ended]);
    return host;
  }

  /** Runs a program there; returns what it printed. @throws Error with its `stderr` if it fails. */
  run(file: string, ...args: string[]): string {
    const names = { mount: 'mnt', net: 'net', pid: 'pid_for_children' };
    const enter = Object.entries(names).map(([option, name]) => `--${option}=/proc/${this.#init.pid}/ns/${name}`);
    return execFileSync('nsenter', [...enter, '--', file, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 64 << 20,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = this.#init.exitCode === null && this.#init.signalCode === null ? once(this.#init, 'exit') : null;
    this.#init.stdin!.end();
    await ended;
  }
}
