import type { Container } from '../../model/container.ts';
import type { ProcessIo } from '../../model/process-io.ts';
import { setWindowSize, writeTo } from '../../sys/streams.ts';
import type { Deps } from '../deps.ts';

import { runningContainer } from '../ready.ts';
import { drain, feed, pumpFrom } from './pump.ts';

/**
 * Joins the client's streams to those of a running container, from now on. Resolves when the container has ended, when
 * the client left, and when its input ended: that is how a client detaches, unless the container's input is `stdin_once`,
 * which it closes, and the output goes on. @throws Fault
 */
export async function attach(
  deps: Pick<Deps, 'containers' | 'settings' | 'shims'>,
  id: string,
  io: ProcessIo,
): Promise<number> {
  const container = runningContainer(deps, id);
  const { stdinOnce, tty } = container.config;
  const shim = await deps.shims.keeping(container.podId);
  const { input, stdout, stderr } = await shim.attach({
    key: container.id,
    stdin: io.stdin !== null,
    stdout: io.stdout !== null,
    stderr: io.stderr !== null,
    once: stdinOnce,
  });
  const writer = input === null ? null : writeTo(input);
  const pumps = [...pumpFrom(stdout, io.stdout), ...pumpFrom(stderr, io.stderr)];
  if (input !== null && tty) {
    io.onResize(({ rows, columns }) => {
      if (!writer?.destroyed) setWindowSize(input, rows, columns);
    });
  }
  const detached = Promise.withResolvers<void>();
  io.left.addEventListener('abort', () => detached.resolve(), { once: true });
  if (io.left.aborted) detached.resolve();
  const closes = stdinOnce && !tty;
  if (io.stdin && writer) feed(io.stdin, writer, closes).then(() => closes || detached.resolve());
  else io.stdin?.resume();
  using exit = exitOf(deps, container);
  const over = exit.seen.then(() => drain(pumps, deps.settings.timeouts.execDrain * 1000));
  try {
    await Promise.race([over, detached.promise]);
    return 0;
  } finally {
    writer?.destroy();
    for (const { source } of pumps) source.destroy();
  }
}

/** `seen` resolves when the container is no longer running. */
function exitOf(deps: Pick<Deps, 'containers'>, { id }: Container): Disposable & { seen: Promise<void> } {
  const running = () => deps.containers.get(id)?.state.phase === 'running';
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = deps.containers.listen((after, before) => {
    if ((after ?? before)?.id === id && !running()) resolve();
  });
  if (!running()) resolve();
  return { seen: promise, [Symbol.dispose]: stop };
}
