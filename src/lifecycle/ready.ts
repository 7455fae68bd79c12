import { failedPrecondition, notFound } from '../base/fault.ts';
import type { Container } from '../model/container.ts';
import type { Pod } from '../model/pod.ts';
import type { Deps } from './deps.ts';

/** @throws Fault NotFound, also while it is being made: nobody was told its id; FailedPrecondition unless it is ready. */
export function readyPod(deps: Pick<Deps, 'pods'>, id: string): Pod {
  const pod = deps.pods.find(id);
  if (!pod || pod.state.phase === 'creating') throw notFound('pod', id);
  if (pod.state.phase !== 'ready') throw failedPrecondition(`Pod ${pod.id} is not ready: this takes a ready pod`);
  return pod;
}

/** @throws Fault NotFound; FailedPrecondition unless it is running. */
export function runningContainer(deps: Pick<Deps, 'containers'>, id: string): Container {
  const container = deps.containers.find(id);
  if (!container) throw notFound('container', id);
  if (container.state.phase !== 'running') {
    throw failedPrecondition(`Container ${container.id} is ${container.state.phase}, not running`);
  }
  return container;
}
