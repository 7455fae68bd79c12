import { log } from '../base/log.ts';
import type { Container } from '../model/container.ts';
import type { ContainerId } from '../model/ids.ts';
import type { LogLoss } from '../shim/index.ts';

/** A full disk takes a line each millisecond, of every container: one warning a container in this time is enough. */
const warnEveryMs = 60_000;

type Known = { loss: LogLoss; warnedAt: number; timer: NodeJS.Timeout | null };

/**
 * What the logs of containers have lost: a disk that was full or failed when a line came. The shims count it; here it is
 * said to the operator, and kept for metrics and statuses as long as the container is there.
 */
export class LogLosses {
  readonly #known = new Map<ContainerId, Known>();

  /** Undefined: nothing was lost. */
  of(id: ContainerId): LogLoss | undefined {
    return this.#known.get(id)?.loss;
  }

  /** Takes what was lost in all. Figures that are known already, told again after a cut, change nothing. */
  note(container: Container, loss: LogLoss): void {
    const known = this.#known.get(container.id) ?? { loss: nothing, warnedAt: -Infinity, timer: null };
    if (loss.bytes <= known.loss.bytes && loss.lines <= known.loss.lines) return;
    known.loss = loss;
    this.#known.set(container.id, known);
    const waitMs = known.warnedAt + warnEveryMs - performance.now();
    if (waitMs <= 0) warn(container, known);
    else known.timer ??= setTimeout(() => warn(container, known), waitMs).unref();
  }

  forget(id: ContainerId): void {
    clearTimeout(this.#known.get(id)?.timer ?? undefined);
    this.#known.delete(id);
  }
}

const nothing: LogLoss = { bytes: 0, lines: 0, error: '' };

function warn({ id, podId, config, logPath }: Container, known: Known): void {
  const { bytes, lines, error } = known.loss;
  known.warnedAt = performance.now();
  known.timer = null;
  log.warn(
    { container: id, name: config.metadata.name, pod: podId, logPath, lines, bytes, error },
    'Lines of a container were lost: its log could not be written',
  );
}
