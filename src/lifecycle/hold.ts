import { notFound } from '../base/fault.ts';
import { traced } from '../base/trace.ts';
import type { Container } from '../model/container.ts';
import type { ContainerId, PodId } from '../model/ids.ts';
import type { Pod } from '../model/pod.ts';
import type { Deps } from './deps.ts';

/** An object whose lock is held until this is disposed of; `value` is what it was when the lock was taken. */
export type Held<T> = Disposable & { readonly value: T };

/** What finding and holding needs. The order of locks: a pod's before its containers'. */
type Holding = Pick<Deps, 'pods' | 'containers' | 'locks'>;

/** Finds a pod by its id or an unmistakable beginning of it, takes its lock and looks again: null if there is none. */
export async function holdPod(deps: Holding, id: string): Promise<Held<Pod> | null> {
  const found = deps.pods.find(id);
  if (!found) return null;
  traced(found.id, found.id);
  return hold(deps, found.id, () => deps.pods.get(found.id));
}

/** The same for a container. */
export async function holdContainer(deps: Holding, id: string): Promise<Held<Container> | null> {
  const found = deps.containers.find(id);
  if (!found) return null;
  traced(found.podId, found.id);
  return hold(deps, found.id, () => deps.containers.get(found.id));
}

/** It may have gone, or have become another, while the lock was waited for. */
async function hold<T>(
  { locks }: Holding,
  id: PodId | ContainerId,
  look: () => T | undefined,
): Promise<Held<T> | null> {
  const lock = await locks.hold(id);
  const value = look();
  if (value !== undefined) return { value, [Symbol.dispose]: () => lock[Symbol.dispose]() };
  lock[Symbol.dispose]();
  return null;
}

/** What is held. @throws Fault NotFound where nothing is. */
export function mustExist<T>(held: Held<T> | null, what: 'pod' | 'container', id: string): T {
  if (!held) throw notFound(what, id);
  return held.value;
}
