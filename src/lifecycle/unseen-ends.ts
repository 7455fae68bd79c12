import { readFileSync } from 'node:fs';
import { isErrno, messageOf } from '../base/fault.ts';
import { log } from '../base/log.ts';
import { outside } from '../base/trace.ts';
import type { Container, Exit } from '../model/container.ts';
import type { ContainerId } from '../model/ids.ts';
import { oomCountFile } from '../sys/cgroups.ts';
import { unreapedEnd, whenEnded } from '../sys/ended.ts';
import type { Deps } from './deps.ts';
import { applyExit, onShimLost } from './exits.ts';
import { untilWeHaveMs } from './runtime/shims.ts';

type Needs = Pick<Deps, 'containers' | 'layout' | 'locks' | 'mending' | 'ociRuntimes' | 'pods' | 'settings' | 'shims'>;

/** What a shim that is alive may take to see an end and to tell it; the end is to be known within a second. */
const shimsTurnMs = 500;

/**
 * Looks after containers whose shim is stopped, or hangs: it tells no end, and they would be running for ever. The kernel says
 * when the process of one has ended (pidfd_open(2)): so it costs nothing while nobody ends. Who has been left so for a moment has
 * ended; a shim that does not answer then is killed.
 */
export function watchUnseenEnds(deps: Needs): void {
  const watches = new Map<ContainerId, Watch>();
  const follow = (after: Container | undefined, before: Container | undefined) => {
    const pid = runningPid(after);
    if (pid === runningPid(before)) return;
    const { id } = (after ?? before)!;
    watches.get(id)?.[Symbol.dispose]();
    if (pid === null) watches.delete(id);
    else
      watches.set(
        id,
        outside(() => new Watch(pid, () => void lookAfter(deps, id, pid))),
      );
  };
  deps.containers.listen(follow);
  for (const container of deps.containers.all()) follow(container, undefined);
}

const runningPid = (container: Container | undefined): number | null =>
  container?.state.phase === 'running' ? container.state.pid : null;

/** Has `ended` called a moment after the process has ended, if nobody disposes of it before. */
class Watch implements Disposable {
  readonly #pid: number;
  readonly #ended: () => void;
  #over = false;
  #stop: () => void = () => {};
  #timer: NodeJS.Timeout | undefined;

  constructor(pid: number, ended: () => void) {
    this.#pid = pid;
    this.#ended = ended;
    this.#open(true);
  }

  /** Without a descriptor for it, it is tried again until there is one. */
  #open(isFirst: boolean): void {
    if (this.#over) return;
    try {
      this.#stop = whenEnded(this.#pid, () => {
        this.#timer = setTimeout(this.#ended, shimsTurnMs).unref();
      });
    } catch (error) {
      if (isFirst)
        log.warn({ pid: this.#pid, reason: messageOf(error) }, 'The process of a container cannot be watched yet');
      this.#timer = setTimeout(() => this.#open(false), untilWeHaveMs).unref();
    }
  }

  [Symbol.dispose](): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#stop();
  }
}

/** One that the shim has reaped and does not tell of either: it may hang in the last lines of a log. */
async function lookAfter(deps: Needs, id: ContainerId, pid: number): Promise<void> {
  const container = deps.containers.get(id);
  if (!container || runningPid(container) !== pid) return;
  const code = unreapedEnd(pid);
  const { podId } = container;
  try {
    if (code !== null) await tell(deps, container, code);
    else if (deps.mending.has(podId))
      return; // it is asked just now
    else if (await deps.shims.killSilent(podId)) await onShimLost(deps, podId);
  } catch (error) {
    log.error({ container: id, reason: messageOf(error) }, 'What ended without its shim could not be released');
  }
}

async function tell(deps: Needs, container: Container, code: number): Promise<void> {
  const { id, podId } = container;
  log.warn({ container: id, pod: podId }, 'A container has ended, and its shim does not say so');
  const message = 'its shim did not see it end';
  const told = applyExit(deps, id, { code, reason: reasonOf(container, code), message, at: Date.now() });
  told.catch(() => {}); // it waits for the shim too
  if (await deps.shims.killSilent(podId)) await onShimLost(deps, podId);
  await told;
}

/** The shim would know whether it was this kill that the cgroup counted. */
function reasonOf({ cgroupsPath }: Container, code: number): Exit['reason'] {
  if (code === 0) return 'Completed';
  return code === 137 && ranOutOfMemory(oomCountFile(cgroupsPath)) ? 'OOMKilled' : 'Error';
}

function ranOutOfMemory(file: string): boolean {
  try {
    return file !== '' && /^oom_kill [1-9]/m.test(readFileSync(file, 'utf8'));
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV')) return false;
    throw error;
  }
}
